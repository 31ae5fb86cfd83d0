//! Host calls that return `Result`.
//!
//! The SDK's own panic on every status they do not expect, and on header values that are not
//! UTF-8. Here the byte variants are used throughout, and nothing is asked that Envoy answers with
//! another status than the SDK expects:
//!
//! - A call for headers that are not there is refused. So those need a [`RequestHeaders`], which a
//!   stream gives up when its headers leave it, or a [`ResponseHeaders`]; the headers of the answer to
//!   a call are asked for only where it has some.
//! - Of a buffer that is not there nothing is read, which is no error; one is written only in the
//!   callback that has told its size, and as a whole.
//! - Properties, shared data, metrics, foreign functions and calls fail with what the SDK returns as
//!   an error. The time, the log and a local reply do not fail.
//! - All fail where the memory that they name is not the VM's, which the SDK sees to, or where it has
//!   none left, of which it dies anyway.
//! - What is told in a form that the SDK does not know is asked for by [`bindings`].
//!
//! No call calls back into the VM but for memory: Envoy puts off what would, such as a reply, until the
//! callback at hand is over. So none finds the SDK's own state borrowed.

use core::time::Duration;
use std::hash::{BuildHasher, Hasher, RandomState};

use proxy_wasm::{
    hostcalls,
    types::{BufferType, MapType, MetricType, Status},
};

use super::bindings;
use crate::{
    request::HeaderPairs,
    time::{Timestamp, millis},
};

/// A host call that did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[error("{call} failed with status {status:?}")]
pub(super) struct HostError {
    call: &'static str,
    status: Status,
}

pub(super) fn failed(call: &'static str) -> impl FnOnce(Status) -> HostError {
    move |status| HostError { call, status }
}

/// The time, by the wall clock that all VMs of this host share.
pub(super) fn now() -> Result<Timestamp, HostError> {
    let time = hostcalls::get_current_time().map_err(failed("get_current_time"))?;
    let since_epoch = time
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Ok(Timestamp::from_millis(millis(since_epoch)))
}

/// A number that no other VM draws. The standard library takes it from WASI's `random_get`; clocks
/// are too alike in VMs that start together.
pub(super) fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Has `on_tick` called every `period`.
pub(super) fn set_tick_period(period: Duration) -> Result<(), HostError> {
    hostcalls::set_tick_period(period).map_err(failed("set_tick_period"))
}

/// Takes over Envoy's log level, so that what it would drop is not even written.
pub(super) fn sync_log_level() {
    if let Ok(level) = bindings::log_level() {
        proxy_wasm::set_log_level(level);
    }
}

/// The plugin configuration; empty where Envoy has none.
pub(super) fn plugin_configuration(size: usize) -> Result<Vec<u8>, HostError> {
    buffer(BufferType::PluginConfiguration, size)
}

/// `size` bytes of the request body from `start` on, of what is buffered.
pub(super) fn request_body(start: usize, size: usize) -> Result<Vec<u8>, HostError> {
    part_of_buffer(BufferType::HttpRequestBody, start, size)
}

/// Puts `body` in the place of what is buffered of the request body.
pub(super) fn set_request_body(body: &[u8]) -> Result<(), HostError> {
    set_buffer(BufferType::HttpRequestBody, body)
}

/// The piece of the response body that has come.
pub(super) fn response_body(size: usize) -> Result<Vec<u8>, HostError> {
    buffer(BufferType::HttpResponseBody, size)
}

/// Puts `body` in the place of the piece of the response body that has come.
pub(super) fn set_response_body(body: &[u8]) -> Result<(), HostError> {
    set_buffer(BufferType::HttpResponseBody, body)
}

/// The body of the answer to an HTTP call, inside the callback that tells of it.
pub(super) fn call_response_body(size: usize) -> Result<Vec<u8>, HostError> {
    buffer(BufferType::HttpCallResponseBody, size)
}

fn buffer(buffer: BufferType, size: usize) -> Result<Vec<u8>, HostError> {
    part_of_buffer(buffer, 0, size)
}

fn part_of_buffer(buffer: BufferType, start: usize, size: usize) -> Result<Vec<u8>, HostError> {
    Ok(hostcalls::get_buffer(buffer, start, size)
        .map_err(failed("get_buffer"))?
        .unwrap_or_default())
}

/// Of a buffer the host replaces all or nothing.
fn set_buffer(buffer: BufferType, bytes: &[u8]) -> Result<(), HostError> {
    hostcalls::set_buffer(buffer, 0, usize::MAX, bytes).map_err(failed("set_buffer"))
}

/// The status of the answer to an HTTP call, inside the callback that tells of it and only where
/// that counts at least one header; `None` where it is no number.
pub(super) fn call_response_status() -> Result<Option<u16>, HostError> {
    let status = hostcalls::get_map_value_bytes(MapType::HttpCallResponseHeaders, ":status")
        .map_err(failed("get_map_value"))?;
    Ok(status.and_then(|bytes| core::str::from_utf8(&bytes).ok()?.parse().ok()))
}

