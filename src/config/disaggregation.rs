//! How a model server is told who prefills, checked.

use serde::Deserialize;

use super::{
    header_name::header_name,
    settings::{ConfigError, refused},
};
use crate::request::PREFILLER;

/// Read in a few hundredths of a second: less than it takes to hand a KV cache over, and to wait
/// for two servers instead of one.
const DEFAULT_MIN_UNCACHED_TOKENS: u64 = 512;

/// Prefill and decode on endpoints of their own.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Disaggregation {
    /// The name of the profile that chooses the prefiller.
    pub prefill_profile: String,
    /// Tokens that the decoder would have to read, of which more are split off.
    pub min_uncached_tokens: Option<u64>,
    /// The request header that names the prefiller.
    pub prefiller_header: Option<String>,
    /// The label with an endpoint's instance id in Dynamo.
    pub instance_label: Option<String>,
}

/// The request headers that tell a model server who prefills and who decodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisaggregationHeaders {
    /// The header that names the prefiller as `ip:port`, in lowercase.
    pub prefiller: String,
    /// The label whose value goes into [`WORKER_INSTANCE`](crate::request::WORKER_INSTANCE), of the
    /// endpoint that decodes, and into [`PREFILL_INSTANCE`](crate::request::PREFILL_INSTANCE), of
    /// the one that prefills.
    pub instance_label: Option<String>,
}

/// Those of an Endpoint Picker.
impl Default for DisaggregationHeaders {
    fn default() -> Self {
        Self {
            prefiller: PREFILLER.to_owned(),
            instance_label: None,
        }
    }
}

impl Disaggregation {
    /// Tokens that the decoder would have to read, of which more are split off.
    pub(super) fn min_uncached_tokens(&self) -> u64 {
        self.min_uncached_tokens
            .unwrap_or(DEFAULT_MIN_UNCACHED_TOKENS)
    }
}

impl TryFrom<Disaggregation> for DisaggregationHeaders {
    type Error = ConfigError;

    fn try_from(disaggregation: Disaggregation) -> Result<Self, ConfigError> {
        let instance_label = disaggregation.instance_label;
        if instance_label.as_deref() == Some("") {
            let path = "scheduling.disaggregation.instanceLabel";
            return Err(refused(path, "the name of a label", "\"\""));
        }
        let prefiller = match disaggregation.prefiller_header {
            None => PREFILLER.to_owned(),
            Some(name) => header_name("scheduling.disaggregation.prefillerHeader", &name)?,
        };
        Ok(Self {
            prefiller,
            instance_label,
        })
    }
}
