//! Engines by name, with the families they expose.

use serde::Deserialize;

use crate::pool::Signal;

/// A model-server engine whose metric names are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// vLLM, engine V1 (0.10 and later). Labels `model_name` and `engine`, one series for each
    /// data-parallel engine.
    #[default]
    Vllm,
}

impl Engine {
    /// The selector of the series that carry `signal`.
    #[must_use]
    pub const fn selector(self, signal: Signal) -> &'static str {
        match (self, signal) {
            (Self::Vllm, Signal::WaitingRequests) => "vllm:num_requests_waiting",
            (Self::Vllm, Signal::RunningRequests) => "vllm:num_requests_running",
            (Self::Vllm, Signal::KvCacheUsage) => "vllm:kv_cache_usage_perc",
        }
    }
}
