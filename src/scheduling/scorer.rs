//! Scorers: each turns one aspect of the candidates into scores from 0 (worst) to 1 (best).
//!
//! A signal that is missing, stale or not a number scores 0: what says nothing of its load is
//! never taken for idle.

use serde::{Deserialize, Serialize};

use super::Candidates;
use crate::pool::Signal;

/// A scorer by its name in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scorer {
    /// The fewest waiting requests: `(max - w) / (max - min)` over the candidates, 1 for all when
    /// they wait alike. The Endpoint Picker's `queue-scorer`.
    Queue,
    /// The most free KV cache: `1 - usage`. The Endpoint Picker's `kv-cache-utilization-scorer`.
    KvCacheUtilization,
}

impl Scorer {
    /// Its name in the configuration and in explanations.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::KvCacheUtilization => "kv-cache-utilization",
        }
    }

    /// The signals it reads.
    #[must_use]
    pub const fn signals(self) -> &'static [Signal] {
        match self {
            Self::Queue => &[Signal::WaitingRequests],
            Self::KvCacheUtilization => &[Signal::KvCacheUsage],
        }
    }

    /// Appends the score of each candidate, 0 to 1, in their order.
    pub fn score(self, candidates: Candidates<'_>, scores: &mut Vec<f64>) {
        match self {
            Self::Queue => lowest_is_best(candidates, Signal::WaitingRequests, scores),
            Self::KvCacheUtilization => scores.extend(
                candidates
                    .fresh(Signal::KvCacheUsage)
                    .map(|usage| usage.map_or(0.0, |usage| (1.0 - usage).clamp(0.0, 1.0))),
            ),
        }
    }
}

fn lowest_is_best(candidates: Candidates<'_>, signal: Signal, scores: &mut Vec<f64>) {
    let (min, max) = candidates
        .fresh(signal)
        .flatten()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), value| {
            (min.min(value), max.max(value))
        });
    let range = max - min;
    scores.extend(candidates.fresh(signal).map(|value| match value {
        None => 0.0,
        Some(value) if range > 0.0 => (max - value) / range,
        Some(_) => 1.0,
    }));
}
