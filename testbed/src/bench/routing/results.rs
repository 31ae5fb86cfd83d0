//! Everything a routing bench has found.

use serde::{Serialize, Serializer};
use serde_json::Value;
use testbed::{
    load::{
        driver::Outcome,
        statistics::{Servers, Slo, Users, Window},
        watch::Sample,
        workload::Workload,
    },
    model_server::SpeedClass,
};

use super::policy::Policy;
use crate::backend::Backend;

/// Above this the client was late enough to show in a time to first token. Real time.
const LATE_MS: f64 = 5.0;

/// Above this a simulated server was late by more than the steps it simulates take. Real time.
const STEP_LATE_MS: f64 = 20.0;

/// Above this share of the cores in use, the machine itself may be what is measured.
const BUSY_SHARE: f64 = 0.9;

/// What was asked for.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Settings {
    pub(super) workloads: Vec<Workload>,
    pub(super) policies: Vec<Policy>,
    /// The filter's profiles, where they are not its default.
    pub(super) scheduling: Option<Value>,
    pub(super) seed: u64,
    pub(super) repeats: usize,
    pub(super) servers: usize,
    pub(super) backend: Backend,
    #[serde(serialize_with = "name_of_speed")]
    pub(super) speed: SpeedClass,
    pub(super) time_scale: f64,
    pub(super) burstiness: f64,
    pub(super) slo: Slo,
    pub(super) window: Window,
}

/// For serde's `serialize_with`.
pub(in crate::bench) fn name_of_speed<S: Serializer>(
    speed: &SpeedClass,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{speed:?}"))
}

/// What a run took of the machine, in real time.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Machine {
    /// How long it was.
    pub(super) real_seconds: f64,
    /// Cores that Envoy used, on average.
    pub(super) envoy_cores: f64,
    /// Cores that this process used: clients, simulated servers, and the watch on them.
    pub(super) bench_cores: f64,
    /// How late the client sent requests, at the 99th percentile.
    pub(super) lag_p99_ms: f64,
    /// How late the simulated servers were.
    pub(super) behind_ms: f64,
}

/// One run.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Run {
    pub(super) workload: Workload,
    pub(super) policy: Policy,
    pub(super) repeat: usize,
    /// Requests a second.
    pub(super) rate: f64,
    pub(super) users: Users,
    pub(super) servers: Servers,
    pub(super) machine: Machine,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) timeline: Vec<Sample>,
}

impl Run {
    /// Itself in a line, for who watches.
    pub(super) fn line(&self) -> String {
        format!(
            "{:<14} {:<18} TTFT mean {:6.2} s, p99 {:6.2} s, {:4.0} % from cache, {} requests in {:.1} s",
            self.workload.name(),
            self.policy.name(),
            self.users.ttft.mean,
            self.users.ttft.p99,
            self.servers.hit_ratio * 100.0,
            self.users.requests,
            self.machine.real_seconds,
        )
    }
}

/// A workload with a policy, over all repeats.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Cell {
    pub(super) workload: Workload,
    pub(super) policy: Policy,
    /// All requests of all repeats together.
    pub(super) users: Users,
    /// The means over the repeats.
    pub(super) servers: Servers,
    /// How far the repeats differ.
    pub(super) spread: Vec<Spread>,
}

/// The largest of the repeats' values divided by the smallest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) metric: &'static str,
    pub(super) ratio: f64,
}

/// A number of a run.
type Metric = fn(&Run) -> f64;

/// The metrics whose spread is told.
pub(super) const METRICS: [(&str, Metric); 5] = [
    ("TTFT mean", |run| run.users.ttft.mean),
    ("TTFT p99", |run| run.users.ttft.p99),
    ("TPOT p50", |run| run.users.tpot.p50),
    ("e2e p99", |run| run.users.e2e.p99),
    ("goodput", |run| run.users.goodput),
];

/// Everything.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Results {
    pub(super) settings: Settings,
    pub(super) cells: Vec<Cell>,
    pub(super) warnings: Vec<String>,
    pub(super) runs: Vec<Run>,
}

impl Results {
    pub(super) fn of(settings: Settings, runs: Vec<Run>) -> Self {
        let mut cells = Vec::new();
        for workload in &settings.workloads {
            for policy in &settings.policies {
                let of_cell: Vec<&Run> = runs
                    .iter()
                    .filter(|run| run.workload == *workload && run.policy == *policy)
                    .collect();
                cells.push(Cell::of(*workload, *policy, &of_cell, &settings));
            }
        }
        Self {
            warnings: warnings(&runs),
            settings,
            cells,
            runs,
        }
    }
}

impl Cell {
    fn of(workload: Workload, policy: Policy, runs: &[&Run], settings: &Settings) -> Self {
        let outcomes: Vec<&[Outcome]> = runs.iter().map(|run| run.outcomes.as_slice()).collect();
        let servers: Vec<Servers> = runs.iter().map(|run| run.servers).collect();
        let spread = METRICS.iter().filter_map(|(metric, value)| {
            let ratio = ratio(runs.iter().map(|run| value(run)))?;
            Some(Spread { metric, ratio })
        });
        Self {
            workload,
            policy,
            users: Users::of(&outcomes, settings.window, settings.slo),
            servers: Servers::mean(&servers),
            spread: spread.collect(),
        }
    }
}

