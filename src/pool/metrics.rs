//! What a scrape tells of an endpoint, with the ways of not knowing kept apart from zero.

use core::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// How far from 0 and 1 rounding may take a share: servers print two digits of some.
const SHARE_TOLERANCE: f64 = 0.01;

/// A quantity that the scheduler can ask of an endpoint, whatever engine serves there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub enum Signal {
    /// Requests accepted and not started, a count.
    WaitingRequests,
    /// Requests in the engine's batch, a count.
    RunningRequests,
    /// Share of the KV cache in use, 0 to 1.
    KvCacheUsage,
    /// Tokens that one block of the KV cache holds.
    KvBlockSize,
    /// Blocks that the KV cache has.
    KvBlocks,
    /// Share of the prompt tokens found in the prefix cache since the scrape before, 0 to 1.
    PrefixCacheHitRatio,
    /// Mean time to the first token since the scrape before, in seconds.
    TimeToFirstToken,
    /// Mean time from one output token to the next since the scrape before, in seconds.
    TimePerOutputToken,
    /// A scalar of the configuration's own, by its place among the names of custom metrics.
    Custom(u16),
}

impl Signal {
    /// Every signal that has a meaning of its own; beside these there are the custom ones.
    pub const ALL: [Self; 8] = [
        Self::WaitingRequests,
        Self::RunningRequests,
        Self::KvCacheUsage,
        Self::KvBlockSize,
        Self::KvBlocks,
        Self::PrefixCacheHitRatio,
        Self::TimeToFirstToken,
        Self::TimePerOutputToken,
    ];

    /// Its name in the configuration and in logs. A custom one is named by the configuration
    /// alone; here all of them are `custom`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::WaitingRequests => "waitingRequests",
            Self::RunningRequests => "runningRequests",
            Self::KvCacheUsage => "kvCacheUsage",
            Self::KvBlockSize => "kvBlockSize",
            Self::KvBlocks => "kvBlocks",
            Self::PrefixCacheHitRatio => "prefixCacheHitRatio",
            Self::TimeToFirstToken => "timeToFirstToken",
            Self::TimePerOutputToken => "timePerOutputToken",
            Self::Custom(_) => "custom",
        }
    }

    /// Whether `value` can be one of it. A share is from 0 to 1, but for what rounding makes of it:
    /// what is clearly more is a percentage.
    #[must_use]
    pub fn admits(self, value: f64) -> bool {
        value.is_finite()
            && (!self.is_share() || (-SHARE_TOLERANCE..=1.0 + SHARE_TOLERANCE).contains(&value))
    }

    /// Whether it is a share, 0 to 1.
    #[must_use]
    pub const fn is_share(self) -> bool {
        matches!(self, Self::KvCacheUsage | Self::PrefixCacheHitRatio)
    }

    /// Where its observation stands.
    const fn place(self) -> usize {
        match self {
            Self::WaitingRequests => 0,
            Self::RunningRequests => 1,
            Self::KvCacheUsage => 2,
            Self::KvBlockSize => 3,
            Self::KvBlocks => 4,
            Self::PrefixCacheHitRatio => 5,
            Self::TimeToFirstToken => 6,
            Self::TimePerOutputToken => 7,
            Self::Custom(index) => Self::ALL.len() + index as usize,
        }
    }
}

/// A text that names no signal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected one of {}, found {found:?}", Signal::ALL.map(Signal::name).join(", "))]
pub struct UnknownSignal {
    /// The text.
    pub found: String,
}

/// By its name; custom ones have none of their own.
impl TryFrom<String> for Signal {
    type Error = UnknownSignal;