/// The headers of a request, while the stream still has them.
///
/// After `Continue` they are on their way, and after a local reply they are gone; the host
/// refuses access then. Whoever returns either drops this first.
#[derive(Debug)]
pub(super) struct RequestHeaders(());

impl RequestHeaders {
    /// For `on_http_request_headers`, the callback that brings them.
    pub(super) const fn arrived() -> Self {
        Self(())
    }

    /// All of them.
    #[expect(clippy::unused_self, reason = "holding it is the permission to call")]
    pub(super) fn all(&self) -> Result<HeaderPairs, HostError> {
        bindings::request_headers()
    }

    /// Makes `value` the only value of the header `name`.
    #[expect(clippy::unused_self, reason = "holding it is the permission to call")]
    pub(super) fn set(&self, name: &str, value: &str) -> Result<(), HostError> {
        hostcalls::set_map_value_bytes(MapType::HttpRequestHeaders, name, Some(value.as_bytes()))
            .map_err(failed("set_map_value"))
    }

    /// Removes every value of the header `name`.
    #[expect(clippy::unused_self, reason = "holding it is the permission to call")]
    pub(super) fn remove(&self, name: &[u8]) -> Result<(), HostError> {
        // Names are ASCII; one that were not could not have come from Envoy.
        let name = core::str::from_utf8(name).unwrap_or_default();
        hostcalls::remove_map_value(MapType::HttpRequestHeaders, name)
            .map_err(failed("remove_map_value"))
    }
}

/// The headers of the response, inside the callback that brings them.
#[derive(Debug)]
pub(super) struct ResponseHeaders(());

impl ResponseHeaders {
    /// For `on_http_response_headers`.
    pub(super) const fn arrived() -> Self {
        Self(())
    }

    /// Whether the status is one of success.
    pub(super) fn is_success(&self) -> Result<bool, HostError> {
        let status = self.get(":status")?;
        Ok(status.is_some_and(|status| status.first() == Some(&b'2')))
    }

    /// The first value of the header `name`.
    #[expect(clippy::unused_self, reason = "holding it is the permission to call")]
    pub(super) fn get(&self, name: &str) -> Result<Option<Vec<u8>>, HostError> {
        hostcalls::get_map_value_bytes(MapType::HttpResponseHeaders, name)
            .map_err(failed("get_map_value"))
    }

    /// Makes `value` the only value of the header `name`.
    #[expect(clippy::unused_self, reason = "holding it is the permission to call")]
    pub(super) fn set(&self, name: &str, value: &[u8]) -> Result<(), HostError> {
        hostcalls::set_map_value_bytes(MapType::HttpResponseHeaders, name, Some(value))
            .map_err(failed("set_map_value"))
    }

    /// Adds `value` to those of the header `name`.
    #[expect(clippy::unused_self, reason = "holding it is the permission to call")]
    pub(super) fn add(&self, name: &str, value: &[u8]) -> Result<(), HostError> {
        hostcalls::add_map_value_bytes(MapType::HttpResponseHeaders, name, value)
            .map_err(failed("add_map_value"))
    }

    /// Removes every value of the header `name`.
    #[expect(clippy::unused_self, reason = "holding it is the permission to call")]
    pub(super) fn remove(&self, name: &str) -> Result<(), HostError> {
        hostcalls::remove_map_value(MapType::HttpResponseHeaders, name)
            .map_err(failed("remove_map_value"))
    }
}

/// The endpoint that the request was sent to last, as `ip:port`; `None` where it was sent to none.
pub(super) fn upstream_address() -> Result<Option<Vec<u8>>, HostError> {
    hostcalls::get_property(vec!["upstream", "address"]).map_err(failed("get_property"))
}

/// Why Envoy answers by itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct ResponseFlags(u64);

impl ResponseFlags {
    /// `UF`.
    const UPSTREAM_CONNECTION_FAILURE: u64 = 0x20;
    /// `UO`.
    const UPSTREAM_OVERFLOW: u64 = 0x80;

    /// Whether because it got no connection to the endpoint.
    pub(super) const fn is_unreachable(self) -> bool {
        self.0 & Self::UPSTREAM_CONNECTION_FAILURE != 0
    }

    /// Whether because it could not send the request to the endpoint that it had found for it.
    pub(super) const fn is_unsent(self) -> bool {
        self.0 & (Self::UPSTREAM_CONNECTION_FAILURE | Self::UPSTREAM_OVERFLOW) != 0
    }
}

