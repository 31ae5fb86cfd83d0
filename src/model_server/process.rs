//! Whether a server is still the process it was.

use super::{
    expression::{Aggregation, Series},
    series::{Outcome, Wanted},
    term::Scrape,
};
use crate::{exposition::Selector, pool::Process};

/// What the Prometheus clients of most languages tell, whatever the engine.
const STARTED: &str = "process_start_time_seconds";

/// By how much a process must have started later to be another. Clients count from the time of the
/// machine's boot, which some compute anew at every scrape and which moves as its clock is set.
const TOLERANCE_SECONDS: f64 = 2.0;

/// Reads which process of a server answers.
#[derive(Debug, Clone, Default)]
pub(super) struct ProcessMapping {
    started: usize,
}

impl ProcessMapping {
    pub(super) fn new(wanted: &mut Wanted) -> Self {
        let started = Series {
            selector: Selector::all_of(STARTED),
            label: None,
        };
        Self {
            started: wanted.add(&started),
        }
    }

    /// The process that the scrape is of, `before` that of the last one. It is another if it started
    /// later. Where servers do not tell, it is another if a counter has fallen.
    ///
    /// One that started earlier is none: several processes may answer in turn behind one address.
    pub(super) fn read(&self, scrape: &Scrape<'_>, before: Process) -> Process {
        let started = match scrape.collected.aggregate(Aggregation::Max, self.started) {
            Outcome::Number(seconds) if seconds.is_finite() => Some(seconds),
            _ => None,
        };
        let is_another = match (before.started, started) {
            (Some(before), Some(started)) => started > before + TOLERANCE_SECONDS,
            _ => scrape.wanted.fell(&scrape.collected, scrape.history),
        };
        Process {
            // `None` is less than any.
            started: if started > before.started {
                started
            } else {
                before.started
            },
            incarnation: before.incarnation.wrapping_add(is_another.into()),
        }
    }
}
