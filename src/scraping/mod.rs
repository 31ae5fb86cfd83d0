//! Who scrapes, and when: the rules, without the calls.
//!
//! Every worker of Envoy and its main thread run a VM each, and all of them tick. One of them
//! scrapes for all, by a [`Lease`]. It asks each endpoint as [`ScrapeSettings`] say, at the moments
//! of a [`Timetable`]: once an interval while the endpoint has traffic, of which the other VMs tell
//! by a [`TrafficNote`], less often while it has none, and least while it fails.

mod lease;
mod pace;
mod secret;
mod settings;
mod spec;
mod timetable;
mod traffic;

pub use lease::{Claim, Lease, Verdict};
pub use pace::Pace;
pub use secret::Secret;
pub use settings::{ScrapeSettings, ScrapeTarget};
pub use spec::{ScrapeSpec, ScrapeSpecError};
pub use timetable::{LastScrape, Timetable};
pub use traffic::{EndpointSet, TrafficNote, has_traffic};

use core::time::Duration;

/// How often a VM looks at the lease, at what is due and at what was published, and tells the others
/// what it has routed, for scrapes at `interval`: a tenth of it, so that scrapes spread; at least 10
/// ms, because ticks of every worker cost; at most 20 ms, because what one worker does not know of
/// another it may do again.
#[must_use]
pub fn tick_period(interval: Duration) -> Duration {
    (interval / 10).clamp(Duration::from_millis(10), Duration::from_millis(20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_a_tenth_of_an_interval_within_bounds() {
        for (interval, expected) in [(20, 10), (100, 10), (150, 15), (200, 20), (3_600_000, 20)] {
            let period = tick_period(Duration::from_millis(interval));
            assert_eq!(period, Duration::from_millis(expected), "{interval}");
        }
    }
}
