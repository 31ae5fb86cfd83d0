//! One mind: what this VM tells the others, and what it hears from them.

use core::{mem, time::Duration};
use std::net::SocketAddr;

use fastrand::Rng;

use super::{
    InFlight, Owner, ReportHead, Shared, Slots, encode_report,
    peer::{Peer, SlotKeys},
    slots::{MAX_SLOTS, PEER_TIMEOUT},
};
use crate::{
    pool::Pool,
    prefix::{BlockHash, LogHead, PrefixIndex, PrefixLog},
    time::Timestamp,
};

/// How often a VM with requests under way says that it lives if it has nothing else to say: often enough
/// that one report lost among others does not matter.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// Decisions between two exchanges of load, at least: an exchange costs a call for each other VM, and a
/// burst spreads by what is known of the others' share of it.
const DECISIONS_TO_EXCHANGE: usize = 8;

/// A report has an entry for each endpoint with anything in flight, and each other VM has one to be
/// read. So in a larger pool, where a few requests unknown count for less, more decisions share an
/// exchange.
const ENDPOINTS_A_DECISION: usize = 16;

/// What is known of one pool, to be brought up to what the other VMs know.
#[derive(Debug)]
pub struct ViewMut<'a> {
    /// The endpoints.
    pub pool: &'a Pool,
    /// What is on its way to them.
    pub load: &'a mut InFlight,
    /// The prompts they have read.
    pub prefixes: &'a mut PrefixIndex,
}

/// What is worth a line in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Notice {
    /// Said when it begins.
    #[error("all of {MAX_SLOTS} slots are taken: other workers do not learn what this one decides")]
    NoSlot,
    /// It was silent for too long, and another VM has taken it. It takes another.
    #[error("this VM was silent for more than {PEER_TIMEOUT:?}, and has lost its slot")]
    SlotLost,
}

/// The other VMs of this Envoy, and this one's place among them, for one pool.
///
/// A VM that has decided anything has a slot, and writes there what it has in flight; all others read
/// that. One with nothing in flight falls silent, and its slot may become another's: for as long as Envoy
/// drains a listener, its VMs live on idle.
#[derive(Debug)]
pub struct Peers {
    /// What all names of what is shared begin with.
    root: String,
    slots_key: String,
    rng: Rng,
    /// Names this VM; another one after a slot was lost.
    nonce: u64,
    own: Option<OwnSlot>,
    /// What this VM has sent where.
    log: PrefixLog,
    /// Whether all slots were taken when it last asked for one.
    refused: bool,
    /// By slot, this VM's own among them.
    peers: Vec<Peer>,
    /// How many of them live.
    living: usize,
    /// Since the last exchange.
    decisions: usize,
    heard_at: Option<Timestamp>,
}

/// The slot of this VM.
#[derive(Debug)]
struct OwnSlot {
    slot: usize,
    keys: SlotKeys,
    sequence: u64,
    /// How far the log has come whose segments have been told.
    log: LogHead,
    /// What the last report told, and when.
    told: Option<(Told, Timestamp)>,
}

impl Peers {
    /// None known yet. What is shared stands under keys that begin with `root`.
    #[must_use]
    pub fn new(root: impl Into<String>, mut rng: Rng) -> Self {
        let root = root.into();
        let nonce = rng.u64(..);
        Self {
            slots_key: format!("{root}/slots"),
            root,
            nonce,
            rng,
            own: None,
            log: PrefixLog::new(nonce),
            refused: false,
            peers: Vec::new(),
            living: 0,
            decisions: 0,
            heard_at: None,
        }
    }

    /// Makes sure that the slots have been written once: a conditional write compares nothing while
    /// its key does not exist, and two VMs would take one slot.
    ///
    /// # Errors
    /// Those of `shared`.
    pub fn prepare<S: Shared>(&self, shared: &S) -> Result<(), S::Error> {
        if shared.get(&self.slots_key)?.mark.is_none() {
            shared.set(&self.slots_key, &[])?;
        }
        Ok(())
    }

    /// Exchanges with the others all there is: to be called regularly, every tenth of a second or
    /// more often.
    ///
    /// # Errors
    /// Those of `shared`.
    pub fn tick<S: Shared>(
        &mut self,
        shared: &S,
        mut view: ViewMut<'_>,
        now: Timestamp,
    ) -> Result<Option<Notice>, S::Error> {
        let seen = self.see_slots(shared, &mut view)?;
        for peer in &mut self.peers {
            peer.hear(shared, view.pool, view.load.others_mut(), now)?;
            peer.catch_up(shared, view.pool, view.prefixes)?;
        }
        self.heard_at = Some(now);
        self.living = self.peers.iter().filter(|peer| peer.lives(now)).count();
        let notice = self.keep_slot(shared, &mut view, seen, now)?;
        self.tell_prompts(shared)?;
        self.tell(shared, view.pool, view.load, now)?;
        Ok(notice)
    }

