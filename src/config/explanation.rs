//! Who may ask why an endpoint was chosen, checked.

use serde::Deserialize;

use super::{
    header_name::header_name,
    settings::{ConfigError, refused},
};
use crate::scraping::Secret;

const DEFAULT_REQUEST_HEADER: &str = "x-endpoint-picker-explain";
const DEFAULT_RESPONSE_HEADER: &str = "x-endpoint-picker-explanation";
/// Half of what many clients take as the headers of an answer: ten to fifty endpoints.
const DEFAULT_MAX_BYTES: usize = 8 << 10;
/// From one endpoint's scores to what Envoy itself takes as the headers of an answer.
const MAX_BYTES: core::ops::RangeInclusive<usize> = 256..=48 << 10;
/// More than anyone guesses, and no more than a header's value should have.
const SECRET_BYTES: core::ops::RangeInclusive<usize> = 16..=256;

/// Explanations for clients that know a secret.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Explanation {
    /// The request header with the secret.
    pub request_header: Option<String>,
    /// What it must say; required.
    pub secret: Option<Secret>,
    /// The response header with the explanation.
    pub response_header: Option<String>,
    /// Bytes that the explanation has at most.
    pub max_bytes: Option<usize>,
}

/// Who may ask why an endpoint was chosen, and how they are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplanationSettings {
    /// The request header that asks, in lowercase. It carries a secret, so it is not passed on.
    pub request_header: String,
    /// The response header that tells, in lowercase.
    pub response_header: String,
    /// Bytes that it has at most.
    pub max_bytes: usize,
    secret: Secret,
}

impl ExplanationSettings {
    /// Whether `value` of the request header is the secret. All of a value is compared, so that the
    /// time it takes tells nobody how much of it is right.
    #[must_use]
    pub fn admits(&self, value: &[u8]) -> bool {
        let secret = self.secret.reveal().as_bytes();
        let pairs = secret.iter().zip(value);
        let difference = pairs.fold(0, |difference, (a, b)| difference | (a ^ b));
        secret.len() == value.len() && difference == 0
    }
}

impl TryFrom<Explanation> for ExplanationSettings {
    type Error = ConfigError;

    fn try_from(explanation: Explanation) -> Result<Self, ConfigError> {
        let name = |field: &str, given: Option<String>, default: &str| match given {
            None => Ok(default.to_owned()),
            Some(name) => header_name(&format!("explanation.{field}"), &name),
        };
        let refused_secret = |found: String| {
            let expected = "16 to 256 visible ASCII characters";
            refused("explanation.secret", expected, found)
        };
        let secret = explanation.secret;
        let secret = secret.ok_or_else(|| refused_secret("none".to_owned()))?;
        let text = secret.reveal();
        let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if !SECRET_BYTES.contains(&text.len()) || !is_visible {
            return Err(refused_secret(format!("a text of {} bytes", text.len())));
        }
        let max_bytes = explanation.max_bytes.unwrap_or(DEFAULT_MAX_BYTES);
        if !MAX_BYTES.contains(&max_bytes) {
            let (from, to) = (MAX_BYTES.start(), MAX_BYTES.end());
            let expected = format!("{from} to {to}");
            return Err(refused("explanation.maxBytes", expected, max_bytes));
        }
        Ok(Self {
            request_header: name(
                "requestHeader",
                explanation.request_header,
                DEFAULT_REQUEST_HEADER,
            )?,
            response_header: name(
                "responseHeader",
                explanation.response_header,
                DEFAULT_RESPONSE_HEADER,
            )?,
            max_bytes,
            secret,
        })
    }
}
