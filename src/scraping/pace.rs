//! How often an endpoint is asked, and when that is.

use core::time::Duration;

use fastrand::Rng;

use super::ScrapeSettings;
use crate::time::{Timestamp, millis};

/// How often an endpoint is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// While it has traffic; at least a millisecond.
    pub interval: Duration,
    /// While it has none; at least the interval.
    pub idle_interval: Duration,
    /// At most this long after a failure; at least the interval.
    pub max_back_off: Duration,
}

impl From<&ScrapeSettings> for Pace {
    fn from(settings: &ScrapeSettings) -> Self {
        Self {
            interval: settings.interval,
            idle_interval: settings.idle_interval(),
            max_back_off: settings.max_back_off(),
        }
    }
}

impl Pace {
    /// How long an endpoint is left alone after its `failures`th failure in a row: between half and the
    /// whole of 2, 4, 8… intervals. Drawn, so that endpoints which failed together are not asked
    /// together for good.
    pub(super) fn rest(&self, failures: u32, rng: &mut Rng) -> Duration {
        let [interval, longest] = [self.interval, self.max_back_off].map(millis);
        let intervals = 1_u64.checked_shl(failures).unwrap_or(u64::MAX);
        let whole = interval
            .saturating_mul(intervals)
            .min(longest)
            .max(interval);
        let half = (whole / 2).max(interval);
        Duration::from_millis(rng.u64(half..=whole))
    }
}

/// Moments at equal distances: the cuts between an endpoint's intervals.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cuts {
    distance: u64,
    offset: u64,
}

impl Cuts {
    /// Those of endpoint `index` of `count`.
    pub(super) fn new(distance: Duration, index: u64, count: u64) -> Self {
        let distance = millis(distance).max(1);
        Self {
            distance,
            offset: distance.saturating_mul(index) / count.max(1),
        }
    }

    /// Whether one lies after `from`, up to `to`. Either may be the earlier, so that a clock set
    /// back does not make an endpoint wait for the time it had reached.
    pub(super) const fn part(self, from: Timestamp, to: Timestamp) -> bool {
        self.interval_at(from) != self.interval_at(to)
    }

    const fn interval_at(self, moment: Timestamp) -> u64 {
        moment.as_millis().saturating_sub(self.offset) / self.distance
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_is_of_2_4_8_intervals_and_drawn_from_the_later_half() {
        let mut rng = Rng::with_seed(7);
        for (max_back_off, failures, half, whole) in [
            (3_200, 1, 200, 400),
            (3_200, 2, 400, 800),
            (3_200, 4, 1_600, 3_200),
            (3_200, 5, 1_600, 3_200),
            (3_200, u32::MAX, 1_600, 3_200),
            (500, 9, 250, 500),
            (300, 9, 200, 300),
            (200, 9, 200, 200),
        ] {
            let pace = Pace {
                interval: Duration::from_millis(200),
                idle_interval: Duration::from_secs(1),
                max_back_off: Duration::from_millis(max_back_off),
            };
            let mut rests: Vec<_> = (0..2_000)
                .map(|_| millis(pace.rest(failures, &mut rng)))
                .collect();
            rests.sort_unstable();
            let (least, most) = (rests[0], rests[1_999]);
            assert!(
                half <= least && most <= whole,
                "{failures}: {least}..={most}"
            );
            let edge = (whole - half) / 20;
            assert!(
                least <= half + edge && whole - edge <= most,
                "{failures}: {least}..={most} does not fill {half}..={whole}"
            );
        }
    }
}
