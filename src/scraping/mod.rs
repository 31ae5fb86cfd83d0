//! Who scrapes, and when: the rules, without the calls.
//!
//! Every worker of Envoy and its main thread run a VM each, and all of them tick. One of them
//! scrapes for all, by a [`Lease`]; it asks each endpoint once an interval, spread over the
//! interval by a [`Timetable`].

mod lease;
mod timetable;

pub use lease::{Claim, Lease, Verdict};
pub use timetable::Timetable;

use core::time::Duration;

/// How often a VM looks at the lease, at what is due and at what was published, for scrapes at
/// `interval`: a fifth of it, so that scrapes spread; at least 10 ms, because ticks of every
/// worker cost; at most 100 ms, so that a lost scraper is soon replaced.
#[must_use]
pub fn tick_period(interval: Duration) -> Duration {
    (interval / 5).clamp(Duration::from_millis(10), Duration::from_millis(100))
}
