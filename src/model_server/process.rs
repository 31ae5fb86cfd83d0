//! Whether a server is still the process it was.

use super::{
    expression::{Aggregation, Series},
    series::{Anew, Collected, History, Outcome, Wanted},
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

    /// The process that `collected` is of, `before` that of the last scrape, and what began at 0 in
    /// between. It is another if it started later. Where servers do not tell, it is another if
    /// a counter has fallen.
    ///
    /// One that started earlier is none: several processes may answer in turn behind one address.
    pub(super) fn read(
        &self,
        wanted: &Wanted,
        collected: &Collected<'_>,
        history: &History,
        before: Process,
    ) -> (Process, Anew) {
        let started = match collected.aggregate(Aggregation::Max, self.started) {
            Outcome::Number(seconds) if seconds.is_finite() => Some(seconds),
            _ => None,
        };
        let anew = match (before.started, started) {
            (Some(before), Some(started)) if started > before + TOLERANCE_SECONDS => Anew::All,
            (Some(_), Some(_)) => Anew::None,
            _ => wanted.fallen(collected, history),
        };
        let process = Process {
            // `None` is less than any.
            started: if started > before.started {
                started
            } else {
                before.started
            },
            incarnation: before.incarnation.wrapping_add((anew != Anew::None).into()),
        };
        (process, anew)
    }
}
