//! Whether several workers of one Envoy decide as one: the same users, bursts and faults behind one
//! worker and behind several.

mod text;

use std::{num::NonZeroUsize, time::Duration};

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};
use testbed::{
    envoy::{Configuration, Envoy, HandOver, Options},
    load::workload::Workload,
    model_server::{ModelServer, SimulatorConfig, SpeedClass},
    workers::{
        burst::{self, Burst, Landed},
        faults::{self, Ends},
        hits::{self, Hits, Users},
    },
};
use tokio::time::Instant;

use super::{capacity, report::Report};

/// Workloads in which the same prompts come again.
const WORKLOADS: [Workload; 2] = [Workload::Chat, Workload::SharedPrefix];

/// Simulated seconds in a real one.
const TIME_SCALE: f64 = 10.0;

/// The servers that users come to.
const SERVERS: usize = 6;

/// The share of the capacity without caches at which users come: servers are busy, and none so much
/// that affinity has to give way.
const LOAD: f64 = 0.8;

/// The filter's interval of scraping during a burst, in real time: so long that the whole burst comes
/// between two scrapes, or the workers would learn of each other from the servers.
const BURST_INTERVAL: Duration = Duration::from_secs(1);

/// In how much time a burst comes: all at once, and over most of an interval.
const BURSTS: [Duration; 2] = [Duration::ZERO, Duration::from_millis(800)];

/// Requests with faults that are under way at a time.
const AT_ONCE: usize = 64;

/// The servers that faults happen to.
const UNRELIABLE_SERVERS: usize = 4;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Part {
    /// How much of the prompts is found in prefix caches.
    Hits,
    /// How evenly a burst lies on the servers.
    Burst,
    /// What is left in flight of requests that end in every way.
    Faults,
}

/// How to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What to measure [default: all].
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// How many workers are compared with one.
    #[arg(long, default_value = "4")]
    workers: NonZeroUsize,
    /// Seeds users and faults.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often users and bursts come, users with one seed after the other [default: 3; with
    /// --quick 1].
    #[arg(long)]
    repeats: Option<NonZeroUsize>,
    /// Requests with faults [default: 100000; with --quick 20000].
    #[arg(long)]
    requests: Option<usize>,
    /// The filter's `scheduling` in the place of its default: JSON, as in its configuration.
    #[arg(long, value_parser = |text: &str| serde_json::from_str::<Value>(text))]
    scheduling: Option<Value>,
    /// The shortest run that shows something: a minute.
    #[arg(long)]
    quick: bool,
}

/// What was found of a workload.
#[derive(Debug, Serialize)]
struct HitsRow {
    users: Users,
    one: Hits,
    several: Hits,
}

/// What was found of a burst.
#[derive(Debug, Serialize)]
struct BurstRow {
    burst: Burst,
    one: Landed,
    several: Landed,
}

/// What was found of faults.
#[derive(Debug, Serialize)]
struct FaultsRow {
    requests: usize,
    seconds: f64,
    /// By fault, then by how the request ended.
    ends: Vec<(faults::Fault, String, usize)>,
}

/// Everything.
#[derive(Debug, Serialize)]
struct Results {
    workers: u64,
    hits: Vec<HitsRow>,
    bursts: Vec<BurstRow>,
    faults: Option<FaultsRow>,
}

pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let report = Report::create("workers", arguments.seed)?;
    let measures = |part| arguments.only.is_empty() || arguments.only.contains(&part);
    let repeats = arguments.repeats.map(NonZeroUsize::get);
    let repeats = repeats.unwrap_or(if arguments.quick { 1 } else { 3 });
    let mut results = Results {
        workers: u64::try_from(arguments.workers.get())?,
        hits: Vec::new(),
        bursts: Vec::new(),
        faults: None,
    };
    let patch = match &arguments.scheduling {
        Some(scheduling) => json!({ "scheduling": scheduling }),
        None => json!({}),
    };
    if measures(Part::Hits) {
        for workload in WORKLOADS {
            for repeat in 0..repeats {
                let users = users(workload, arguments.seed + repeat as u64, &patch);
                let row = HitsRow {
                    one: hits::measure(&users, 1).await?,
                    several: hits::measure(&users, results.workers).await?,
                    users,
                };
                println!("{}", row.line());
                results.hits.push(row);
            }
        }
    }
    if measures(Part::Burst) {
        for over in BURSTS {
            let mut burst = Burst::new(over, BURST_INTERVAL, 2 * repeats);
            burst.patch = patch.clone();
            let row = BurstRow {
                one: burst::measure(&burst, 1).await?,
                several: burst::measure(&burst, results.workers).await?,
                burst,
            };
            println!("{}", row.line());
            results.bursts.push(row);
        }
    }
    if measures(Part::Faults) {
        let requests = arguments.requests;
        let requests = requests.unwrap_or(if arguments.quick { 20_000 } else { 100_000 });
        let row = measure_faults(requests, results.workers, arguments.seed, &patch).await?;
        println!("{}", row.line());
        results.faults = Some(row);
    }
    report.finish(&results, &results.text())
}

fn users(workload: Workload, seed: u64, patch: &Value) -> Users {
    let speed = SpeedClass::L4;
    let max_num_seqs = SimulatorConfig::default().max_num_seqs;
    let capacity = capacity::uncached(&workload.shape(), SERVERS, speed, max_num_seqs);
    Users {
        workload,
        seed,
        rate: LOAD * capacity,
        duration: 80.0,
        servers: SERVERS,
        speed,
        time_scale: TIME_SCALE,
        patch: patch.clone(),
    }
}

/// Fails when anything is left in flight.
async fn measure_faults(
    requests: usize,
    workers: u64,
    seed: u64,
    patch: &Value,
) -> Result<FaultsRow> {
    let servers = faults::unreliable_servers(UNRELIABLE_SERVERS).await?;
    let pool: Vec<_> = servers.iter().map(ModelServer::address).collect();
    let configuration = Configuration::shipped(HandOver::OriginalDstHeader)?
        .merge_plugin_configuration(patch)?
        .with_pool(&json!(pool))?;
    let options = Options {
        workers,
        log_decisions: false,
    };
    let envoy = Envoy::start_with(faults::unreliable(configuration)?, options).await?;
    let begun = Instant::now();
    let ends: Ends = faults::misbehave(envoy.address(), requests, AT_ONCE, seed).await?;
    let seconds = begun.elapsed().as_secs_f64();
    faults::none_in_flight(&envoy, usize::try_from(workers)?).await?;
    let ends = ends.into_iter();
    Ok(FaultsRow {
        requests,
        seconds,
        ends: ends
            .map(|((fault, end), count)| (fault, end, count))
            .collect(),
    })
}
