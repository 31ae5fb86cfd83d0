//! Scorers: each turns one aspect of the candidates into scores from 0 (worst) to 1 (best).
//!
//! A signal that is missing, stale or not a number scores 0: what says nothing of its load is
//! never taken for idle. Counts of requests are those of the last scrape, brought up to the present
//! by what this gateway has sent since and what has ended.

mod attribute;
mod cache;
mod context_length;
mod latency;
mod load;
mod lora;
mod scale;
mod session;
#[cfg(test)]
mod tests;

pub use attribute::EndpointAttribute;
pub use cache::{LoadBand, PrefixCache};
pub use context_length::ContextLengthAware;
pub(super) use context_length::ContextLengths;
pub use latency::Latency;
pub use load::{ActiveRequest, LoadAware, TokenLoad};

use core::slice;

use super::{Candidates, Session};
use crate::pool::Signal;

/// A scorer and its parameters. Names, formulas and defaults are the
/// [Endpoint Picker's](https://github.com/llm-d/llm-d-router), unless it is said.
#[derive(Debug, Clone, PartialEq)]
pub enum Scorer {
    /// The fewest waiting requests: `(max - w) / (max - min)` over the candidates, 1 for all when
    /// they wait alike. `queue-scorer`.
    Queue,
    /// The same of running requests. `running-requests-size-scorer`.
    RunningRequests,
    /// The most free KV cache: `1 - usage`. `kv-cache-utilization-scorer`.
    KvCacheUtilization,
    /// The LoRA adapter that goes by the name of the request's model: 1 where it runs, else 0.8
    /// where fewer run and wait than there is room for, else 0.6 where it waits, else 0.
    /// `lora-affinity-scorer`.
    ///
    /// That an adapter is loaded is told by the next scrape, and by some servers only as long as it
    /// is at work. So that it is not loaded everywhere until then, of those with room one alone has
    /// 0.8, which every gateway finds by rendezvous hashing, and the others have 0.75.
    LoraAffinity,
    /// The longest beginning of the prompt in the cache. `prefix-cache-scorer`.
    PrefixCache(PrefixCache),
    /// Prompts that nobody holds go round. 0.5 for all where a candidate holds some of the prompt,
    /// else `1 - rank / (N - 1)`: those rank first who never had such a prompt, in their order, then
    /// the others, from who had one the longest ago to who had one just now. `no-hit-lru-scorer`.
    NoHitLru,
    /// The fewest requests in flight from this gateway. `active-request-scorer`.
    ActiveRequest(ActiveRequest),
    /// The fewest tokens to read. `token-load-scorer`.
    TokenLoad(TokenLoad),
    /// Few waiting requests, by a threshold. `load-aware-scorer`.
    LoadAware(LoadAware),
    /// The endpoint of the request's session: 1, all others 0. `session-affinity-scorer`.
    SessionAffinity(Session),
    /// The endpoint's range of context lengths has the prompt's. `context-length-aware`.
    ContextLengthAware(ContextLengthAware),
    /// A custom signal. `endpoint-attribute-scorer`.
    EndpointAttribute(EndpointAttribute),
    /// The shortest measured times. `latency-scorer`.
    Latency(Latency),
}

/// What a scorer reads of an engine's exposition; without it its scores say nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignalsNeeded<'a> {
    /// All of these.
    pub signals: &'a [Signal],
    /// The LoRA adapters.
    pub lora: bool,
}

impl Scorer {
    /// Its name in the configuration and in explanations.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::RunningRequests => "running-requests",
            Self::KvCacheUtilization => "kv-cache-utilization",
            Self::LoraAffinity => "lora-affinity",
            Self::PrefixCache(_) => "prefix-cache",
            Self::NoHitLru => "no-hit-lru",
            Self::ActiveRequest(_) => "active-request",
            Self::TokenLoad(_) => "token-load",
            Self::LoadAware(_) => "load-aware",
            Self::SessionAffinity(_) => "session-affinity",
            Self::ContextLengthAware(_) => "context-length-aware",
            Self::EndpointAttribute(_) => "endpoint-attribute",
            Self::Latency(_) => "latency",
        }
    }

    /// What engines must tell for it. What it can do without, as the loads that
    /// [`PrefixCache::band`] compares, is not among it.
    #[must_use]
    pub fn signals(&self) -> SignalsNeeded<'_> {
        let signals: &[Signal] = match self {
            Self::Queue | Self::LoadAware(_) => &[Signal::WaitingRequests],
            Self::RunningRequests => &[Signal::RunningRequests],
            Self::KvCacheUtilization => &[Signal::KvCacheUsage],
            Self::EndpointAttribute(attribute) => slice::from_ref(&attribute.signal),
            Self::Latency(latency) => latency.signals(),
            Self::LoraAffinity
            | Self::PrefixCache(_)
            | Self::NoHitLru
            | Self::ActiveRequest(_)
            | Self::TokenLoad(_)
            | Self::SessionAffinity(_)
            | Self::ContextLengthAware(_) => &[],
        };
        SignalsNeeded {
            signals,
            lora: matches!(self, Self::LoraAffinity),
        }
    }

    /// Whether it asks [`Candidates::matched`].
    #[must_use]
    pub const fn needs_prefixes(&self) -> bool {
        matches!(
            self,
            Self::PrefixCache(_) | Self::NoHitLru | Self::TokenLoad(_) | Self::Latency(_)
        )
    }

    /// Appends the score of each candidate, 0 to 1, in their order.
    pub fn score(&self, candidates: Candidates<'_>, scores: &mut Vec<f64>) {
        match self {
            Self::Queue => load::fewest(Signal::WaitingRequests, candidates, scores),
            Self::RunningRequests => load::fewest(Signal::RunningRequests, candidates, scores),
            Self::KvCacheUtilization => cache::free(candidates, scores),
            Self::LoraAffinity => lora::score(candidates, scores),
            Self::PrefixCache(prefix_cache) => prefix_cache.score(candidates, scores),
            Self::NoHitLru => cache::least_recently_cold(candidates, scores),
            Self::ActiveRequest(active_request) => active_request.score(candidates, scores),
            Self::TokenLoad(token_load) => token_load.score(candidates, scores),
            Self::LoadAware(load_aware) => load_aware.score(candidates, scores),
            Self::SessionAffinity(session) => session::score(session, candidates, scores),
            Self::ContextLengthAware(lengths) => lengths.score(candidates, scores),
            Self::EndpointAttribute(attribute) => attribute.score(candidates, scores),
            Self::Latency(latency) => latency.score(candidates, scores),
        }
    }
}