/// Why Envoy answers by itself, if it does.
pub(super) fn response_flags() -> Result<ResponseFlags, HostError> {
    let flags =
        hostcalls::get_property(vec!["response", "flags"]).map_err(failed("get_property"))?;
    let flags = flags.and_then(|flags| flags.try_into().ok());
    Ok(ResponseFlags(u64::from_le_bytes(flags.unwrap_or_default())))
}

/// Whether the response comes from an endpoint, and not from Envoy itself.
pub(super) fn is_upstream_response() -> Result<bool, HostError> {
    let details = hostcalls::get_property(vec!["response", "code_details"])
        .map_err(failed("get_property"))?;
    Ok(details.is_some_and(|details| details == b"via_upstream"))
}

/// Answers the request from here. Once a stream; the headers are given up with it.
pub(super) fn local_reply(
    status: u16,
    headers: Vec<(&str, &str)>,
    body: &[u8],
) -> Result<(), HostError> {
    hostcalls::send_http_response(status.into(), headers, Some(body))
        .map_err(failed("send_http_response"))
}

/// Makes the calls that follow in this callback those of the stream `context_id`; an error if that
/// has ended.
pub(super) fn act_for(context_id: u32) -> Result<(), HostError> {
    hostcalls::set_effective_context(context_id).map_err(failed("set_effective_context"))
}

/// Calls one of Envoy's own functions by name.
pub(super) fn call_foreign_function(name: &str, arguments: &[u8]) -> Result<(), HostError> {
    hostcalls::call_foreign_function(name, Some(arguments))
        .map(|_| ())
        .map_err(failed("call_foreign_function"))
}

/// Sends `GET path` through `cluster` with further headers; the answer comes by
/// `on_http_call_response` with this token. An error here means that no answer will come.
pub(super) fn dispatch_get(
    cluster: &str,
    path: &str,
    authority: &str,
    headers: &[(&str, &str)],
    timeout: Duration,
) -> Result<u32, HostError> {
    let mut all = vec![
        (":method", "GET"),
        (":path", path),
        (":authority", authority),
    ];
    all.extend_from_slice(headers);
    hostcalls::dispatch_http_call(cluster, all, None, Vec::new(), timeout)
        .map_err(failed("dispatch_http_call"))
}

/// A value that the VMs share, with the mark that a conditional write compares.
#[derive(Debug)]
pub(super) struct SharedValue {
    /// Its bytes; empty where it was set to nothing.
    pub(super) bytes: Vec<u8>,
    /// Changes with each write; `None` before the first.
    pub(super) cas: Option<u32>,
}

/// Reads what is shared under `key`.
pub(super) fn shared(key: &str) -> Result<SharedValue, HostError> {
    let (bytes, cas) = hostcalls::get_shared_data(key).map_err(failed("get_shared_data"))?;
    Ok(SharedValue {
        bytes: bytes.unwrap_or_default(),
        cas,
    })
}

/// Shares `value` under `key`, whatever is there.
pub(super) fn set_shared(key: &str, value: &[u8]) -> Result<(), HostError> {
    hostcalls::set_shared_data(key, Some(value), None).map_err(failed("set_shared_data"))
}

/// Shares `value` under `key` if nobody else has since `cas` was read; tells whether it did. A
/// key that was never written has nothing to compare, and is written.
pub(super) fn swap_shared(key: &str, value: &[u8], cas: Option<u32>) -> Result<bool, HostError> {
    match hostcalls::set_shared_data(key, Some(value), cas) {
        Ok(()) => Ok(true),
        Err(Status::CasMismatch) => Ok(false),
        Err(status) => Err(failed("set_shared_data")(status)),
    }
}

/// A metric of Envoy that only grows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counter(u32);

/// A metric of Envoy that stands where it was set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gauge(u32);

impl Counter {
    /// The counter called `name`, after `wasmcustom.`; every VM that defines it has the same one.
    pub(super) fn define(name: &str) -> Result<Self, HostError> {
        define_metric(MetricType::Counter, name).map(Self)
    }

    /// Counts one.
    pub(super) fn increment(self) -> Result<(), HostError> {
        self.add(1)
    }

    /// Counts `number`, which is at least one.
    pub(super) fn add(self, number: i64) -> Result<(), HostError> {
        hostcalls::increment_metric(self.0, number).map_err(failed("increment_metric"))
    }
}

impl Gauge {
    /// The gauge called `name`, after `wasmcustom.`; every VM that defines it has the same one.
    pub(super) fn define(name: &str) -> Result<Self, HostError> {
        define_metric(MetricType::Gauge, name).map(Self)
    }

    /// Sets it.
    pub(super) fn set(self, value: u64) -> Result<(), HostError> {
        hostcalls::record_metric(self.0, value).map_err(failed("record_metric"))
    }
}

fn define_metric(kind: MetricType, name: &str) -> Result<u32, HostError> {
    hostcalls::define_metric(kind, name).map_err(failed("define_metric"))
}
