//! What the VMs of one Envoy share to scrape: the lease, the pool's snapshot, and who got requests.
//!
//! Shared data outlives reloads, lies behind one lock for the whole process, is copied at each
//! access, and its keys can never be deleted. So there are four keys a pool, with the schema's
//! version in their names, and the snapshot is read only after its small generation has changed.

use core::time::Duration;

use super::host::{self, HostError};
use crate::{
    pool::{Pool, Snapshot, encode_snapshot},
    scraping::{Claim, EndpointSet, Lease, TrafficNote, Verdict},
    time::Timestamp,
};

/// Changes when what is stored under the keys does, so that builds of different forms can be live
/// side by side.
const SCHEMA: u32 = 5;

/// Other VMs write the note of traffic at their own ticks, so a third attempt to get between them
/// is rare; what does not get through is told at the next tick.
const ATTEMPTS_TO_TELL: u32 = 3;

/// What the keys of everything shared of `pool` begin with.
pub(super) fn root(pool: &str) -> String {
    format!("endpoint-picker/v{SCHEMA}/{pool}")
}

/// One pool's part of the shared data, as this VM sees it.
#[derive(Debug)]
pub(super) struct SharedState {
    lease_key: String,
    generation_key: String,
    snapshot_key: String,
    traffic_key: String,
    /// The generation this VM's pool holds.
    generation: u64,
}

/// Who has the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// Another VM.
    Another,
    /// This one.
    This {
        /// Whether one of the same configuration had it before.
        successor: bool,
    },
}

impl SharedState {
    pub(super) fn new(pool: &str) -> Self {
        let root = root(pool);
        let key = |name| format!("{root}/{name}");
        Self {
            lease_key: key("lease"),
            generation_key: key("generation"),
            snapshot_key: key("snapshot"),
            traffic_key: key("routed"),
            generation: 0,
        }
    }

    /// Makes sure that the lease has been written once: a conditional write compares nothing
    /// while its key does not exist, and two VMs would both take it.
    pub(super) fn prepare(&self) -> Result<(), HostError> {
        if host::shared(&self.lease_key)?.cas.is_none() {
            host::set_shared(&self.lease_key, &[])?;
        }
        Ok(())
    }

    /// Takes or renews the lease if it is to be had, and tells who has it.
    pub(super) fn hold_lease(
        &self,
        claim: Claim,
        now: Timestamp,
        tick: Duration,
    ) -> Result<Holder, HostError> {
        let current = host::shared(&self.lease_key)?;
        let lease = Lease::decode(&current.bytes);
        let verdict = claim.judge(lease, now, tick);
        if verdict == Verdict::Leave
            || !host::swap_shared(&self.lease_key, &claim.lease(now).encode(), current.cas)?
        {
            return Ok(Holder::Another);
        }
        Ok(Holder::This {
            successor: lease.is_some_and(|lease| claim.succeeds(lease)),
        })
    }

    /// Adds the endpoints that this VM has `routed` to since it last did so to what the scraper of
    /// `configuration` is told.
    pub(super) fn tell_traffic(
        &self,
        configuration: u64,
        routed: &mut EndpointSet,
    ) -> Result<(), HostError> {
        if routed.is_empty() {
            return Ok(());
        }
        for _ in 0..ATTEMPTS_TO_TELL {
            let current = host::shared(&self.traffic_key)?;
            let note = TrafficNote::decode(&current.bytes);
            let Some(note) = note.and_then(|note| note.with(configuration, routed)) else {
                return Ok(());
            };
            if host::swap_shared(&self.traffic_key, &note.encode(), current.cas)? {
                routed.clear();
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes what the VMs of `configuration` have told of traffic, for the one that scrapes.
    pub(super) fn take_traffic(&self, configuration: u64) -> Result<EndpointSet, HostError> {
        let current = host::shared(&self.traffic_key)?;
        let note = TrafficNote::decode(&current.bytes);
        let told = note.as_ref().and_then(|note| note.read(configuration));
        if told.is_none_or(|told| !told.is_empty()) {
            // Should a VM have written meanwhile, this is told again at the next tick.
            let begun = TrafficNote::begin(configuration).encode();
            host::swap_shared(&self.traffic_key, &begun, current.cas)?;
        }
        Ok(told.cloned().unwrap_or_default())
    }

    /// Brings `pool`, which has these `custom_metrics`, up to what was last published, if that has
    /// changed; tells whether it has.
    pub(super) fn refresh(
        &mut self,
        pool: &mut Pool,
        custom_metrics: &[String],
    ) -> Result<bool, HostError> {
        if self.published_generation()? == self.generation {
            return Ok(false);
        }
        match Snapshot::decode(&host::shared(&self.snapshot_key)?.bytes) {
            Ok(snapshot) => {
                self.generation = snapshot.generation;
                pool.apply(snapshot.with_custom_metrics(custom_metrics));
                Ok(true)
            }
            Err(error) => {
                log::warn!("{}: {error}", self.snapshot_key);
                Ok(false)
            }
        }
    }

    /// Publishes `pool`, which has these `custom_metrics`, for the other VMs. The snapshot goes first,
    /// so that a generation never stands for an older one.
    pub(super) fn publish(
        &mut self,
        pool: &Pool,
        custom_metrics: &[String],
    ) -> Result<(), HostError> {
        let generation = self.published_generation()?.max(self.generation) + 1;
        match encode_snapshot(pool, custom_metrics, generation) {
            Ok(bytes) => {
                host::set_shared(&self.snapshot_key, &bytes)?;
                host::set_shared(&self.generation_key, &generation.to_le_bytes())?;
                self.generation = generation;
            }
            Err(error) => log::error!("{}: {error}", self.snapshot_key),
        }
        Ok(())
    }

    fn published_generation(&self) -> Result<u64, HostError> {
        let bytes = host::shared(&self.generation_key)?.bytes;
        Ok(bytes.try_into().map_or(0, u64::from_le_bytes))
    }
}
