//! Load in flight: what this gateway has sent to each endpoint and not yet seen the end of.
//!
//! Metrics are as old as the last scrape, and a hundred requests may have been routed since. So
//! every VM counts its own requests and the tokens of their prompts, up at the decision and down at
//! the end of the stream ([`Ticket`]), and [`Peers`] tells the others what it has counted.
//!
//! # What the VMs share
//!
//! They share nothing but a map that is slow, never forgets a key, and changes a key as a whole
//! ([`Shared`]). So a VM that decides takes one of a fixed number of slots, where it alone writes and all
//! others read:
//!
//! | key | what stands there | written |
//! | --- | --- | --- |
//! | `slots` | whose each slot is ([`Slots`]), by compare-and-swap | when a VM comes, goes, or speaks again after a silence |
//! | `load/<slot>` | its load by address, how far its log has come, and that it lives ([`Report`]) | every few decisions, and every tick that brings anything else |
//! | `prefixes/<slot>/<segment>` | the [log](crate::prefix::PrefixLog) of the prompts that it has sent | at the ticks |
//!
//! A VM adds up what it hears; nothing is ever counted up and down by several. So a VM that fails
//! leaves nothing to correct: it falls silent, and what it said last counts no more.

mod peer;
mod peers;
mod report;
mod shared;
mod slots;
mod ticket;

pub use peers::{Notice, Peers, ViewMut};
pub use report::{Report, ReportHead, encode_report};
pub use shared::{Shared, SharedValue};
pub use slots::{MAX_SLOTS, Owner, Slots};
pub use ticket::Ticket;

use std::net::SocketAddr;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use crate::pool::Pool;

/// Requests under way to one endpoint, and what they ask of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Load {
    /// How many.
    pub requests: u32,
    /// Tokens of their prompts that are not yet read, those in the endpoint's cache left out; an
    /// estimate.
    pub tokens: u64,
}

impl Load {
    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            tokens: self.tokens.saturating_add(other.tokens),
        }
    }

    /// What is left of this without `other`.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(other.requests),
            tokens: self.tokens.saturating_sub(other.tokens),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.requests == 0 && self.tokens == 0
    }
}

/// The load in flight to the endpoints of one pool, by their positions in it: this VM's own, and
/// what the others of this Envoy were last heard to have.
#[derive(Debug, Clone, Default)]
pub struct InFlight {
    own: Vec<Load>,
    others: Vec<Load>,
    /// This VM's own to addresses that the pool does not have: they have left it with requests
    /// still under way, and may be back before these end. Never an entry of nothing.
    elsewhere: HashMap<SocketAddr, Load>,
    /// Counts the changes of this VM's own.
    revision: u64,
}

impl InFlight {
    /// None, to this many endpoints.
    #[must_use]
    pub fn new(endpoints: usize) -> Self {
        Self {
            own: vec![Load::default(); endpoints],
            others: vec![Load::default(); endpoints],
            elsewhere: HashMap::new(),
            revision: 0,
        }
    }

    /// A request of this VM sets out to the endpoint at `position`.
    pub fn begin(&mut self, position: usize, load: Load) {
        if let Some(own) = self.own.get_mut(position) {
            *own = own.plus(load);
            self.revision += 1;
        }
    }

    /// Some of a request's load, or all of it, is over.
    pub fn end(&mut self, position: usize, load: Load) {
        if let Some(own) = self.own.get_mut(position) {
            *own = own.minus(load);
            self.revision += 1;
        }
    }

    /// The load of all VMs to the endpoint at `position`.
    #[must_use]
    pub fn at(&self, position: usize) -> Load {
        let of = |loads: &[Load]| loads.get(position).copied().unwrap_or_default();
        of(&self.own).plus(of(&self.others))
    }

    /// This VM's own, by position.
    #[must_use]
    pub fn own(&self) -> &[Load] {
        &self.own
    }

    /// This VM's own by address, where there is any; `pool` is the one that it is counted by. That
    /// to endpoints of the pool comes first, in their order.
    pub fn own_by_address(&self, pool: &Pool) -> impl Iterator<Item = (SocketAddr, Load)> {
        let addresses = pool.endpoints().iter().map(|endpoint| endpoint.address());
        let own = addresses.zip(self.own.iter().copied());
        let elsewhere = self.elsewhere.iter().map(|(at, load)| (*at, *load));
        own.filter(|(_, load)| !load.is_none()).chain(elsewhere)
    }

    /// Whether this VM has nothing under way; `pool` is the one that it is counted by.
    #[must_use]
    pub fn is_idle(&self, pool: &Pool) -> bool {
        self.own_by_address(pool).next().is_none()
    }

    /// Changes whenever this VM's own does.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// What the others have, by position, to be brought up to date.
    pub fn others_mut(&mut self) -> &mut [Load] {
        &mut self.others
    }

    /// Goes over from the positions of one pool to those of the next. What is under way to endpoints
    /// that have left is kept, since they may come back before it ends. Of the others' nothing is
    /// known then, until they are heard anew.
    pub fn rearrange(&mut self, from: &Pool, to: &Pool) {
        let mut own: HashMap<_, _> = self.own_by_address(from).collect();
        let take = |endpoint: &crate::pool::Endpoint| own.remove(&endpoint.address());
        let positions = to.endpoints().iter().map(take);
        self.own = positions.map(Option::unwrap_or_default).collect();
        self.elsewhere = own;
        self.others.clear();
        self.others.resize(self.own.len(), Load::default());
        self.revision += 1;
    }

    fn begin_at(&mut self, pool: &Pool, address: SocketAddr, load: Load) {
        match pool.position(address) {
            Some(position) => self.begin(position, load),
            None if load.is_none() => {}
            None => {
                let own = self.elsewhere.entry(address).or_default();
                *own = own.plus(load);
                self.revision += 1;
            }
        }
    }

    fn end_at(&mut self, pool: &Pool, address: SocketAddr, load: Load) {
        if let Some(position) = pool.position(address) {
            self.end(position, load);
        } else if let Some(own) = self.elsewhere.get_mut(&address) {
            *own = own.minus(load);
            if own.is_none() {
                self.elsewhere.remove(&address);
            }
            self.revision += 1;
        }
    }
}
