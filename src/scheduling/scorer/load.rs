//! Scores by what endpoints have to do.

use super::scale;
use crate::{pool::Signal, scheduling::Candidates};

/// Parameters of [`Scorer::ActiveRequest`](super::Scorer::ActiveRequest).
///
/// With `c` requests in flight the score is 1 up to the threshold, beyond it
/// `(max - c) / max * max_busy_score`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ActiveRequest {
    /// So many requests are none.
    pub idle_threshold: u32,
    /// The best score of an endpoint with more, 0 to 1.
    pub max_busy_score: f64,
}

impl Default for ActiveRequest {
    fn default() -> Self {
        Self {
            idle_threshold: 0,
            max_busy_score: 1.0,
        }
    }
}

/// Parameters of [`Scorer::TokenLoad`](super::Scorer::TokenLoad).
///
/// The score is `1 - min(t, T) / T`, where `t` are the tokens in flight from this gateway that are
/// not read yet, and those that this request would add.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenLoad {
    /// `T`: tokens that score 0, positive.
    pub queue_threshold_tokens: u64,
}

impl Default for TokenLoad {
    fn default() -> Self {
        Self {
            queue_threshold_tokens: 4_194_304,
        }
    }
}

/// Parameters of [`Scorer::LoadAware`](super::Scorer::LoadAware).
///
/// With `w` requests waiting the score is `0.5 * (1 - min(w, T) / T)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadAware {
    /// `T`: waiting requests that score 0, positive.
    pub threshold: u32,
}

impl Default for LoadAware {
    fn default() -> Self {
        Self { threshold: 128 }
    }
}

pub(super) fn fewest(signal: Signal, candidates: Candidates<'_>, scores: &mut Vec<f64>) {
    let counts = || candidates.current(signal);
    let (min, max) = scale::range(counts().flatten()).unwrap_or_default();
    let score = |count| scale::between(max, min, count);
    scores.extend(counts().map(|count| count.map_or(0.0, score)));
}

impl ActiveRequest {
    pub(super) fn score(&self, candidates: Candidates<'_>, scores: &mut Vec<f64>) {
        let counts = || candidates.load().map(|load| load.requests);
        let max = f64::from(counts().max().unwrap_or_default());
        scores.extend(counts().map(|count| {
            if count <= self.idle_threshold {
                1.0
            } else {
                (max - f64::from(count)) / max * self.max_busy_score
            }
        }));
    }
}

impl TokenLoad {
    pub(super) fn score(&self, candidates: Candidates<'_>, scores: &mut Vec<f64>) {
        let threshold = self.queue_threshold_tokens.max(1);
        let tokens = candidates.load().zip(candidates.uncached_tokens());
        scores.extend(tokens.map(|(load, uncached)| {
            let tokens = load.tokens.saturating_add(uncached).min(threshold);
            1.0 - tokens as f64 / threshold as f64
        }));
    }
}

impl LoadAware {
    pub(super) fn score(&self, candidates: Candidates<'_>, scores: &mut Vec<f64>) {
        let threshold = f64::from(self.threshold.max(1));
        let score = |waiting| 0.5 * scale::between(threshold, 0.0, waiting);
        let waiting = candidates.current(Signal::WaitingRequests);
        scores.extend(waiting.map(|waiting| waiting.map_or(0.0, score)));
    }
}