    fn try_from(found: String) -> Result<Self, UnknownSignal> {
        let named = Self::ALL.into_iter().find(|signal| signal.name() == found);
        named.ok_or(UnknownSignal { found })
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What one scrape said of one signal.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Observation {
    /// The exposition had no such series.
    #[default]
    Missing,
    /// The series was there with NaN, an infinity, or for a share with a number that is none.
    NotFinite,
    /// The series was there and does not say anything yet: a mean over a time in which nothing
    /// ended, and none was known before.
    Unmeasured,
    /// The value, and when it was measured.
    Value {
        /// In the signal's unit; finite.
        value: f64,
        /// When the exposition was asked for.
        at: Timestamp,
    },
}

impl Observation {
    /// `value` as measured `at`; [`NotFinite`](Self::NotFinite) if it is no number.
    #[must_use]
    pub const fn of(value: f64, at: Timestamp) -> Self {
        if value.is_finite() {
            Self::Value { value, at }
        } else {
            Self::NotFinite
        }
    }

    /// Whether the exposition failed to say what it should.
    const fn is_lack(self) -> bool {
        matches!(self, Self::Missing | Self::NotFinite)
    }
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
    /// NaN, an infinity, or no share.
    NotFinite,
    /// There, without saying anything yet.
    Unmeasured,
}

impl Reading {
    /// The value, if there is one to decide on.
    #[must_use]
    pub const fn fresh(self) -> Option<f64> {
        match self {
            Self::Fresh(value) => Some(value),
            Self::Stale | Self::Missing | Self::NotFinite | Self::Unmeasured => None,
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
    /// Whether something measured `at` still counts. It does not where that is far ahead: the clock has
    /// been set back since.
    #[must_use]
    pub fn holds(self, at: Timestamp) -> bool {
        self.now.apart(at) <= self.stale_after
    }
}

/// The LoRA adapters of one endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoraAdapters {
    /// How many it can hold at once.
    pub max: u32,
    /// Those that running requests use, in the order of their names.
    pub running: Vec<String>,
    /// Those that waiting requests ask for, in the order of their names.
    pub waiting: Vec<String>,
    /// When the exposition was asked for.
    pub at: Timestamp,
}

/// The signals of one endpoint, as its last answered scrape had them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EndpointMetrics {
    /// By [`Signal::place`]; what lies past the end is missing.
    observations: Vec<Observation>,
    lora: Option<LoraAdapters>,
    process: Process,
    engine: Option<Box<str>>,
}

/// Which process of the model server answered.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Process {
    /// When it started, in seconds of the Unix epoch; the latest that was ever told, if any was.
    pub started: Option<f64>,
    /// Grows when the server is seen to have started anew.
    pub incarnation: u32,
}

impl EndpointMetrics {
    /// What the last scrape said of `signal`.
    #[must_use]
    pub fn observation(&self, signal: Signal) -> Observation {
        self.observations
            .get(signal.place())
            .copied()
            .unwrap_or_default()
    }

    /// Sets `signal` to `value`, measured `at`; to [`NotFinite`](Observation::NotFinite) if it
    /// cannot be that.
    pub fn observe(&mut self, signal: Signal, value: f64, at: Timestamp) {
        let observation = if signal.admits(value) {
            Observation::Value { value, at }
        } else {
            Observation::NotFinite
        };
        self.set(signal, observation);
    }

    /// Sets what is said of `signal`.
    pub fn set(&mut self, signal: Signal, observation: Observation) {
        let place = signal.place();
        if self.observations.len() <= place {
            self.observations.resize(place + 1, Observation::Missing);
        }
        if let Some(slot) = self.observations.get_mut(place) {
            *slot = observation;
        }
    }

    /// The LoRA adapters, if the exposition tells of any.
    #[must_use]
    pub const fn lora(&self) -> Option<&LoraAdapters> {
        self.lora.as_ref()
    }

    /// Sets the LoRA adapters.
    pub fn set_lora(&mut self, lora: Option<LoraAdapters>) {
        self.lora = lora;
    }

    /// Which process they are of.
    #[must_use]
    pub const fn process(&self) -> Process {
        self.process
    }

    /// Sets which process they are of.
    pub const fn set_process(&mut self, process: Process) {
        self.process = process;
    }

    /// The name of the engine that the endpoint's expositions have told; `None` if they have told
    /// none, or were not asked. A name, because it means the same under every configuration.
    #[must_use]
    pub fn engine(&self) -> Option<&str> {
        self.engine.as_deref()
    }

    /// Sets the name of the engine that the endpoint's expositions have told.
    pub fn set_engine(&mut self, engine: Option<&str>) {
        self.engine = engine.map(Box::from);
    }

