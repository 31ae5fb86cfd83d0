//! What the filter costs: throughput, latency, memory, scraping, beside bare Envoy, beside a Wasm
//! filter that does nothing, and beside an ext_proc server that does nothing.
//!
//! Envoy has one worker, which the load keeps busy without a pause, so that throughput is the
//! inverse of what a request costs that worker. The variants run side by side and are measured one
//! at a time, in turns; they are compared within a turn.

mod backend;
mod body;
mod bound;
mod client;
mod machine;
mod measure;
mod results;
mod statistics;
mod table;
mod variant;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use clap::Args;
use serde::Serialize;

use super::report::Report;
use body::{Shape, Text};
use bound::Bound;
use measure::{Field, Method};
use results::{PoolResult, Results};
use variant::Variant;

/// Endpoints behind every variant where bodies are compared.
const POOL: usize = 10;

/// Endpoints where memory and scraping are measured, as their bounds say.
const LARGE_POOL: usize = 100;

/// The body with which pools are compared.
const SMALL: Shape = Shape {
    bytes: 1_000,
    model_last: false,
    text: Text::Mixed,
};

/// How long Envoys are watched without requests. Processor time is counted in ticks of 10 ms, so
/// this tells a thousandth of a core.
const IDLE_WINDOW: Duration = Duration::from_secs(10);

/// Files this process needs for 1000 endpoints: a listener and a few connections for each, and as
/// much again to spare.
const OPEN_FILES: u64 = 16_384;

/// Draws the bodies' text, and the times of requests.
const SEED: u64 = 1;

/// How to measure.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Bodies of 1 and 220 KB, pools of 10 and 100, few and short repeats: under three minutes.
    #[arg(long)]
    quick: bool,

    /// Sizes of request bodies: 1k, 220k, 1m; 220k-last names the model after the messages, else it
    /// comes first; 220k-prose and 220k-last-prose are of plainer text. [default: 1k,50k,220k,220k-last,1m,1m-last,50k-prose,
    /// 220k-prose,220k-last-prose]
    #[arg(long, value_delimiter = ',')]
    bodies: Option<Vec<Shape>>,

    /// Sizes of pools for which this filter is measured with 1 KB. [default: 10,100,1000]
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=1000))]
    endpoints: Option<Vec<u16>>,

    /// How often each variant is measured. [default: 5]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    repeats: Option<u16>,

    /// For how long at a time, such as 2s. [default: 2s]
    #[arg(long, value_parser = humantime::parse_duration)]
    duration: Option<Duration>,

    /// What to compare with bare Envoy. [default: all]
    #[arg(long, value_delimiter = ',')]
    variants: Option<Vec<Variant>>,
}

/// The arguments with their defaults.
#[derive(Debug)]
struct Plan {
    bodies: Vec<Shape>,
    pools: Vec<usize>,
    variants: Vec<Variant>,
    method: Method,
}

impl From<Arguments> for Plan {
    fn from(arguments: Arguments) -> Self {
        let of = |text| {
            move |bytes, model_last| Shape {
                bytes,
                model_last,
                text,
            }
        };
        let (shape, prose) = (of(Text::Mixed), of(Text::Prose));
        let (bodies, pools, repeats, window) = if arguments.quick {
            (
                vec![SMALL, shape(220_000, true)],
                vec![10, 100],
                3,
                Duration::from_millis(1_500),
            )
        } else {
            let bodies = vec![
                SMALL,
                shape(50_000, false),
                shape(220_000, false),
                shape(220_000, true),
                shape(1_000_000, false),
                shape(1_000_000, true),
                prose(50_000, false),
                prose(220_000, false),
                prose(220_000, true),
            ];
            (bodies, vec![10, 100, 1000], 5, Duration::from_secs(2))
        };
        let asked = arguments.variants.unwrap_or(Variant::ALL.to_vec());
        let mut bodies = arguments.bodies.unwrap_or(bodies);
        // Memory grows with the bodies, and never shrinks.
        bodies.sort_unstable();
        bodies.dedup();
        Self {
            bodies,
            pools: arguments
                .endpoints
                .map_or(pools, |pools| pools.into_iter().map(usize::from).collect()),
            // In their order, each once; everything is compared with bare Envoy.
            variants: Variant::ALL
                .into_iter()
                .filter(|it| *it == Variant::Bare || asked.contains(it))
                .collect(),
            method: Method {
                repeats: arguments.repeats.map_or(repeats, usize::from),
                window: arguments.duration.unwrap_or(window),
                seed: SEED,
            },
        }
    }
}

