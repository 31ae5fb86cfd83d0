//! What the VMs of one Envoy share: the lease and the pool's snapshot.
//!
//! Shared data outlives reloads, lies behind one lock for the whole process, is copied at each
//! access, and its keys can never be deleted. So there are three keys a pool, with the schema's
//! version in their names, and the snapshot is read only after its small generation has changed.

use core::time::Duration;

use super::host::{self, HostError};
use crate::{
    pool::{Pool, Snapshot, encode_snapshot},
    scraping::{Claim, Lease, Verdict},
    time::Timestamp,
};

/// Changes when what is stored under the keys does, so that builds of different forms can be live
/// side by side.
const SCHEMA: u32 = 1;

/// One pool's part of the shared data, as this VM sees it.
#[derive(Debug)]
pub(super) struct SharedState {
    lease_key: String,
    generation_key: String,
    snapshot_key: String,
    /// The generation this VM's pool holds.
    generation: u64,
}

impl SharedState {
    pub(super) fn new(pool: &str) -> Self {
        let key = |name| format!("endpoint-picker/v{SCHEMA}/{pool}/{name}");
        Self {
            lease_key: key("lease"),
            generation_key: key("generation"),
            snapshot_key: key("snapshot"),
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

    /// Takes or renews the lease if it is to be had; tells whether this VM has it.
    pub(super) fn hold_lease(
        &self,
        claim: Claim,
        now: Timestamp,
        tick: Duration,
    ) -> Result<bool, HostError> {
        let current = host::shared(&self.lease_key)?;
        match claim.judge(Lease::decode(&current.bytes), now, tick) {
            Verdict::Leave => Ok(false),
            Verdict::Take | Verdict::Renew => {
                host::swap_shared(&self.lease_key, &claim.lease(now).encode(), current.cas)
            }
        }
    }

    /// Brings `pool` up to what was last published, if that has changed.
    pub(super) fn refresh(&mut self, pool: &mut Pool) -> Result<(), HostError> {
        if self.published_generation()? == self.generation {
            return Ok(());
        }
        match Snapshot::decode(&host::shared(&self.snapshot_key)?.bytes) {
            Ok(snapshot) => {
                self.generation = snapshot.generation;
                pool.apply(snapshot);
            }
            Err(error) => log::warn!("{}: {error}", self.snapshot_key),
        }
        Ok(())
    }

    /// Publishes `pool` for the other VMs. The snapshot goes first, so that a generation never
    /// stands for an older one.
    pub(super) fn publish(&mut self, pool: &Pool) -> Result<(), HostError> {
        let generation = self.published_generation()?.max(self.generation) + 1;
        match encode_snapshot(pool, generation) {
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
