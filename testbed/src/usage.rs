//! What processes use of the machine, as Linux counts it.

use std::time::Duration;

use anyhow::{Context, Result};
use procfs::process::{self, Process, Stat};

/// What a process, or several together, use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time spent so far, in user mode and in the kernel. Counted in ticks of 10 ms.
    pub cpu: Duration,
    /// Memory that is resident, in bytes. What processes share is counted for each.
    pub resident: u64,
}

impl Usage {
    /// Of this process.
    ///
    /// # Errors
    ///
    /// When there is no `/proc`.
    pub fn of_self() -> Result<Self> {
        let stat = Process::myself()
            .and_then(|process| process.stat())
            .context("cannot read /proc/self/stat")?;
        Ok(Self::of(&stat))
    }

    /// Of all processes in a group, whose id is that of its first process.
    ///
    /// # Errors
    ///
    /// When there is no `/proc`.
    pub fn of_group(id: u32) -> Result<Self> {
        let processes = process::all_processes().context("cannot list /proc")?;
        // A process that ends meanwhile counts no more.
        let members = processes
            .filter_map(|process| process.ok()?.stat().ok())
            .filter(|stat| u32::try_from(stat.pgrp) == Ok(id));
        Ok(members.fold(Self::default(), |sum, stat| {
            let usage = Self::of(&stat);
            Self {
                cpu: sum.cpu + usage.cpu,
                resident: sum.resident + usage.resident,
            }
        }))
    }

    fn of(stat: &Stat) -> Self {
        let ticks = stat.utime + stat.stime;
        Self {
            cpu: Duration::from_millis(ticks * 1000 / procfs::ticks_per_second().max(1)),
            resident: stat.rss * procfs::page_size(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_and_is_part_of_its_group() -> Result<()> {
        let alone = Usage::of_self()?;
        assert!(alone.resident > 0);
        let group = u32::try_from(Process::myself()?.stat()?.pgrp)?;
        assert!(Usage::of_group(group)?.cpu >= alone.cpu);
        Ok(())
    }
}
