//! What a scrape tells of an endpoint, with the ways of not knowing kept apart from zero.

use core::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// A quantity that the scheduler can ask of an endpoint, whatever engine serves there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// Requests accepted and not started, a count.
    WaitingRequests,
    /// Requests in the engine's batch, a count.
    RunningRequests,
    /// Share of the KV cache in use, 0 to 1.
    KvCacheUsage,
}

impl Signal {
    /// Every signal.
    pub const ALL: [Self; 3] = [
        Self::WaitingRequests,
        Self::RunningRequests,
        Self::KvCacheUsage,
    ];

    /// Its name in the configuration and in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::WaitingRequests => "waitingRequests",
            Self::RunningRequests => "runningRequests",
            Self::KvCacheUsage => "kvCacheUsage",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What one scrape said of one signal.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub enum Observation {
    /// The exposition had no such series.
    #[default]
    Missing,
    /// The series was there with NaN or an infinity.
    NotFinite,
    /// The value, and when it was measured.
    Value {
        /// In the signal's unit; finite.
        value: f64,
        /// When the exposition arrived.
        at: Timestamp,
    },
}

/// An [`Observation`] as it stands at the time of a decision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reading {
    /// Recent enough to decide on.
    Fresh(f64),
    /// Older than metrics may be.
    Stale,
    /// Not in the exposition, or never scraped.
    Missing,
    /// NaN or an infinity.
    NotFinite,
}

impl Reading {
    /// The value, if there is one to decide on.
    #[must_use]
    pub const fn fresh(self) -> Option<f64> {
        match self {
            Self::Fresh(value) => Some(value),
            Self::Stale | Self::Missing | Self::NotFinite => None,
        }
    }
}

/// The moment of a decision and how old a metric may be at it.
#[derive(Debug, Clone, Copy)]
pub struct Freshness {
    /// The moment of the decision.
    pub now: Timestamp,
    /// The age past which a metric says nothing any more.
    pub stale_after: Duration,
}

impl Freshness {
    /// Whether something measured `at` still counts.
    #[must_use]
    pub fn holds(self, at: Timestamp) -> bool {
        self.now.since(at) <= self.stale_after
    }
}

/// The signals of one endpoint, as its last answered scrape had them.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct EndpointMetrics {
    waiting_requests: Observation,
    running_requests: Observation,
    kv_cache_usage: Observation,
}

impl EndpointMetrics {
    /// What the last scrape said of `signal`.
    #[must_use]
    pub const fn observation(&self, signal: Signal) -> Observation {
        match signal {
            Signal::WaitingRequests => self.waiting_requests,
            Signal::RunningRequests => self.running_requests,
            Signal::KvCacheUsage => self.kv_cache_usage,
        }
    }

    /// Sets `signal` to `value`, measured `at`.
    pub const fn observe(&mut self, signal: Signal, value: f64, at: Timestamp) {
        let observation = if value.is_finite() {
            Observation::Value { value, at }
        } else {
            Observation::NotFinite
        };
        match signal {
            Signal::WaitingRequests => self.waiting_requests = observation,
            Signal::RunningRequests => self.running_requests = observation,
            Signal::KvCacheUsage => self.kv_cache_usage = observation,
        }
    }

    /// The signals that went missing or came back since `before`, with what they are. Of an
    /// endpoint without a past, those that are not there.
    pub fn changes_since(
        &self,
        before: Option<&Self>,
    ) -> impl Iterator<Item = (Signal, Observation)> {
        let kind = core::mem::discriminant::<Observation>;
        Signal::ALL.into_iter().filter_map(move |signal| {
            let after = self.observation(signal);
            let changed = before.map_or(!matches!(after, Observation::Value { .. }), |before| {
                kind(&before.observation(signal)) != kind(&after)
            });
            changed.then_some((signal, after))
        })
    }

    /// What `signal` says at the moment of a decision.
    #[must_use]
    pub fn reading(&self, signal: Signal, freshness: Freshness) -> Reading {
        match self.observation(signal) {
            Observation::Missing => Reading::Missing,
            Observation::NotFinite => Reading::NotFinite,
            Observation::Value { value, at } if freshness.holds(at) => Reading::Fresh(value),
            Observation::Value { .. } => Reading::Stale,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_of_not_knowing_are_kept_apart() {
        let at = Timestamp::from_millis(10_000);
        let freshness = |now| Freshness {
            now: Timestamp::from_millis(now),
            stale_after: Duration::from_millis(500),
        };
        let mut metrics = EndpointMetrics::default();
        let signal = Signal::WaitingRequests;
        assert_eq!(metrics.reading(signal, freshness(10_000)), Reading::Missing);

        metrics.observe(signal, 0.0, at);
        for (now, expected) in [
            (9_000, Reading::Fresh(0.0)),
            (10_500, Reading::Fresh(0.0)),
            (10_501, Reading::Stale),
        ] {
            assert_eq!(metrics.reading(signal, freshness(now)), expected, "{now}");
        }

        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            metrics.observe(signal, value, at);
            assert_eq!(
                metrics.reading(signal, freshness(10_000)),
                Reading::NotFinite
            );
        }
    }

    #[test]
    fn a_signal_is_reported_when_it_goes_and_when_it_is_back() {
        let with = |value| {
            let mut metrics = EndpointMetrics::default();
            for signal in [Signal::RunningRequests, Signal::KvCacheUsage] {
                metrics.observe(signal, 1.0, Timestamp::from_millis(1));
            }
            if let Some(value) = value {
                metrics.observe(Signal::WaitingRequests, value, Timestamp::from_millis(2));
            }
            metrics
        };
        for (before, after, reported) in [
            (None, Some(1.0), false),
            (None, None, true),
            (None, Some(f64::NAN), true),
            (Some(Some(1.0)), Some(2.0), false),
            (Some(Some(1.0)), None, true),
            (Some(None), None, false),
            (Some(None), Some(f64::NAN), true),
            (Some(None), Some(0.0), true),
        ] {
            let after = with(after);
            let changes: Vec<_> = after.changes_since(before.map(with).as_ref()).collect();
            let waiting = Signal::WaitingRequests;
            let expected = [(waiting, after.observation(waiting))];
            assert_eq!(changes, expected[..usize::from(reported)], "{before:?}");
        }
    }

    #[test]
    fn every_signal_has_a_place_of_its_own() {
        let at = Timestamp::from_millis(1);
        let mut metrics = EndpointMetrics::default();
        for (value, signal) in (1..).zip(Signal::ALL) {
            metrics.observe(signal, f64::from(value), at);
        }
        for (value, signal) in (1..).zip(Signal::ALL) {
            let value = f64::from(value);
            assert_eq!(
                metrics.observation(signal),
                Observation::Value { value, at },
                "{signal}"
            );
        }
    }
}