    /// Takes note of a prompt that is sent to the endpoint at `address`, for the others to learn at the
    /// next tick. It is `cold` if nobody held any of its `blocks`.
    pub fn record(&mut self, address: SocketAddr, blocks: &[BlockHash], cold: bool) {
        self.log.record(address, blocks, cold);
    }

    /// Takes note that the endpoint at `address` has not read these `blocks`, of which note was taken.
    pub fn take_back(&mut self, address: SocketAddr, blocks: &[BlockHash]) {
        self.log.take_back(address, blocks);
    }

    /// Takes note of a decision, and exchanges load with the others every few decisions.
    ///
    /// # Errors
    /// Those of `shared`.
    pub fn after_decision<S: Shared>(
        &mut self,
        shared: &S,
        mut view: ViewMut<'_>,
        now: Timestamp,
    ) -> Result<Option<Notice>, S::Error> {
        self.decisions += 1;
        // What each decision has to bear of an exchange grows neither with the VMs nor with the pool.
        let decisions_to_exchange = DECISIONS_TO_EXCHANGE
            .max(self.living)
            .max(view.pool.endpoints().len() / ENDPOINTS_A_DECISION);
        let is_silent = self.own.as_ref().is_none_or(|own| own.is_silent(now));
        if self.decisions < decisions_to_exchange && (!is_silent || self.refused) {
            return Ok(None);
        }
        self.decisions = 0;
        if self.own.is_none() {
            return self.tick(shared, view, now);
        }
        let seen = self.see_slots(shared, &mut view)?;
        self.hear_living(shared, view.pool, view.load, now)?;
        let notice = self.keep_slot(shared, &mut view, seen, now)?;
        self.tell(shared, view.pool, view.load, now)?;
        Ok(notice)
    }

    /// Brings what is known of the others' load up to date, if that was not done at this very moment: for
    /// one of many callbacks that come at once.
    ///
    /// # Errors
    /// Those of `shared`.
    pub fn hear<S: Shared>(
        &mut self,
        shared: &S,
        pool: &Pool,
        load: &mut InFlight,
        now: Timestamp,
    ) -> Result<(), S::Error> {
        if self.heard_at == Some(now) {
            return Ok(());
        }
        self.hear_living(shared, pool, load, now)
    }

    fn hear_living<S: Shared>(
        &mut self,
        shared: &S,
        pool: &Pool,
        load: &mut InFlight,
        now: Timestamp,
    ) -> Result<(), S::Error> {
        self.heard_at = Some(now);
        // Those that are gone are listened for at the ticks.
        for peer in self.peers.iter_mut().filter(|peer| peer.lives(now)) {
            peer.hear(shared, pool, load.others_mut(), now)?;
        }
        Ok(())
    }

    /// Gives the slot back: this VM decides nothing any more.
    ///
    /// # Errors
    /// Those of `shared`.
    pub fn leave<S: Shared>(&mut self, shared: &S) -> Result<(), S::Error> {
        if let Some(own) = self.own.take() {
            let current = shared.get(&self.slots_key)?;
            let mut slots = Slots::decode(&current.bytes);
            if slots.free(own.slot, self.nonce) {
                // Should another VM have got between, the slot is free when it has timed out.
                shared.swap(&self.slots_key, &slots.encode(), current.mark)?;
            }
        }
        Ok(())
    }

    /// Positions mean something else from here on: see [`InFlight::rearrange`].
    pub fn rearrange(&mut self) {
        self.peers.iter_mut().for_each(Peer::rearrange);
        self.heard_at = None;
    }

    /// Reads who has which slot.
    fn see_slots<S: Shared>(
        &mut self,
        shared: &S,
        view: &mut ViewMut<'_>,
    ) -> Result<Seen, S::Error> {
        let current = shared.get(&self.slots_key)?;
        let slots = Slots::decode(&current.bytes);
        let is_lost = self.own.as_ref().is_some_and(|own| {
            let owner = slots.owner(own.slot);
            owner.is_none_or(|owner| owner.nonce != self.nonce)
        });
        if is_lost {
            // It goes by another name, under which it begins another log, should it get the very slot
            // again.
            self.own = None;
            self.nonce = self.rng.u64(..);
            self.log = PrefixLog::new(self.nonce);
        }
        self.meet(&slots, view.load);
        Ok(Seen {
            slots,
            mark: current.mark,
            is_lost,
        })
    }