/// The largest divided by the smallest; none where that says nothing.
fn ratio(values: impl Iterator<Item = f64> + Clone) -> Option<f64> {
    let largest = values.clone().fold(f64::NEG_INFINITY, f64::max);
    let smallest = values.fold(f64::INFINITY, f64::min);
    (smallest > 0.0).then(|| largest / smallest)
}

/// What makes a run doubtful, each with the runs that it concerns.
fn warnings(runs: &[Run]) -> Vec<String> {
    let cores = std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
    let checks: [(&str, f64, &str, Metric); 3] = [
        (
            "the client's lateness at the 99th percentile",
            LATE_MS,
            "ms",
            |run| run.machine.lag_p99_ms,
        ),
        (
            "the latest step of a simulated server",
            STEP_LATE_MS,
            "ms",
            |run| run.machine.behind_ms,
        ),
        (
            "the use of the machine",
            BUSY_SHARE * cores,
            "cores",
            |run| run.machine.envoy_cores + run.machine.bench_cores,
        ),
    ];
    let doubtful = checks.iter().filter_map(|(what, limit, unit, value)| {
        let above = runs.iter().filter(|run| value(run) > *limit);
        let worst = above.clone().max_by(|a, b| value(a).total_cmp(&value(b)))?;
        Some(format!(
            "{what} was above {limit} {unit} in {} of {} runs, at worst {:.1} ({}, {}, repeat {})",
            above.count(),
            runs.len(),
            value(worst),
            worst.workload.name(),
            worst.policy.name(),
            worst.repeat
        ))
    });
    doubtful.collect()
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use testbed::load::{client::Failure, driver::Seen, watch::ServerState};

    use super::*;

    fn run(policy: Policy, repeat: usize, ttft: f64, lag_p99_ms: f64) -> Run {
        let settings = settings();
        let seen = Seen {
            ttft,
            tpot: Some(0.05),
            e2e: ttft + 1.0,
            tokens: 20,
            prompt_tokens: 100,
            cached_tokens: 0,
        };
        let outcomes: Vec<Outcome> = [Ok(seen), Err(Failure::Status(503))]
            .into_iter()
            .map(|result| Outcome {
                due: 15.0,
                lag: 0.0,
                body_bytes: 10,
                result,
            })
            .collect();
        let timeline = vec![Sample {
            time: 15.0,
            servers: vec![Some(ServerState::default())],
        }];
        Run {
            workload: Workload::Uniform,
            policy,
            repeat,
            rate: 9.0,
            users: Users::of(&[&outcomes], settings.window, settings.slo),
            servers: Servers::of(&timeline, settings.window),
            machine: Machine {
                real_seconds: 1.0,
                envoy_cores: 0.1,
                bench_cores: 0.1,
                lag_p99_ms,
                behind_ms: 0.0,
            },
            outcomes,
            timeline,
        }
    }

    fn settings() -> Settings {
        Settings {
            workloads: vec![Workload::Uniform],
            policies: vec![Policy::Random, Policy::RoundRobin],
            scheduling: None,
            seed: 1,
            repeats: 2,
            servers: 1,
            backend: Backend::Simulated,
            speed: SpeedClass::L4,
            time_scale: 10.0,
            burstiness: 1.0,
            slo: Slo {
                ttft: 2.0,
                tpot: 0.2,
            },
            window: Window {
                from: 10.0,
                until: 20.0,
            },
        }
    }

    /// Four runs, two of each policy.
    pub(in super::super) fn results() -> Results {
        let runs = vec![
            run(Policy::Random, 1, 1.0, 0.1),
            run(Policy::RoundRobin, 1, 1.0, 7.0),
            run(Policy::Random, 2, 1.5, 0.1),
            run(Policy::RoundRobin, 2, 1.0, 9.0),
        ];
        Results::of(settings(), runs)
    }

    #[test]
    fn a_cell_is_all_repeats_together_and_tells_how_far_they_differ() {
        let results = results();
        assert_eq!(results.cells.len(), 2);
        let random = &results.cells[0];
        assert_eq!(random.users.requests, 4);
        assert!((random.users.ttft.mean - 1.25).abs() < 1e-9);
        assert_eq!(
            random.users.errors,
            BTreeMap::from([("status 503".to_owned(), 2)])
        );
        let spread = random.spread.iter().find(|it| it.metric == "TTFT mean");
        assert!((spread.expect("a spread").ratio - 1.5).abs() < 1e-9);
    }

    #[test]
    fn a_late_client_is_warned_of_once() {
        let warnings = results().warnings;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("2 of 4 runs, at worst 9.0 (uniform, round-robin, repeat 2)"));
    }

    #[test]
    fn results_are_json_and_a_picture() -> anyhow::Result<()> {
        let results = results();
        let json = serde_json::to_value(&results)?;
        assert_eq!(
            json["runs"][0]["outcomes"][1]["result"]["Err"],
            "status 503"
        );
        let picture = super::super::picture::draw(&results)?;
        assert!(picture.svg.contains("round-robin"));
        assert!(picture.png.starts_with(b"\x89PNG"));
        Ok(())
    }
}
