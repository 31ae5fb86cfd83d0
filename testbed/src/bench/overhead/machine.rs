//! What threads use of the processors, and what Wasm VMs use of the memory, as Linux tells it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use procfs::{
    CurrentSI, KernelStats,
    process::{self, MMPermissions, MMapPath, Process},
};

/// V8 reserves at least this much of the address space behind the linear memory of a 64-bit process's VM, so
/// that every 32-bit address which compiled Wasm can form is either memory or a trap.
const LEAST_GUARD_BYTES: u64 = 4 << 30;

/// Processor time by the names of threads, and of the whole machine.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    at: Instant,
    spent: BTreeMap<String, Duration>,
    machine: Duration,
}

impl Snapshot {
    /// Of all threads of some processes.
    ///
    /// # Errors
    ///
    /// When one of the processes is gone.
    pub(super) fn take(processes: &[i32]) -> Result<Self> {
        let mut spent: BTreeMap<String, Duration> = BTreeMap::new();
        for id in processes {
            let process = Process::new(*id).context("a process has ended")?;
            for task in process.tasks().context("cannot list threads")? {
                // A thread that ends meanwhile counts no more.
                let Ok(stat) = task.and_then(|task| task.stat()) else {
                    continue;
                };
                *spent.entry(stat.comm).or_default() += ticks(stat.utime + stat.stime);
            }
        }
        let all = KernelStats::current()
            .context("cannot read /proc/stat")?
            .total;
        Ok(Self {
            at: Instant::now(),
            spent,
            // What a hypervisor gives to its other guests is gone as well.
            machine: ticks(all.user + all.nice + all.system + all.steal.unwrap_or_default()),
        })
    }

    /// What the threads whose names start with `name` have spent since `before`, as a share of one
    /// core.
    pub(super) fn share_since(&self, before: &Self, name: &str) -> f64 {
        let spent = |snapshot: &Self| -> f64 {
            snapshot
                .spent
                .iter()
                .filter(|(thread, _)| thread.starts_with(name))
                .map(|(_, spent)| spent.as_secs_f64())
                .sum()
        };
        self.share(before, spent(self) - spent(before))
    }

    /// What all other programs of this machine have spent since `before`, as a share of one core.
    pub(super) fn others_since(&self, before: &Self) -> f64 {
        let machine = self.machine.saturating_sub(before.machine).as_secs_f64();
        (self.share(before, machine) - self.share_since(before, "")).max(0.0)
    }

    fn share(&self, before: &Self, seconds: f64) -> f64 {
        let elapsed = self.at.duration_since(before.at).as_secs_f64();
        seconds / elapsed.max(f64::MIN_POSITIVE)
    }
}

fn ticks(count: u64) -> Duration {
    Duration::from_millis(count * 1000 / procfs::ticks_per_second().max(1))
}

/// The processes in a group.
///
/// # Errors
///
/// When there is no `/proc`.
pub(super) fn members(group: u32) -> Result<Vec<i32>> {
    let members = process::all_processes()
        .context("cannot list /proc")?
        // A process that ends meanwhile is no member.
        .filter_map(|process| process.ok()?.stat().ok())
        .filter(|stat| u32::try_from(stat.pgrp) == Ok(group))
        .map(|stat| stat.pid);
    Ok(members.collect())
}

/// The sizes of the linear memories of all Wasm VMs in some processes, in bytes.
///
/// Envoy exposes none of them, but each is a mapping of its own: readable and writable, of no file,
/// and followed by an inaccessible one of [`LEAST_GUARD_BYTES`] or more. Its size is what the VM has
/// grown to, as `memory.size` would tell inside it; it never shrinks.
///
/// # Errors
///
/// When a process is gone, or not this user's.
pub(super) fn linear_memories(processes: &[i32]) -> Result<Vec<u64>> {
    let mut sizes = Vec::new();
    for id in processes {
        let maps = Process::new(*id)
            .and_then(|process| process.maps())
            .context("cannot read the memory map of a process")?;
        let maps = maps.0;
        let pairs = maps.iter().zip(maps.iter().skip(1));
        sizes.extend(
            pairs
                .filter(|(memory, guard)| {
                    let is_memory = memory.pathname == MMapPath::Anonymous
                        && memory
                            .perms
                            .contains(MMPermissions::READ | MMPermissions::WRITE);
                    let is_guard = !guard.perms.intersects(
                        MMPermissions::READ | MMPermissions::WRITE | MMPermissions::EXECUTE,
                    ) && guard.address.1 - guard.address.0 >= LEAST_GUARD_BYTES;
                    is_memory && is_guard && memory.address.1 == guard.address.0
                })
                .map(|(memory, _)| memory.address.1 - memory.address.0),
        );
    }
    Ok(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_one_core_and_by_the_start_of_a_name() {
        let at = Instant::now();
        let snapshot = |seconds, machine, spent: &[(&str, u64)]| Snapshot {
            at: at + Duration::from_secs(seconds),
            machine: Duration::from_millis(machine),
            spent: spent
                .iter()
                .map(|(name, millis)| ((*name).to_owned(), Duration::from_millis(*millis)))
                .collect(),
        };
        let before = snapshot(0, 1000, &[("wrk:worker_0", 100), ("envoy", 50)]);
        let after = snapshot(
            2,
            3500,
            &[("wrk:worker_0", 1100), ("wrk:x", 500), ("envoy", 50)],
        );
        let share = |name| (after.share_since(&before, name) * 100.0).round();
        assert_eq!(share("wrk:"), 75.0);
        assert_eq!(share("envoy"), 0.0);
        assert_eq!(share(""), 75.0);
        assert_eq!((after.others_since(&before) * 100.0).round(), 50.0);
    }

    #[test]
    fn this_process_has_threads_and_no_wasm_memory() -> Result<()> {
        let id = i32::try_from(std::process::id())?;
        let before = Snapshot::take(&[id])?;
        assert!(!before.spent.is_empty());
        assert!(Snapshot::take(&[id])?.share_since(&before, "") >= 0.0);
        assert_eq!(linear_memories(&[id])?, Vec::<u64>::new());
        Ok(())
    }
}
