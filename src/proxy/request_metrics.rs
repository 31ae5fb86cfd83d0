//! What the filter tells of the requests it has routed, as metrics of Envoy.

use super::{host::Counter, host::HostError};

/// The metrics of one pool's requests. Those of every VM add to the same ones.
///
/// Each counts what is out of the ordinary, so that ordinary requests make no call for them.
#[derive(Debug)]
pub(super) struct RequestMetrics {
    decided_early: Counter,
    held_without_model: Counter,
    invalid_hints: Counter,
}

impl RequestMetrics {
    /// Defines them for the pool called `pool`.
    pub(super) fn define(pool: &str) -> Result<Self, HostError> {
        let counter = |name| Counter::define(&format!("endpoint_picker.{pool}.requests.{name}"));
        Ok(Self {
            decided_early: counter("decided_early")?,
            held_without_model: counter("held_without_model")?,
            invalid_hints: counter("invalid_hints")?,
        })
    }

    /// Counts a request that was routed before all of its body had come.
    pub(super) fn decided_early(&self) {
        count(self.decided_early, 1);
    }

    /// Counts a request of which as much was held as may be, and no model was found in it.
    pub(super) fn held_without_model(&self) {
        count(self.held_without_model, 1);
    }

    /// Counts values of headers that were ignored.
    pub(super) fn invalid_hints(&self, number: u32) {
        count(self.invalid_hints, number);
    }
}

/// Counting must not stop what is counted.
fn count(counter: Counter, number: u32) {
    if number > 0
        && let Err(error) = counter.add(number.into())
    {
        log::debug!("{error}");
    }
}
