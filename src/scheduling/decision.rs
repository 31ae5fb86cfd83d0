//! What was decided.

use super::{Explanation, NoCandidate, Scorer, SessionForm, run::Ranked};
use crate::pool::Endpoint;

/// The outcome of one decision: a ranking, whose first is the choice.
#[derive(Debug, Clone, Copy)]
pub struct Decision<'a> {
    decoding: Chosen<'a>,
    prefilling: Option<Chosen<'a>>,
}

/// The first of a ranking.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chosen<'a> {
    pub(super) ranked: Ranked<'a>,
    position: usize,
    endpoint: &'a Endpoint,
}

impl<'a> Chosen<'a> {
    pub(super) fn new(ranked: Ranked<'a>) -> Result<Self, NoCandidate> {
        let candidates = ranked.candidates;
        let first = ranked.ranking.first().and_then(|&index| {
            let position = *candidates.positions().get(index)?;
            Some((position, candidates.endpoint(index)?))
        });
        let (position, endpoint) = first.ok_or(NoCandidate::Empty)?;
        Ok(Self {
            ranked,
            position,
            endpoint,
        })
    }

    pub(super) const fn position(&self) -> usize {
        self.position
    }

    pub(super) const fn is_healthy(&self) -> bool {
        self.ranked.healthy
    }

    pub(super) fn uncached_tokens(&self) -> u64 {
        let candidates = self.ranked.candidates;
        let first = self.ranked.ranking.first().copied().unwrap_or_default();
        candidates.uncached_tokens().nth(first).unwrap_or_default()
    }

    fn held_blocks(&self) -> u32 {
        let candidates = self.ranked.candidates;
        let first = self.ranked.ranking.first().copied().unwrap_or_default();
        candidates.matched().nth(first).unwrap_or_default()
    }
}

impl<'a> Decision<'a> {
    pub(super) const fn new(decoding: Chosen<'a>, prefilling: Option<Chosen<'a>>) -> Self {
        Self {
            decoding,
            prefilling,
        }
    }

    /// The endpoint chosen.
    #[must_use]
    pub const fn endpoint(&self) -> &'a Endpoint {
        self.decoding.endpoint
    }

    /// Its position in the pool.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.decoding.position
    }

    /// The endpoint chosen, and those that come after it.
    pub fn ranking(&self) -> impl Iterator<Item = &'a Endpoint> + use<'a> {
        let candidates = self.decoding.ranked.candidates;
        let ranking = self.decoding.ranked.ranking.iter();
        ranking.filter_map(move |&index| candidates.endpoint(index))
    }

    /// The endpoint that is to read the prompt, where that is another.
    #[must_use]
    pub fn prefill(&self) -> Option<&'a Endpoint> {
        self.prefilling.map(|chosen| chosen.endpoint)
    }

    /// Its position in the pool.
    #[must_use]
    pub fn prefill_position(&self) -> Option<usize> {
        self.prefilling.map(|chosen| chosen.position)
    }

    /// Tokens of the prompt that the endpoint chosen has not in its cache, an estimate.
    #[must_use]
    pub fn uncached_tokens(&self) -> u64 {
        self.decoding.uncached_tokens()
    }

    /// Tokens of the prompt that the endpoint that is to read it has not in its cache, an estimate.
    #[must_use]
    pub fn prefill_uncached_tokens(&self) -> Option<u64> {
        self.prefilling.map(|chosen| chosen.uncached_tokens())
    }

    /// How many of the first blocks of the prompt the endpoint chosen holds.
    #[must_use]
    pub fn held_blocks(&self) -> u32 {
        self.decoding.held_blocks()
    }

    /// How many of the first blocks of the prompt the endpoint that is to read it holds.
    #[must_use]
    pub fn prefill_held_blocks(&self) -> Option<u32> {
        self.prefilling.map(|chosen| chosen.held_blocks())
    }

    /// Whether none of the candidates holds any of the prompt.
    #[must_use]
    pub fn is_cold(&self) -> bool {
        let mut matched = self.decoding.ranked.candidates.matched();
        matched.all(|matched| matched == 0)
    }

    /// The name of the profile that chose the endpoint.
    #[must_use]
    pub const fn profile(&self) -> &'a str {
        self.decoding.ranked.profile.name.as_str()
    }

    /// Where the client is to send the [token](super::Session::token) of the endpoint that serves it
    /// with its next request of the session, if the profile keeps sessions by what the client is given:
    /// a place in [`WatchedHeaders`](super::WatchedHeaders).
    #[must_use]
    pub fn session(&self) -> Option<usize> {
        let mut scorers = self.decoding.ranked.profile.scorers.iter();
        scorers.find_map(|weighted| match &weighted.scorer {
            Scorer::SessionAffinity(session) if session.form == SessionForm::Token => {
                Some(session.place)
            }
            _ => None,
        })
    }

    /// Why it fell as it did. Costs allocations for each candidate: for logs, not for every request.
    #[must_use]
    pub fn explain(&self) -> Explanation<'a> {
        Explanation::new(self.decoding.ranked, self.prefilling.map(|it| it.ranked))
    }
}
