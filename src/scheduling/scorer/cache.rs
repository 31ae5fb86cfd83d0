//! Scores by what endpoints have in their KV caches, and how full those are.

use core::iter;

use super::scale;
use crate::{pool::Signal, scheduling::Candidates};

/// Parameters of [`Scorer::PrefixCache`](super::Scorer::PrefixCache).
///
/// Of `total` blocks of the prompt, the first `match` of which an endpoint holds, the score is
/// `w * L² + (1 - w) * match / total` with `L = min(1, match * tokens of a block / scale)`.
///
/// Affinity is bounded: an endpoint that is loaded beyond the band scores 0, whatever it holds. The
/// Endpoint Picker has no such bound, and what many prompts begin with ends up on one endpoint.
/// Others give up all affinity as soon as loads differ; here the best match of those within the band
/// wins. The bound is an edge and no slope, since a request moves a load by no more than one: an
/// endpoint that everybody wants rests at the edge, and what would exceed it goes elsewhere, which
/// soon holds the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PrefixCache {
    /// `w`: the weight of the length of the match, beside its share of the prompt, 0 to 1.
    pub match_length_weight: f64,
    /// Tokens of a match that count as long.
    pub match_length_scale_tokens: u32,
    /// How far an endpoint may be loaded beyond the least loaded candidate and keep its affinity.
    pub band: LoadBand,
}

impl Default for PrefixCache {
    fn default() -> Self {
        Self {
            match_length_weight: 0.0,
            match_length_scale_tokens: 8192,
            band: LoadBand::default(),
        }
    }
}

/// Loads alike enough that affinity counts: up to `max(least + requests, least * ratio)`, where
/// `least` is the load of the least loaded candidate.
///
/// A load is the waiting and running requests of the last scrape and what was sent since, and not
/// less than what is in flight from this gateway, which is all there is where neither is told. An
/// endpoint that tells neither is not the least loaded one, unless all do not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoadBand {
    /// Requests more than those of the least loaded.
    pub requests: u32,
    /// Times as many as those of the least loaded, at least 1.
    pub ratio: f64,
}

/// Wide enough that the batch of an engine fills up before a prompt is read a second time.
impl Default for LoadBand {
    fn default() -> Self {
        Self {
            requests: 32,
            ratio: 2.0,
        }
    }
}

pub(super) fn free(candidates: Candidates<'_>, scores: &mut Vec<f64>) {
    let usage = candidates.fresh(Signal::KvCacheUsage);
    let free = |usage: f64| (1.0 - usage).clamp(0.0, 1.0);
    scores.extend(usage.map(|usage| usage.map_or(0.0, free)));
}

impl PrefixCache {
    pub(super) fn score(&self, candidates: Candidates<'_>, scores: &mut Vec<f64>) {
        let request = candidates.request();
        let total = request.blocks.len() as f64;
        if candidates.matched().all(|matched| matched == 0) || total == 0.0 {
            scores.extend(iter::repeat_n(0.0, candidates.len()));
            return;
        }
        let block_tokens = f64::from(request.block_tokens);
        let scale_tokens = f64::from(self.match_length_scale_tokens.max(1));
        let score = |matched: u32| {
            let matched = f64::from(matched);
            let length = scale::lesser(matched * block_tokens / scale_tokens, 1.0);
            let weight = self.match_length_weight;
            // At most 1 but for rounding.
            let score = weight * length * length + (1.0 - weight) * matched / total;
            scale::lesser(score, 1.0)
        };
        // The loads stand where the scores will.
        let start = scores.len();
        let greatest = self.band.greatest(candidates, scores);
        let loads = scores.get_mut(start..).unwrap_or_default();
        for (slot, matched) in loads.iter_mut().zip(candidates.matched()) {
            *slot = if *slot > greatest {
                0.0
            } else {
                score(matched)
            };
        }
    }
}

impl LoadBand {
    /// Appends the load of each candidate, and tells the greatest one within the band.
    fn greatest(&self, candidates: Candidates<'_>, loads: &mut Vec<f64>) -> f64 {
        let freshness = candidates.freshness();
        let (mut least_told, mut least) = (f64::INFINITY, f64::INFINITY);
        for (endpoint, load) in candidates.endpoints().zip(candidates.load()) {
            let told = |signal| endpoint.metrics().reading(signal, freshness).fresh();
            let [waiting, running] = [Signal::WaitingRequests, Signal::RunningRequests].map(told);
            let in_flight = f64::from(load.requests);
            let load = if waiting.is_some() || running.is_some() {
                let at_scrape = f64::from(endpoint.load_at_scrape().requests);
                let told = waiting.unwrap_or_default() + running.unwrap_or_default();
                let load = scale::greater(in_flight, told + in_flight - at_scrape);
                least_told = scale::lesser(load, least_told);
                load
            } else {
                in_flight
            };
            least = scale::lesser(load, least);
            loads.push(load);
        }
        if least_told.is_finite() {
            least = least_told;
        }
        (least + f64::from(self.requests)).max(least * self.ratio)
    }
}

pub(super) fn least_recently_cold(candidates: Candidates<'_>, scores: &mut Vec<f64>) {
    if candidates.matched().any(|matched| matched > 0) {
        scores.extend(iter::repeat_n(0.5, candidates.len()));
        return;
    }
    let prefixes = candidates.view().prefixes;
    let last_cold = |&at: &usize| match prefixes.last_cold(at) {
        Some(sequence) => sequence as f64,
        None => f64::NEG_INFINITY,
    };
    // When each had its last stands where its score will, and once more in order behind that.
    let (start, count) = (scores.len(), candidates.len());
    scores.extend(candidates.positions().iter().map(last_cold));
    scores.extend_from_within(start..);
    let (times, order) = scores
        .get_mut(start..)
        .unwrap_or_default()
        .split_at_mut(count);
    order.sort_unstable_by(f64::total_cmp);
    let last_rank = count.saturating_sub(1).max(1) as f64;
    let mut never = 0..;
    for time in times {
        let rank = if time.is_finite() {
            order.partition_point(|other| other < time)
        } else {
            never.next().unwrap_or_default()
        };
        *time = 1.0 - rank as f64 / last_rank;
    }
    scores.truncate(start + count);
}