/// The results and the bounds beside them.
#[derive(Serialize)]
struct Everything {
    #[serde(flatten)]
    results: Results,
    bounds: Vec<Bound>,
}

/// Measures, and writes the report.
pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let plan = Plan::from(arguments);
    rlimit::increase_nofile_limit(OPEN_FILES).context("cannot raise the limit of open files")?;
    let report = Report::create("overhead", SEED)?;
    let results = measure(&plan, &report).await?;
    let bounds = bound::all(&results);
    let text = table::text(&results, &bounds);
    report.finish(&Everything { results, bounds }, &text)
}

async fn measure(plan: &Plan, report: &Report) -> Result<Results> {
    let progress = Progress::start();
    let mut results = Results {
        pool: POOL,
        repeats: plan.method.repeats,
        window: plan.method.window.as_secs_f64(),
        ..Results::default()
    };
    progress.say("starting one Envoy for each variant");
    let field = Field::start(&plan.variants, POOL).await?;
    for deployment in &field.deployments {
        let name = deployment.variant.name().replace(' ', "-");
        let configuration = serde_json::to_vec_pretty(deployment.envoy.configuration())?;
        report.write(&format!("envoy/{name}.json"), configuration)?;
    }
    for shape in &plan.bodies {
        progress.say(&format!("body {shape}"));
        results.bodies.push(field.body(*shape, plan.method).await?);
    }
    drop(field);

    if !plan.variants.contains(&Variant::EndpointPicker) {
        return Ok(results);
    }
    let compared = [Variant::Bare, Variant::EndpointPicker];
    let small = Bytes::from(SMALL.make(SEED)?);
    for endpoints in &plan.pools {
        progress.say(&format!("{endpoints} endpoints"));
        let field = Field::start(&compared, *endpoints).await?;
        results.pools.push(PoolResult {
            endpoints: *endpoints,
            saturation: field.at_saturation(&small, plan.method).await?,
        });
    }
    let field = Field::start(&compared, LARGE_POOL).await?;
    progress.say(&format!("scraping {LARGE_POOL} endpoints"));
    results.scraping = Some(field.scraping(IDLE_WINDOW).await?);
    progress.say(&format!("memory with {LARGE_POOL} endpoints"));
    results.memory = field.memory(&plan.bodies, plan.method).await?;
    progress.say("done");
    Ok(results)
}

/// What is going on, for who waits.
struct Progress {
    began: Instant,
}

impl Progress {
    fn start() -> Self {
        Self {
            began: Instant::now(),
        }
    }

    fn say(&self, what: &str) {
        println!("{:4} s  {what}", self.began.elapsed().as_secs());
    }
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

    fn plan(line: &str) -> Plan {
        CommandLine::parse_from(line.split_whitespace())
            .arguments
            .into()
    }

    #[test]
    fn what_is_asked_for_wins_over_quick() {
        let plan = plan("bench --quick --bodies 1m,1k --repeats 7 --variants ext-proc");
        assert_eq!(
            plan.bodies
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
            ["1k", "1m"]
        );
        assert_eq!(plan.method.repeats, 7);
        assert_eq!(plan.method.window, Duration::from_millis(1_500));
        assert_eq!(plan.variants, [Variant::Bare, Variant::ExtProc]);
        assert_eq!(plan.pools, [10, 100]);
    }

    #[test]
    fn by_default_everything_is_measured() {
        let plan = plan("bench");
        assert_eq!(plan.variants, Variant::ALL);
        assert_eq!(plan.bodies.len(), 9);
        assert_eq!(plan.pools, [10, 100, 1000]);
    }
}
