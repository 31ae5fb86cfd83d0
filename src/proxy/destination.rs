//! How Envoy is told which endpoints were chosen.

use super::host::{HostError, RequestHeaders, call_foreign_function};
use crate::{
    config::{DestinationSettings, DisaggregationHeaders, schema::HandOver},
    pool::Endpoint,
    request::{PREFILL_INSTANCE, WORKER_INSTANCE},
    scheduling::Decision,
};

/// Names the host to any `ORIGINAL_DST` cluster, from inside Envoy only.
const ORIGINAL_DST_FILTER_STATE: &str = "envoy.network.transport_socket.original_dst_address";

/// The choice could not be handed over.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandOverError {
    /// The host refused.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The headers have left, and this hand-over needs them.
    #[error("the request headers are gone: allow_on_headers_stop_iteration is not set")]
    HeadersGone,
}

/// Tells Envoy to send the request where `decision` says.
pub(super) fn hand_over(
    destination: &DestinationSettings,
    headers: Option<&RequestHeaders>,
    decision: &Decision<'_>,
) -> Result<(), HandOverError> {
    let endpoint = decision.endpoint().host_port();
    let set = |value: &str| -> Result<(), HandOverError> {
        let headers = headers.ok_or(HandOverError::HeadersGone)?;
        Ok(headers.set(&destination.header, value)?)
    };
    match destination.hand_over {
        HandOver::OriginalDstHeader => set(endpoint),
        HandOver::OverrideHost => set(&list(decision.ranking())),
        HandOver::OriginalDstFilterState => Ok(call_foreign_function(
            "set_envoy_filter_state",
            &filter_state_arguments(ORIGINAL_DST_FILTER_STATE, endpoint),
        )?),
    }
}

/// Tells the server that is to answer who reads the prompt for it, and in Dynamo's terms who either
/// is.
pub(super) fn name_workers(
    names: &DisaggregationHeaders,
    headers: &RequestHeaders,
    decision: &Decision<'_>,
) -> Result<(), HostError> {
    let prefiller = decision.prefill();
    if let Some(prefiller) = prefiller {
        headers.set(&names.prefiller, prefiller.host_port())?;
    }
    let Some(label) = &names.instance_label else {
        return Ok(());
    };
    for (name, endpoint) in [
        (WORKER_INSTANCE, Some(decision.endpoint())),
        (PREFILL_INSTANCE, prefiller),
    ] {
        if let Some(instance) = endpoint.and_then(|endpoint| endpoint.labels().get(label)) {
            headers.set(name, instance)?;
        }
    }
    Ok(())
}

fn list<'a>(endpoints: impl Iterator<Item = &'a Endpoint>) -> String {
    let mut list = String::new();
    for endpoint in endpoints {
        if !list.is_empty() {
            list.push(',');
        }
        list.push_str(endpoint.host_port());
    }
    list
}

/// `envoy.source.extensions.common.wasm.SetEnvoyFilterStateArguments` in protobuf: path (1) and
/// value (2) are strings, span (3) is 1, the downstream request. Three fields do not earn a
/// protobuf library.
fn filter_state_arguments(path: &str, value: &str) -> Vec<u8> {
    let mut message = Vec::with_capacity(path.len() + value.len() + 8);
    for (tag, text) in [(0x0A, path), (0x12, value)] {
        message.push(tag);
        varint(text.len(), &mut message);
        message.extend_from_slice(text.as_bytes());
    }
    message.extend_from_slice(&[0x18, 1]);
    message
}

fn varint(mut value: usize, out: &mut Vec<u8>) {
    loop {
        let low = u8::try_from(value & 0x7F).unwrap_or_default();
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}
