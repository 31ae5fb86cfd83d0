//! Scores by measured times.

use super::scale;
use crate::{
    load::Load,
    pool::{Endpoint, Freshness, Reading, Signal},
    scheduling::Candidates,
};

/// Parameters of [`Scorer::Latency`](super::Scorer::Latency).
///
/// Each time scores 1 where it is the shortest, 0 where it is the longest or is not told, and in
/// between by its place; their mean by weight counts, without a time that sets nobody apart. They are
/// means that engines have measured; the Endpoint Picker has predictions in their place.
///
/// A mean is there as long as there is something to measure, and of a server without work there soon
/// is none. It is taken for the shortest then: otherwise such a server would never get work again.
///
/// Where nobody tells any time, what else is known counts a third each: the share of the KV cache
/// that is free; `(max - w) / max` with `w` waiting requests, 1 where nobody has any; the share of the
/// prompt in the cache.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latency {
    /// The weight of the time to first token, not negative.
    pub ttft_weight: f64,
    /// The weight of the time per output token, not negative.
    pub tpot_weight: f64,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            ttft_weight: 0.8,
            tpot_weight: 0.2,
        }
    }
}

impl Latency {
    /// The times that count.
    pub(super) fn signals(&self) -> &'static [Signal] {
        match (self.ttft_weight > 0.0, self.tpot_weight > 0.0) {
            (true, true) => &[Signal::TimeToFirstToken, Signal::TimePerOutputToken],
            (true, false) => &[Signal::TimeToFirstToken],
            (false, true) => &[Signal::TimePerOutputToken],
            (false, false) => &[],
        }
    }

    pub(super) fn score(&self, candidates: Candidates<'_>, scores: &mut Vec<f64>) {
        let times = [
            (Signal::TimeToFirstToken, self.ttft_weight),
            (Signal::TimePerOutputToken, self.tpot_weight),
        ]
        .map(|(signal, weight)| Times::of(candidates, signal, weight));
        if times.iter().all(Option::is_none) {
            return composite(candidates, scores);
        }
        let times = || times.iter().flatten().filter(|times| times.set_apart);
        let total: f64 = times().map(|times| times.weight).sum();
        scores.extend(candidates.endpoints().zip(candidates.load()).map(|known| {
            if total == 0.0 {
                return 1.0;
            }
            let scores = times().map(|times| {
                let time = Time::of(known, times.signal, candidates.freshness());
                times.weight / total * times.score(time)
            });
            scores.sum::<f64>().min(1.0)
        }));
    }
}

/// What is known of one time of one endpoint.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Time {
    Measured(f64),
    /// There was nothing to measure, as it has nothing to do.
    Idle,
    Unknown,
}

impl Time {
    fn of((endpoint, load): (&Endpoint, Load), signal: Signal, freshness: Freshness) -> Self {
        let reading = |signal| endpoint.metrics().reading(signal, freshness);
        let count = |signal| reading(signal).fresh();
        let is_idle = || {
            load.requests == 0
                && count(Signal::RunningRequests) == Some(0.0)
                && count(Signal::WaitingRequests) == Some(0.0)
        };
        match reading(signal) {
            Reading::Fresh(value) => Self::Measured(value),
            Reading::Unmeasured | Reading::Stale if is_idle() => Self::Idle,
            _ => Self::Unknown,
        }
    }
}

/// What is known of one time of all candidates.
#[derive(Debug, Clone, Copy)]
struct Times {
    signal: Signal,
    weight: f64,
    shortest: f64,
    longest: f64,
    /// Whether it is better for some than for others.
    set_apart: bool,
}

impl Times {
    /// `None` if it does not count, or nobody tells it.
    fn of(candidates: Candidates<'_>, signal: Signal, weight: f64) -> Option<Self> {
        if weight <= 0.0 {
            return None;
        }
        let (shortest, longest) = scale::range(candidates.fresh(signal).flatten())?;
        let is_unknown = |known| Time::of(known, signal, candidates.freshness()) == Time::Unknown;
        let mut known = candidates.endpoints().zip(candidates.load());
        Some(Self {
            signal,
            weight,
            shortest,
            longest,
            set_apart: shortest < longest || known.any(is_unknown),
        })
    }

    fn score(&self, time: Time) -> f64 {
        match time {
            Time::Measured(time) => scale::between(self.longest, self.shortest, time),
            Time::Idle => 1.0,
            Time::Unknown => 0.0,
        }
    }
}

fn composite(candidates: Candidates<'_>, scores: &mut Vec<f64>) {
    let waiting = || candidates.current(Signal::WaitingRequests);
    let most = waiting().flatten().fold(0.0, f64::max);
    let blocks = candidates.request().blocks.len().max(1) as f64;
    let known = candidates
        .fresh(Signal::KvCacheUsage)
        .zip(waiting())
        .zip(candidates.matched());
    scores.extend(known.map(|((usage, waiting), matched)| {
        let free = usage.map_or(0.0, |usage| (1.0 - usage).clamp(0.0, 1.0));
        let queue = waiting.map_or(0.0, |waiting| scale::between(most, 0.0, waiting));
        let cached = (f64::from(matched) / blocks).min(1.0);
        (free + queue + cached) / 3.0
    }));
}
