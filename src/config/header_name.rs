//! Names of headers, checked.

use super::settings::{ConfigError, refused};
use crate::request::{
    BASE_MODEL_NAME, DESTINATION_ENDPOINT, MODEL_NAME, ORIGINAL_DST_HOST, PREFILL_INSTANCE,
    PREFILLER, WORKER_INSTANCE, has_another_use,
};

/// Headers that are taken from clients' requests, so that there is nothing in them to ask about.
const REMOVED: [&str; 7] = [
    ORIGINAL_DST_HOST,
    DESTINATION_ENDPOINT,
    MODEL_NAME,
    BASE_MODEL_NAME,
    PREFILLER,
    WORKER_INSTANCE,
    PREFILL_INSTANCE,
];

/// The name of a header that the filter sets, in lowercase, as Envoy has them. Not one that has
/// another use: it would be overwritten.
pub(super) fn header_name(path: &str, name: &str) -> Result<String, ConfigError> {
    let lowercase = name.to_ascii_lowercase();
    let is_own = lowercase.len() > 2 && lowercase.starts_with("x-");
    if is_own && is_token(name) && !has_another_use(&lowercase) {
        return Ok(lowercase);
    }
    Err(refused(
        path,
        "the name of a header that begins with \"x-\" and has no other use",
        format_args!("{name:?}"),
    ))
}

/// The name of a header that clients send, in lowercase.
pub(super) fn client_header_name(path: &str, name: &str) -> Result<String, ConfigError> {
    let lowercase = name.to_ascii_lowercase();
    if is_token(name) && !REMOVED.contains(&lowercase.as_str()) {
        return Ok(lowercase);
    }
    Err(refused(
        path,
        "the name of a header that clients may send",
        format_args!("{name:?}"),
    ))
}

/// Whether this is a token, as names of headers and cookies are.
pub(super) fn is_token(name: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token)
}
