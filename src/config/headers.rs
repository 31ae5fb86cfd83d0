//! Which headers count, checked.

use super::{
    schema::{HandOver, Headers},
    settings::{ConfigError, refused},
};
use crate::request::Trusted;

/// Which headers count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HeaderSettings {
    /// Whether headers tell the model, for routes to match.
    pub model_headers: bool,
    /// What a gateway in front may say.
    pub trusted: Trusted,
}

impl HeaderSettings {
    pub(super) fn new(headers: &Headers, hand_over: HandOver) -> Result<Self, ConfigError> {
        if headers.model_headers && hand_over == HandOver::OriginalDstFilterState {
            return Err(refused(
                "headers.modelHeaders",
                "false with original-dst-filter-state, where the headers have left before the model \
                 is known",
                true,
            ));
        }
        let mut trusted = Trusted::default();
        for (index, name) in headers.trusted.iter().enumerate() {
            if !trusted.trust(name) {
                return Err(refused(
                    format!("headers.trusted[{index}]"),
                    format!("one of {}", Trusted::NAMES.join(", ")),
                    format_args!("{name:?}"),
                ));
            }
        }
        Ok(Self {
            model_headers: headers.model_headers,
            trusted,
        })
    }
}
