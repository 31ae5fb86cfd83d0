//! What stands behind Envoy.

use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

/// The model servers of a demo or a bench.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Backend {
    /// Simulated model servers, part of this program.
    #[default]
    Simulated,
    /// Real vLLM on the CPU with a tiny model of random weights, as `scripts/setup --vllm` installs
    /// it.
    Vllm,
}

impl fmt::Display for Backend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Simulated => "simulated",
            Self::Vllm => "vllm",
        })
    }
}
