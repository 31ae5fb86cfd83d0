//! What a decision is made for, and what it is made on.

use std::net::SocketAddr;

use crate::{
    load::InFlight,
    pool::{Freshness, Pool},
    prefix::{BlockHash, PrefixIndex},
};

/// What counts of a request when an endpoint is chosen for it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request<'a> {
    /// The hashes of its prompt's beginning, block by block, in the scope of its model and salt.
    pub blocks: &'a [BlockHash],
    /// Tokens that one of these blocks stands for.
    pub block_tokens: u32,
    /// Tokens of its prompt, an estimate.
    pub prompt_tokens: u64,
    /// The model that the server is asked for. A LoRA adapter is asked for by its own name.
    pub model: Option<&'a str>,
    /// Its path, without the query.
    pub path: &'a [u8],
    /// What the configuration asks of its headers, by the places in
    /// [`WatchedHeaders`](super::WatchedHeaders).
    pub headers: &'a [Option<Box<[u8]>>],
}

impl Request<'_> {
    /// Tokens of its prompt that an endpoint would have to read which holds the first `matched` of its
    /// blocks, an estimate.
    #[must_use]
    pub fn uncached_tokens(&self, matched: u32) -> u64 {
        let cached = u64::from(matched) * u64::from(self.block_tokens);
        self.prompt_tokens.saturating_sub(cached)
    }
}

/// What a decision is made for, within which bounds.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// How old what is known may be.
    pub freshness: Freshness,
    /// The endpoints to choose from; all of the pool if it is not said.
    pub subset: Option<&'a [SocketAddr]>,
    /// How many to rank.
    pub ranked: usize,
    /// The request.
    pub request: Request<'a>,
}

/// One of the whole pool, for a request of which nothing is known.
impl From<Freshness> for Terms<'_> {
    fn from(freshness: Freshness) -> Self {
        Self {
            freshness,
            subset: None,
            ranked: 1,
            request: Request::default(),
        }
    }
}

/// What is known when a decision is made.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The endpoints and their metrics.
    pub pool: &'a Pool,
    /// What is on its way to them.
    pub load: &'a InFlight,
    /// The prompts they have read.
    pub prefixes: &'a PrefixIndex,
}
