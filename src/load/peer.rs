//! Another VM, as it was last heard.

use core::time::Duration;
use std::net::SocketAddr;

use super::{Load, Owner, Report, Shared, slots::PEER_TIMEOUT};
use crate::{
    pool::Pool,
    prefix::{LogHead, PrefixIndex, PrefixLogReader, SEGMENTS},
    time::Timestamp,
};

/// The VM that has one slot, as it was last heard.
#[derive(Debug)]
pub(super) struct Peer {
    keys: SlotKeys,
    /// `None` if the slot is free, or this VM's own.
    owner: Option<Owner>,
    /// Of the owner's last report.
    heartbeat: Option<Timestamp>,
    /// The report that `loads` are of; `None` if they count no longer, or nothing was heard.
    sequence: Option<u64>,
    /// By position; addresses that the pool does not have are left out.
    loads: Vec<(usize, Load)>,
    /// How far the log of the owner's prompts has come.
    head: LogHead,
    log: PrefixLogReader,
}

/// The names of what is shared in one slot.
#[derive(Debug, Clone)]
pub(super) struct SlotKeys {
    pub(super) report: String,
    pub(super) segments: [String; SEGMENTS],
}

impl SlotKeys {
    /// Of `slot`, where all names begin with `root`.
    pub(super) fn new(root: &str, slot: usize) -> Self {
        Self {
            report: format!("{root}/load/{slot}"),
            segments: core::array::from_fn(|segment| format!("{root}/prefixes/{slot}/{segment}")),
        }
    }
}

impl Peer {
    /// Whoever will have the slot with these `keys`.
    pub(super) fn at(keys: SlotKeys) -> Self {
        Self {
            keys,
            owner: None,
            heartbeat: None,
            sequence: None,
            loads: Vec::new(),
            head: LogHead::default(),
            log: PrefixLogReader::default(),
        }
    }

    /// The slot is `owner`'s. What was heard of another counts no longer among the `others`.
    pub(super) fn meet(&mut self, owner: Option<Owner>, others: &mut [Load]) {
        if self.owner != owner {
            self.mute(others);
            self.owner = owner;
            self.heartbeat = None;
            self.head = LogHead::default();
        }
    }

    /// Since when nothing was heard of it, if there is anybody.
    pub(super) fn silent_for(&self, now: Timestamp) -> Duration {
        let signs = [self.owner.map(|owner| owner.since), self.heartbeat];
        let silences = signs.into_iter().flatten().map(|at| now.apart(at));
        silences.min().unwrap_or(Duration::MAX)
    }

    /// Whether it is to be expected that it says something.
    pub(super) fn lives(&self, now: Timestamp) -> bool {
        self.silent_for(now) < PEER_TIMEOUT
    }

    /// Hears what it says of its load, and brings the `others` up to date.
    pub(super) fn hear<S: Shared>(
        &mut self,
        shared: &S,
        pool: &Pool,
        others: &mut [Load],
        now: Timestamp,
    ) -> Result<(), S::Error> {
        let Some(owner) = self.owner else {
            return Ok(());
        };
        let bytes = shared.get(&self.keys.report)?.bytes;
        // Whoever had the slot before has left what it said last.
        let report = Report::decode(&bytes).filter(|report| report.head.nonce == owner.nonce);
        if let Some(report) = report {
            self.heartbeat = Some(report.head.heartbeat);
            self.head = report.head.log;
        }
        match report {
            Some(report) if now.apart(report.head.heartbeat) < PEER_TIMEOUT => {
                if self.sequence != Some(report.head.sequence) {
                    self.mute(others);
                    self.sequence = Some(report.head.sequence);
                    self.take(report, pool, others);
                }
            }
            _ => self.mute(others),
        }
        Ok(())
    }

    /// Reads what it has sent where, as far as that was heard of. Of one that is gone too: what it has
    /// left, the endpoints have read.
    pub(super) fn catch_up<S: Shared>(
        &mut self,
        shared: &S,
        pool: &Pool,
        prefixes: &mut PrefixIndex,
    ) -> Result<(), S::Error> {
        let Some(owner) = self.owner else {
            return Ok(());
        };
        for segment in self.log.segments(owner.nonce, self.head) {
            let Some(key) = self.keys.segments.get(segment) else {
                continue;
            };
            self.log.read(&shared.get(key)?.bytes, |routed| {
                match pool.position(routed.address) {
                    Some(position) if routed.unread => prefixes.remove(position, routed.blocks),
                    Some(position) => {
                        prefixes.insert(position, routed.blocks, routed.cold);
                    }
                    None => {}
                }
            });
        }
        Ok(())
    }

    fn take(&mut self, report: Report<'_>, pool: &Pool, others: &mut [Load]) {
        // It tells its endpoints in the order of its pool, which is nearly always the order here.
        let mut next = 0;
        for (address, load) in report.loads() {
            let Some(position) = position(pool, address, next) else {
                continue;
            };
            if let Some(others) = others.get_mut(position) {
                *others = others.plus(load);
                self.loads.push((position, load));
            }
            next = position + 1;
        }
    }

    /// Its load counts no longer.
    fn mute(&mut self, others: &mut [Load]) {
        for (position, load) in self.loads.drain(..) {
            if let Some(others) = others.get_mut(position) {
                *others = others.minus(load);
            }
        }
        self.sequence = None;
    }

    /// Positions mean something else from here on, and nothing counts among the others.
    pub(super) fn rearrange(&mut self) {
        self.loads.clear();
        self.sequence = None;
    }
}

/// The place of `address` in `pool`: a `guess` that is right saves the search.
fn position(pool: &Pool, address: SocketAddr, guess: usize) -> Option<usize> {
    let endpoint = pool.endpoints().get(guess);
    if endpoint.is_some_and(|endpoint| endpoint.address() == address) {
        return Some(guess);
    }
    pool.position(address)
}