    /// Puts into each place of the custom metrics what is in one of these, and nothing where there is
    /// none.
    pub(super) fn rearrange_custom(&mut self, places: &[Option<u16>]) {
        let observation = |place: &Option<u16>| match place {
            Some(index) => self.observation(Signal::Custom(*index)),
            None => Observation::Missing,
        };
        let custom: Vec<_> = places.iter().map(observation).collect();
        self.observations.truncate(Signal::ALL.len());
        for (index, observation) in (0..).zip(custom) {
            self.set(Signal::Custom(index), observation);
        }
    }

    /// The observations by their places, for the snapshot.
    pub(crate) fn observations(&self) -> &[Observation] {
        &self.observations
    }

    /// From what [`observations`](Self::observations) gave.
    pub(super) const fn from_parts(
        observations: Vec<Observation>,
        lora: Option<LoraAdapters>,
        process: Process,
        engine: Option<Box<str>>,
    ) -> Self {
        Self {
            observations,
            lora,
            process,
            engine,
        }
    }

    /// Those of `signals` that went missing or came back since `before`, with what they are. Of an
    /// endpoint without a past, those that are missing.
    pub fn changes_since(
        &self,
        before: Option<&Self>,
        signals: impl IntoIterator<Item = Signal>,
    ) -> impl Iterator<Item = (Signal, Observation)> {
        let kind = core::mem::discriminant::<Observation>;
        signals.into_iter().filter_map(move |signal| {
            let after = self.observation(signal);
            let changed = match before.map(|before| before.observation(signal)) {
                None => after.is_lack(),
                Some(before) => {
                    (before.is_lack() || after.is_lack()) && kind(&before) != kind(&after)
                }
            };
            changed.then_some((signal, after))
        })
    }

    /// What `signal` says at the moment of a decision.
    #[must_use]
    pub fn reading(&self, signal: Signal, freshness: Freshness) -> Reading {
        match self.observation(signal) {
            Observation::Missing => Reading::Missing,
            Observation::NotFinite => Reading::NotFinite,
            Observation::Unmeasured => Reading::Unmeasured,
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
            // The clock has been set back.
            (9_499, Reading::Stale),
            (9_500, Reading::Fresh(0.0)),
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
    fn a_share_is_from_0_to_1() {
        let at = Timestamp::from_millis(1);
        for signal in Signal::ALL.into_iter().chain([Signal::Custom(0)]) {
            let is_share = ["kvCacheUsage", "prefixCacheHitRatio"].contains(&signal.name());
            for (value, within) in [
                (0.0, true),
                (-1e-9, true),
                (0.5, true),
                (1.0001, true),
                (1.005, true),
                (1.02, false),
                (50.0, false),
                (-0.5, false),
            ] {
                let mut metrics = EndpointMetrics::default();
                metrics.observe(signal, value, at);
                let expected = if within || !is_share {
                    Observation::Value { value, at }
                } else {
                    Observation::NotFinite
                };
                assert_eq!(metrics.observation(signal), expected, "{signal} {value}");
            }
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
            (Some(Some(f64::NAN)), Some(f64::INFINITY), false),
        ] {
            let after = with(after);
            let past = before.map(with);
            let waiting = Signal::WaitingRequests;
            let mapped = [waiting, Signal::RunningRequests, Signal::KvCacheUsage];
            let changes: Vec<_> = after.changes_since(past.as_ref(), mapped).collect();
            let expected = [(waiting, after.observation(waiting))];
            assert_eq!(changes, expected[..usize::from(reported)], "{before:?}");
        }
    }

    #[test]
    fn every_signal_has_a_place_of_its_own() {
        let at = Timestamp::from_millis(1);
        let mut metrics = EndpointMetrics::default();
        let custom = [0, 1, 7].map(Signal::Custom);
        let signals = || Signal::ALL.into_iter().chain(custom);
        let values = || (1..).map(|value| f64::from(value) / 16.0);
        for (value, signal) in values().zip(signals()) {
            metrics.observe(signal, value, at);
        }
        for (value, signal) in values().zip(signals()) {
            assert_eq!(
                metrics.observation(signal),
                Observation::Value { value, at },
                "{signal}"
            );
        }
    }
}
