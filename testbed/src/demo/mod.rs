//! The main job, shown to a newcomer: requests go in, and each arrives at the model server that
//! scored best.

mod report;
mod story;

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, Result, ensure};
use testbed::{
    bed::{self, Bed},
    client::{Protocol, Reply},
    decision::Decision,
    envoy::{Configuration, Envoy, HandOver},
    model_server::Load,
    poll,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

use story::Step;

/// The exit code of a program that was stopped by Ctrl-C: 128 and the signal's number.
const INTERRUPTED: u8 = 130;

/// How long a decision may take from Envoy's hands into its log.
const LOG_DELAY: Duration = Duration::from_secs(5);

/// How often the log is read while the demo waits for requests: soon enough for the eye.
const LOG_INTERVAL: Duration = Duration::from_millis(250);

/// Runs the demo until a signal stops it, or with `once` until its requests are answered.
pub(crate) async fn run(once: bool) -> Result<ExitCode> {
    let mut stop = Stop::new()?;
    // Whichever way this returns, the bed is dropped, and everything stops with it.
    let bed = tokio::select! {
        told = tell() => told?,
        () = stop.asked() => return Ok(ExitCode::from(INTERRUPTED)),
    };
    if !once {
        println!("{}", report::invitation(&bed.envoy));
        tokio::select! {
            failed = follow(&bed.envoy) => failed?,
            () = stop.asked() => println!("\nStopping."),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Sends the requests of the story and reports on each.
async fn tell() -> Result<Bed> {
    let steps = story::steps();
    let first = steps.first().context("the story has no steps")?;
    println!("Starting three simulated model servers, and Envoy with the endpoint picker ...");
    let bed = Bed::start(
        Configuration::shipped(HandOver::OriginalDstHeader)?,
        &first.loads,
    )
    .await?;
    println!(
        "Envoy listens on {}, and knows the load of every model server.",
        bed.envoy.url("/")
    );

    let mut connection = bed.connect(Protocol::Http1).await?;
    for (number, step) in (1..).zip(&steps) {
        set_loads(&bed, &step.loads).await?;
        let id = format!("demo-{number}");
        println!("\n{number}. {}", step.title);
        let reply = connection.send(step.request(&id)?).await?;
        report_on(&bed, step, &id, &reply).await?;
    }
    Ok(bed)
}

/// Sets the loads, and waits until the filter knows them.
async fn set_loads(bed: &Bed, loads: &[Load]) -> Result<()> {
    for (server, load) in bed.servers.iter().zip(loads) {
        server.set_load(*load);
    }
    bed::loads_known(&bed.servers).await
}

/// Prints how a request was routed, and insists that it was routed as the scores said.
async fn report_on(bed: &Bed, step: &Step, id: &str, reply: &Reply) -> Result<()> {
    ensure!(
        reply.status.is_success(),
        "{id} was answered {}: {}",
        reply.status,
        reply.text()
    );
    let arrived = reply
        .model_server()
        .with_context(|| format!("{id} reached no model server"))?;
    if !step.is_inference() {
        println!("{}", report::unscored(arrived));
        return Ok(());
    }
    let decision = decision(&bed.envoy, id).await?;
    println!(
        "{}",
        report::scored(&decision, &bed.servers, arrived, reply)
    );
    ensure!(
        arrived == decision.endpoint,
        "{id} went to {arrived}, the decision was {}",
        decision.endpoint
    );
    let best = decision
        .candidates
        .iter()
        .map(|candidate| candidate.total)
        .fold(f64::NEG_INFINITY, f64::max);
    let is_best = |endpoint| {
        decision
            .candidates
            .iter()
            .any(|it| it.endpoint == endpoint && it.total >= best)
    };
    ensure!(
        is_best(arrived),
        "{id} went to {arrived}, which did not score best"
    );
    Ok(())
}

/// The decision on the request with this id, as soon as Envoy has logged it.
async fn decision(envoy: &Envoy, id: &str) -> Result<Decision> {
    poll::until(&format!("the decision on {id}"), LOG_DELAY, async || {
        Ok(envoy
            .decisions()
            .into_iter()
            .find(|decision| decision.request_id.as_deref() == Some(id)))
    })
    .await
}

/// Prints every further decision, for ever.
async fn follow(envoy: &Envoy) -> Result<()> {
    let mut seen = envoy.decisions().len();
    loop {
        tokio::time::sleep(LOG_INTERVAL).await;
        for decision in envoy.decisions().into_iter().skip(seen) {
            seen += 1;
            println!("\n{}", report::decided(&decision));
        }
    }
}

/// The signals that ask a program to stop.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn new() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