    /// Sees to it that the others listen to this VM, if it has anything in flight: that it has a slot,
    /// and that they see in the slots that it lives, if it was silent.
    fn keep_slot<S: Shared>(
        &mut self,
        shared: &S,
        view: &mut ViewMut<'_>,
        seen: Seen,
        now: Timestamp,
    ) -> Result<Option<Notice>, S::Error> {
        let Seen {
            mut slots,
            mark,
            is_lost,
        } = seen;
        let is_heard = self.own.as_ref().is_some_and(|own| !own.is_silent(now));
        if is_heard || view.load.is_idle(view.pool) {
            // With nothing to say, to have lost a slot is no loss.
            return Ok(None);
        }
        let owner = Owner {
            nonce: self.nonce,
            since: now,
        };
        let slot = match &self.own {
            Some(own) => slots.renew(own.slot, owner),
            None => slots.claim(owner, |slot| {
                let peer = self.peers.get(slot);
                peer.map_or(Duration::ZERO, |peer| peer.silent_for(now))
            }),
        };
        let was_refused = mem::replace(&mut self.refused, slot.is_none());
        // Should another VM have got between, this one has no slot until the next exchange, or is not
        // listened to before the next ticks.
        if let Some(slot) = slot
            && shared.swap(&self.slots_key, &slots.encode(), mark)?
        {
            self.own
                .get_or_insert_with(|| OwnSlot::new(&self.root, slot));
            self.meet(&slots, view.load);
        }
        Ok(if self.refused && !was_refused {
            Some(Notice::NoSlot)
        } else {
            is_lost.then_some(Notice::SlotLost)
        })
    }

    /// Takes note of who has which slot.
    fn meet(&mut self, slots: &Slots, load: &mut InFlight) {
        for slot in self.peers.len()..slots.len() {
            self.peers.push(Peer::at(SlotKeys::new(&self.root, slot)));
        }
        for (slot, peer) in self.peers.iter_mut().enumerate() {
            let owner = slots.owner(slot);
            let other = owner.filter(|owner| owner.nonce != self.nonce);
            peer.meet(other, load.others_mut());
        }
    }

    /// Tells the others which prompts this VM has sent where. The segments go before the report that
    /// says how far they have come.
    fn tell_prompts<S: Shared>(&mut self, shared: &S) -> Result<(), S::Error> {
        if let Some(own) = &mut self.own {
            for (segment, bytes) in self.log.take_segments() {
                if let Some(key) = own.keys.segments.get(segment) {
                    shared.set(key, &bytes)?;
                }
            }
            own.log = self.log.head();
        }
        Ok(())
    }

    /// Tells the others what this VM has in flight, if that has changed, or else that it lives, if it has
    /// anything in flight.
    fn tell<S: Shared>(
        &mut self,
        shared: &S,
        pool: &Pool,
        load: &InFlight,
        now: Timestamp,
    ) -> Result<(), S::Error> {
        let Some(own) = &mut self.own else {
            return Ok(());
        };
        let telling = Told {
            revision: load.revision(),
            log: own.log,
        };
        match own.told {
            Some((told, at)) if told == telling => {
                if now.apart(at) < HEARTBEAT || load.is_idle(pool) {
                    return Ok(());
                }
            }
            Some((told, _)) if told.revision == telling.revision => {}
            _ => own.sequence += 1,
        }
        let head = ReportHead {
            nonce: self.nonce,
            heartbeat: now,
            sequence: own.sequence,
            log: own.log,
        };
        let report = encode_report(head, load.own_by_address(pool));
        shared.set(&own.keys.report, &report)?;
        own.told = Some((telling, now));
        Ok(())
    }
}

/// The slots as they were last read.
#[derive(Debug)]
struct Seen {
    slots: Slots,
    mark: Option<u32>,
    /// Whether this VM has lost its own since they were read before.
    is_lost: bool,
}

/// What a report told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    /// The [`revision`](InFlight::revision) of the load.
    revision: u64,
    log: LogHead,
}

impl OwnSlot {
    fn new(root: &str, slot: usize) -> Self {
        Self {
            slot,
            keys: SlotKeys::new(root, slot),
            sequence: 0,
            log: LogHead::default(),
            told: None,
        }
    }

    /// Whether it has been for so long that nobody listens.
    fn is_silent(&self, now: Timestamp) -> bool {
        self.told
            .is_none_or(|(_, at)| now.apart(at) >= PEER_TIMEOUT)
    }
}

#[cfg(test)]
mod tests;
