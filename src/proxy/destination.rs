//! How Envoy is told which endpoint was chosen.

use super::host::{HostError, RequestHeaders, call_foreign_function};
use crate::config::schema::HandOver;

/// Names the host to an `ORIGINAL_DST` cluster with `use_http_header`.
pub(super) const ORIGINAL_DST_HEADER: &str = "x-envoy-original-dst-host";

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

/// Removes what a client may have sent to choose its own endpoint.
pub(super) fn strip(headers: &RequestHeaders) -> Result<(), HostError> {
    if headers.get(ORIGINAL_DST_HEADER)?.is_some() {
        headers.remove(ORIGINAL_DST_HEADER)?;
    }
    Ok(())
}

/// Tells Envoy to send the request to `host_port`.
pub(super) fn hand_over(
    way: HandOver,
    headers: Option<&RequestHeaders>,
    host_port: &str,
) -> Result<(), HandOverError> {
    match way {
        HandOver::OriginalDstHeader => headers
            .ok_or(HandOverError::HeadersGone)?
            .set(ORIGINAL_DST_HEADER, host_port)?,
        HandOver::OriginalDstFilterState => call_foreign_function(
            "set_envoy_filter_state",
            &filter_state_arguments(ORIGINAL_DST_FILTER_STATE, host_port),
        )?,
    }
    Ok(())
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
