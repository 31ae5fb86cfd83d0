//! Endpoints that have room.

use crate::{pool::Signal, scheduling::Candidates};

/// Parameters of [`Filter::Utilization`](super::Filter::Utilization).
#[derive(Debug, Clone, PartialEq)]
pub struct Utilization {
    /// All of which must hold. What an endpoint does not tell does not hold.
    pub conditions: Vec<UtilizationCondition>,
    /// Whether all stay where none is left.
    pub fallback_on_empty: bool,
}

/// One bound on what an endpoint has to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UtilizationCondition {
    /// Of what.
    pub metric: UtilizationMetric,
    /// The largest value that may be.
    pub max_value: f64,
}

/// What a [`UtilizationCondition`] bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UtilizationMetric {
    /// Requests in flight from this gateway.
    ActiveRequests,
    /// Running requests, brought up to the present.
    RunningRequests,
    /// Waiting requests, brought up to the present.
    WaitingQueue,
    /// The share of the KV cache in use, 0 to 1.
    KvCacheUtilization,
}

impl Utilization {
    pub(super) fn keep(&self, candidates: Candidates<'_>, keep: &mut Vec<bool>) {
        let start = keep.len();
        keep.resize(start + candidates.len(), true);
        let keep = keep.get_mut(start..).unwrap_or_default();
        for condition in &self.conditions {
            condition.apply(candidates, keep);
        }
    }
}

impl UtilizationCondition {
    /// Takes out of `keep` the candidates of which it does not hold.
    fn apply(&self, candidates: Candidates<'_>, keep: &mut [bool]) {
        match self.metric {
            UtilizationMetric::ActiveRequests => {
                let requests = candidates.load().map(|load| f64::from(load.requests));
                self.bound(requests.map(Some), keep);
            }
            UtilizationMetric::RunningRequests => {
                self.bound(candidates.current(Signal::RunningRequests), keep);
            }
            UtilizationMetric::WaitingQueue => {
                self.bound(candidates.current(Signal::WaitingRequests), keep);
            }
            UtilizationMetric::KvCacheUtilization => {
                self.bound(candidates.fresh(Signal::KvCacheUsage), keep);
            }
        }
    }

    fn bound(&self, values: impl Iterator<Item = Option<f64>>, keep: &mut [bool]) {
        for (keep, value) in keep.iter_mut().zip(values) {
            *keep &= value.is_some_and(|value| value <= self.max_value);
        }
    }
}
