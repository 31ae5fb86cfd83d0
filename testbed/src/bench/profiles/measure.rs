//! The runs of one row, seed by seed.

use std::{
    ops::Range,
    panic,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use anyhow::Result;
use testbed::{
    load::{
        driver::Limits,
        statistics::Users,
        workload::{Plan, Workload},
    },
    model_server::SimulatorConfig,
    virtual_time::{self, Ended, Filter, Run},
};

use super::results::{Cell, Row, Seed, Settings, hit_ratio};
use crate::bench::{
    capacity,
    routing::{ANSWER_TIME, MAX_LORAS},
};

/// How long answers are waited for after the last request, in simulated seconds.
const DRAIN: f64 = 300.0;

/// Measures a workload with a profile and an interval.
pub(super) fn measure(settings: &Settings, cell: &Cell) -> Result<Row> {
    let scheduling = cell.profile.scheduling.as_ref();
    let filter = Filter::new(settings.servers, cell.interval, scheduling)?;
    let server = server(settings, cell.workload);
    let rate = rate(settings, cell.workload, &server);
    let seeds = settings.first_seed..settings.end_seed;
    let runs = side_by_side(seeds, |seed| {
        let conversations = cell.workload.conversations(&Plan {
            seed,
            rate,
            burstiness: 1.0,
            duration: settings.window.until,
            answer_time: ANSWER_TIME,
            model: server.model.clone(),
        })?;
        let run = Run {
            filter: &filter,
            server: &server,
            limits: Limits {
                duration: settings.window.until,
                end: settings.window.until + DRAIN,
            },
            seed,
        };
        virtual_time::run(&run, conversations)
    })?;

    let (window, slo) = (settings.window, settings.slo);
    let of_seed = |(seed, ended): &(u64, Ended)| Seed {
        seed: *seed,
        users: Users::of(&[&ended.outcomes], window, slo),
        hit_ratio: hit_ratio(&[&ended.outcomes], window),
        scrapes: ended.scrapes,
    };
    let outcomes: Vec<_> = runs.iter().map(|(_, ended)| &*ended.outcomes).collect();
    Ok(Row {
        workload: cell.workload,
        profile: cell.profile.name.clone(),
        interval: cell.interval,
        rate,
        users: Users::of(&outcomes, window, slo),
        hit_ratio: hit_ratio(&outcomes, window),
        seeds: runs.iter().map(of_seed).collect(),
    })
}

fn server(settings: &Settings, workload: Workload) -> SimulatorConfig {
    let loras = workload.adapters();
    SimulatorConfig {
        speed: settings.speed,
        max_loras: if loras.is_empty() { 0 } else { MAX_LORAS },
        loras,
        ..SimulatorConfig::default()
    }
}

fn rate(settings: &Settings, workload: Workload, server: &SimulatorConfig) -> f64 {
    let shape = workload.shape();
    let capacity = capacity::uncached(
        &shape,
        settings.servers,
        settings.speed,
        server.max_num_seqs,
    );
    capacity * capacity::load(workload) * settings.load
}

/// What `run` makes of each seed, in the order of the seeds, on as many threads as there are
/// processors.
fn side_by_side<T: Send>(
    seeds: Range<u64>,
    run: impl Fn(u64) -> Result<T> + Sync,
) -> Result<Vec<(u64, T)>> {
    let next = AtomicU64::new(seeds.start);
    let take_turns = || -> Result<Vec<(u64, T)>> {
        let mut done = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if !seeds.contains(&seed) {
                return Ok(done);
            }
            done.push((seed, run(seed)?));
        }
    };
    let threads = thread::available_parallelism()?.get();
    let mut all = Vec::new();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(take_turns)).collect();
        for thread in threads {
            let done = thread.join();
            all.extend(done.unwrap_or_else(|cause| panic::resume_unwind(cause))?);
        }
        anyhow::Ok(())
    })?;
    all.sort_by_key(|(seed, _)| *seed);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn every_seed_is_run_once_and_in_order() -> Result<()> {
        let squares = side_by_side(3..40, |seed| Ok(seed * seed))?;
        let expected: Vec<_> = (3..40).map(|seed| (seed, seed * seed)).collect();
        assert_eq!(squares, expected);
        Ok(())
    }

    #[test]
    fn what_fails_with_one_seed_fails() {
        let failed = side_by_side(0..9, |seed| match seed {
            7 => bail!("seven"),
            _ => Ok(()),
        });
        assert_eq!(failed.expect_err("seven fails").to_string(), "seven");
    }
}
