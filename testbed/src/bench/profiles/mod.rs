//! Which scheduling serves a fleet better: the same users before the filter's decisions in virtual
//! time, with its default profile and with others.

mod measure;
mod ratio;
mod results;
mod text;

use std::{
    num::{NonZeroU64, NonZeroUsize},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde_json::Value;
use testbed::{
    load::{
        statistics::{Slo, Window},
        workload::Workload,
    },
    model_server::SpeedClass,
    virtual_time::Filter,
};
use tokio::task;

use super::{report::Report, routing::WARM_UP_SHARE};
use results::{Profile, Results, Row, Settings};

/// Workloads of the shortest run.
const QUICK_WORKLOADS: [Workload; 3] = [Workload::SharedPrefix, Workload::Chat, Workload::Uniform];

/// What goodput asks, as in the routing bench.
const SLO: Slo = Slo {
    ttft: 2.0,
    tpot: 0.2,
};

/// How to measure. Durations are in simulated seconds.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Kinds of users [default: all; with --quick shared-prefix, chat, uniform].
    #[arg(long, value_delimiter = ',')]
    workload: Vec<Workload>,
    /// The filter's `scheduling`, to be compared with its default: JSON, as in its configuration,
    /// an EndpointPickerConfig too. May be said several times.
    #[arg(long, value_parser = |text: &str| serde_json::from_str::<Value>(text))]
    scheduling: Vec<Value>,
    /// How often the filter scrapes each server.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "200ms,1s",
        value_parser = humantime::parse_duration
    )]
    interval: Vec<Duration>,
    /// How many seeds; each draws other users, prompts and times [default: 12; with --quick 4].
    #[arg(long)]
    seeds: Option<NonZeroU64>,
    /// The first of them; the others follow.
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// How long requests are sent in one run.
    #[arg(long, default_value_t = 200.0)]
    duration: f64,
    /// How many model servers.
    #[arg(long, default_value = "6")]
    servers: NonZeroUsize,
    /// The GPU that a simulated server stands for.
    #[arg(long, value_enum, default_value_t = SpeedClass::L4)]
    speed: SpeedClass,
    /// Times the default rate of each workload, which is near the fleet's saturation.
    #[arg(long, default_value_t = 1.0)]
    load: f64,
    /// The shortest run that shows something.
    #[arg(long)]
    quick: bool,
}

impl Arguments {
    fn settings(self) -> Result<Settings> {
        for (name, value) in [("--duration", self.duration), ("--load", self.load)] {
            ensure!(
                value.is_finite() && value > 0.0,
                "{name}: {value} is not above 0"
            );
        }
        let seeds = self.seeds.map(NonZeroU64::get);
        let seeds = seeds.unwrap_or(if self.quick { 4 } else { 12 });
        let end = self.first_seed.checked_add(seeds);
        let workloads: &[Workload] = match (&*self.workload, self.quick) {
            ([], true) => &QUICK_WORKLOADS,
            ([], false) => Workload::value_variants(),
            (chosen, _) => chosen,
        };
        let servers = self.servers.get();
        let mut profiles = Vec::new();
        for scheduling in std::iter::once(None).chain(self.scheduling.into_iter().map(Some)) {
            let profile = Profile::new(profiles.len(), scheduling);
            // Before any time is spent on those that are possible.
            for interval in &self.interval {
                let filter = Filter::new(servers, *interval, profile.scheduling.as_ref());
                filter.with_context(|| {
                    let interval = humantime::format_duration(*interval);
                    format!("{}, scraping every {interval}", profile.name)
                })?;
            }
            profiles.push(profile);
        }
        Ok(Settings {
            workloads: workloads.to_vec(),
            profiles,
            intervals: self.interval,
            first_seed: self.first_seed,
            end_seed: end.context("--first-seed: too large for so many seeds")?,
            servers,
            speed: self.speed,
            load: self.load,
            slo: SLO,
            window: Window {
                from: self.duration * WARM_UP_SHARE,
                until: self.duration,
            },
        })
    }
}

pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let settings = Arc::new(arguments.settings()?);
    let report = Report::without_envoy("profiles", settings.first_seed)?;
    let cells = settings.cells();
    let mut rows = Vec::new();
    for cell in &cells {
        let (settings, cell) = (Arc::clone(&settings), cell.clone());
        // Not on a thread of the runtime, which has to hear of Ctrl-C, and then waits for this row.
        let row = task::spawn_blocking(move || measure::measure(&settings, &cell)).await??;
        rows.push(row);
        println!(
            "[{}/{}] {}",
            rows.len(),
            cells.len(),
            rows.last().map_or_else(String::new, Row::line)
        );
    }
    let results = Results::of(settings.as_ref().clone(), rows);
    report.finish(&results, &results.text())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct CommandLine {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn settings(line: &[&str]) -> Result<Settings> {
        let line = std::iter::once("profiles").chain(line.iter().copied());
        CommandLine::try_parse_from(line)?.arguments.settings()
    }

    #[test]
    fn by_default_everything_is_measured_with_the_default_profile() -> Result<()> {
        let settings = settings(&[])?;
        assert_eq!(settings.cells().len(), Workload::value_variants().len() * 2);
        assert_eq!(settings.end_seed - settings.first_seed, 12);
        assert_eq!(settings.intervals, [200, 1000].map(Duration::from_millis));
        assert_eq!((settings.window.from, settings.window.until), (40.0, 200.0));
        assert!(settings.profiles.iter().all(|it| it.scheduling.is_none()));
        Ok(())
    }

    #[test]
    fn what_is_asked_for_stands_behind_the_default() -> Result<()> {
        let queue = r#"{"scorers": [{"type": "queue"}]}"#;
        let random = r#"{"picker": "random"}"#;
        let settings = settings(&[
            "--quick",
            "--scheduling",
            queue,
            "--scheduling",
            random,
            "--workload",
            "lora,mixed",
            "--interval",
            "1s",
            "--first-seed",
            "7",
        ])?;
        let names = settings.profiles.iter().map(|it| it.name.as_str());
        let names: Vec<&str> = names.collect();
        assert_eq!(names, ["default", "scheduling 1", "scheduling 2"]);
        assert_eq!(settings.cells().len(), 6);
        assert_eq!((settings.first_seed, settings.end_seed), (7, 11));
        Ok(())
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, named) in [
            (
                ["--scheduling", r#"{"scorers": [{"type": "qeue"}]}"#],
                ["scheduling 1", "scheduling.scorers[0].type", "\"qeue\""],
            ),
            (["--scheduling", "{"], ["--scheduling", "EOF", ""]),
            (
                ["--interval", "1ms"],
                ["default", "metrics.interval", "1ms"],
            ),
            (["--interval", "soon"], ["--interval", "soon", ""]),
            (["--load", "0"], ["--load", "0", ""]),
            (
                ["--first-seed", "18446744073709551615"],
                ["--first-seed", "", ""],
            ),
        ] {
            let error = settings(&line).expect_err("none of them is possible");
            let message = format!("{error:#}");
            for name in named {
                assert!(message.contains(name), "{line:?}: {message}");
            }
        }
    }
}
