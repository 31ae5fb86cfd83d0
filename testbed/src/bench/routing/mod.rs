//! How well a fleet is served: the same requests through the same Envoy, with this filter and with
//! Envoy's own load balancers.

mod fleet;
mod picture;
mod policy;
mod results;
mod text;

use std::{num::NonZeroUsize, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde_json::Value;
use testbed::{
    envoy::{self, Envoy},
    load::{
        client::Client,
        driver::{self, Clock, Limits},
        statistics::{Servers, Slo, Users, Window},
        watch::Watch,
        workload::{Plan, Workload},
    },
    model_server::{SimulatorConfig, SpeedClass},
    usage::Usage,
};
use tokio::time::{Instant, sleep};

use super::{capacity, report::Report};
use crate::backend::Backend;
pub(super) use fleet::MAX_LORAS;
pub(super) use results::name_of_speed;

use fleet::Fleet;
use policy::{Policy, SCRAPE_INTERVAL};
use results::{Machine, Results, Run, Settings};

/// The shortest interval the filter takes.
const MIN_SCRAPE_INTERVAL: Duration = Duration::from_millis(20);

/// How many intervals the filter has to learn of its pool before the load begins.
const SETTLING_INTERVALS: u32 = 10;

/// Simulated seconds between two looks at the servers' metrics.
const WATCH_INTERVAL: f64 = 0.5;

/// How long answers are waited for after the last request, in simulated seconds: a queue that is
/// longer than that is overload.
const DRAIN: f64 = 60.0;

/// The share of a run that is warm-up: caches fill, and queues reach their length.
pub(super) const WARM_UP_SHARE: f64 = 0.2;

/// About how long an answer takes on a fleet under load, in simulated seconds.
pub(super) const ANSWER_TIME: f64 = 5.0;

/// Between the moment a run is ready and its time zero, in real time.
const LEAD: Duration = Duration::from_millis(50);

/// The policies of the shortest run.
const QUICK_POLICIES: [Policy; 5] = [
    Policy::EndpointPicker,
    Policy::QueueKv,
    Policy::RoundRobin,
    Policy::LeastRequest,
    Policy::RingHash,
];

/// How to measure. Durations are in simulated seconds.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Kinds of users [default: all; with --quick shared-prefix, chat, uniform].
    #[arg(long, value_delimiter = ',')]
    workload: Vec<Workload>,
    /// Ways to choose a model server [default: all; with --quick not random and not
    /// endpoint-picker-1s].
    #[arg(long, value_delimiter = ',')]
    policies: Vec<Policy>,
    /// The filter's `scheduling` in the place of its default: JSON, as in its configuration.
    #[arg(long, value_parser = |text: &str| serde_json::from_str::<Value>(text))]
    scheduling: Option<Value>,
    /// Seeds users, prompts and times.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often everything is run, with the same seed: how far the runs differ is the spread.
    #[arg(long, default_value = "2")]
    repeats: NonZeroUsize,
    /// How long requests are sent in one run [default: 50; with --quick 24].
    #[arg(long)]
    duration: Option<f64>,
    /// How many model servers.
    #[arg(long, default_value = "6")]
    servers: NonZeroUsize,
    /// The GPU that a simulated server stands for.
    #[arg(long, value_enum, default_value_t = SpeedClass::L4)]
    speed: SpeedClass,
    /// Simulated seconds in a real one [default: 10; real model servers know only 1].
    #[arg(long)]
    time_scale: Option<f64>,
    /// Requests a second [default: near the fleet's saturation, for each workload].
    #[arg(long)]
    rate: Option<f64>,
    /// Shape of the gaps between arrivals: 1 is Poisson, less comes in bursts.
    #[arg(long, default_value_t = 1.0)]
    burstiness: f64,
    /// What goodput asks of the time to first token.
    #[arg(long, default_value_t = 2.0)]
    slo_ttft: f64,
    /// What goodput asks of the time for each token after the first.
    #[arg(long, default_value_t = 0.2)]
    slo_tpot: f64,
    /// Where the model servers come from.
    #[arg(long, value_enum, default_value_t)]
    backend: Backend,
    /// The shortest run that shows something: under two minutes.
    #[arg(long)]
    quick: bool,
}

impl Arguments {
    fn settings(&self) -> Settings {
        let or_all = |chosen: &[Workload], all: &[Workload]| match chosen {
            [] => all.to_vec(),
            chosen => chosen.to_vec(),
        };
        let quick = [Workload::SharedPrefix, Workload::Chat, Workload::Uniform];
        let workloads: &[Workload] = if self.quick {
            &quick
        } else {
            Workload::value_variants()
        };
        let duration = self
            .duration
            .unwrap_or(if self.quick { 24.0 } else { 50.0 });
        Settings {
            workloads: or_all(&self.workload, workloads),
            policies: match (&*self.policies, self.quick) {
                ([], true) => QUICK_POLICIES.to_vec(),
                ([], false) => Policy::value_variants().to_vec(),
                (chosen, _) => chosen.to_vec(),
            },
            scheduling: self.scheduling.clone(),
            seed: self.seed,
            repeats: self.repeats.get(),
            servers: self.servers.get(),
            backend: self.backend,
            speed: self.speed,
            time_scale: self.time_scale.unwrap_or(match self.backend {
                Backend::Simulated => 10.0,
                Backend::Vllm => 1.0,
            }),
            burstiness: self.burstiness,
            slo: Slo {
                ttft: self.slo_ttft,
                tpot: self.slo_tpot,
            },
            window: Window {
                from: duration * WARM_UP_SHARE,
                until: duration,
            },
        }
    }
}

pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let settings = arguments.settings();
    ensure!(
        settings.time_scale > 0.0 && settings.window.until > 0.0,
        "duration and time scale must be positive"
    );
    let report = Report::create("routing", settings.seed)?;
    let bench = Bench {
        fleet: Fleet::start(&settings).await?,
        rate: arguments.rate,
        report: &report,
        settings,
    };
    let runs = bench.measure_all().await?;
    let results = Results::of(bench.settings, runs);
    let picture = picture::draw(&results)?;
    report.write("report.svg", &picture.svg)?;
    report.write("report.png", &picture.png)?;
    report.finish(&results, &results.text())
}

/// What all runs have in common.
struct Bench<'report> {
    settings: Settings,
    fleet: Fleet,
    rate: Option<f64>,
    report: &'report Report,
}

impl Bench<'_> {
    async fn measure_all(&self) -> Result<Vec<Run>> {
        let settings = &self.settings;
        let count = settings.workloads.len() * settings.policies.len() * settings.repeats;
        println!(
            "{count} runs, each of {:.1} s and what is left to answer then; {} x {}",
            settings.window.until / settings.time_scale,
            settings.servers,
            self.fleet.description(),
        );
        let mut runs = Vec::new();
        // Repeats are far apart, so that what disturbs the machine for a while disturbs one of them.
        for repeat in 1..=settings.repeats {
            for workload in &settings.workloads {
                for policy in &settings.policies {
                    let run = self
                        .measure(*workload, *policy, repeat)
                        .await
                        .with_context(|| {
                            format!("{} with {} failed", workload.name(), policy.name())
                        })?;
                    runs.push(run);
                    println!(
                        "[{}/{count}] {}",
                        runs.len(),
                        runs.last().map_or_else(String::new, Run::line)
                    );
                }
            }
        }
        Ok(runs)
    }

    async fn measure(&self, workload: Workload, policy: Policy, repeat: usize) -> Result<Run> {
        let Settings {
            time_scale, window, ..
        } = self.settings;
        let real = |interval: Duration| interval.div_f64(time_scale).max(MIN_SCRAPE_INTERVAL);
        let interval = real(policy.scrape_interval());
        self.fleet.reset().await?;
        let configuration = policy.configure(
            self.fleet.addresses(),
            interval,
            self.settings.scheduling.as_ref(),
        )?;
        let envoy = Envoy::start_with(
            configuration,
            envoy::Options {
                log_decisions: false,
                ..envoy::Options::default()
            },
        )
        .await?;
        self.report.write(
            &format!("envoy/{}.json", policy.name()),
            serde_json::to_vec_pretty(envoy.configuration())?,
        )?;

        let rate = self.rate_of(workload)?;
        let conversations = workload.conversations(&Plan {
            seed: self.settings.seed,
            rate,
            burstiness: self.settings.burstiness,
            duration: window.until,
            answer_time: ANSWER_TIME,
            model: self.fleet.model().to_owned(),
        })?;
        let client = Client::new(envoy.address());
        let watch = Watch::new(self.fleet.addresses().to_vec());
        sleep(SETTLING_INTERVALS * interval.max(real(SCRAPE_INTERVAL))).await;

        let (envoy_before, bench_before) = (envoy.usage()?, Usage::of_self()?);
        let begun = Instant::now();
        let clock = Clock::new(begun + LEAD, time_scale);
        let limits = Limits {
            duration: window.until,
            end: window.until + DRAIN,
        };
        let (outcomes, timeline) = tokio::join!(
            driver::drive(conversations, &client, clock, limits),
            watch.follow(clock, WATCH_INTERVAL, window.until),
        );
        let real = begun.elapsed();
        let share = |before: Usage, after: Usage| {
            after.cpu.saturating_sub(before.cpu).as_secs_f64() / real.as_secs_f64()
        };
        let users = Users::of(&[&outcomes], window, self.settings.slo);
        Ok(Run {
            workload,
            policy,
            repeat,
            rate,
            servers: Servers::of(&timeline, window),
            machine: Machine {
                real_seconds: real.as_secs_f64(),
                envoy_cores: share(envoy_before, envoy.usage()?),
                bench_cores: share(bench_before, Usage::of_self()?),
                lag_p99_ms: users.lag.p99 / time_scale * 1000.0,
                behind_ms: self.fleet.behind().as_secs_f64() * 1000.0,
            },
            users,
            outcomes,
            timeline,
        })
    }

    fn rate_of(&self, workload: Workload) -> Result<f64> {
        if let Some(rate) = self.rate {
            return Ok(rate);
        }
        let max_num_seqs = SimulatorConfig::default().max_num_seqs;
        ensure!(
            self.settings.backend == Backend::Simulated,
            "the capacity of real model servers is not known: say --rate"
        );
        let capacity = capacity::uncached(
            &workload.shape(),
            self.settings.servers,
            self.settings.speed,
            max_num_seqs,
        );
        Ok(capacity * capacity::load(workload))
    }
}
