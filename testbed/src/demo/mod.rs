//! The main job, shown to a newcomer: requests go in, and each arrives at the model server that
//! scored best.

mod report;
mod simulated;
mod stage;
mod story;
mod vllm;

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::{Context, Result, ensure};
use testbed::{
    client::{Connection, Protocol},
    decision::Decision,
    envoy::Envoy,
};

use crate::{
    backend::Backend,
    stop::{self, Stop},
};
use simulated::Simulated;
use stage::Stage;
use story::Step;
use vllm::OnVllm;

/// How often the log is read while the demo waits for requests: soon enough for the eye.
const LOG_INTERVAL: Duration = Duration::from_millis(250);

/// Runs the demo until a signal stops it, or with `once` until its requests are answered.
pub(crate) async fn run(once: bool, backend: Backend) -> Result<ExitCode> {
    match backend {
        Backend::Simulated => show::<Simulated>(once).await,
        Backend::Vllm => show::<OnVllm>(once).await,
    }
}

async fn show<S: Stage>(once: bool) -> Result<ExitCode> {
    let mut stop = Stop::new()?;
    // Whichever way this returns, the stage is dropped, and everything stops with it.
    let stage = tokio::select! {
        told = tell::<S>() => told?,
        () = stop.asked() => return Ok(ExitCode::from(stop::INTERRUPTED)),
    };
    if !once {
        // Counted before anybody is invited, so that no request falls between.
        let shown = stage.envoy().decisions().len();
        println!("{}", report::invitation(&stage));
        tokio::select! {
            failed = follow(stage.envoy(), shown) => failed?,
            () = stop.asked() => println!("\nStopping."),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Sends the requests of the story and reports on each.
async fn tell<S: Stage>() -> Result<S> {
    println!("{}", S::OPENING);
    let mut stage = S::start().await?;
    println!("Envoy listens on {}.", stage.envoy().url("/"));

    let mut connection = Connection::open(stage.envoy().address(), Protocol::Http1).await?;
    for (number, step) in (1..).zip(S::steps()) {
        println!("\n{number}. {}", step.title);
        stage.set(&step.work).await?;
        ask(&stage, &mut connection, &step, &format!("demo-{number}")).await?;
    }
    Ok(stage)
}

/// Sends a request, prints how it was routed, and insists that it was routed as the scores said.
async fn ask<S: Stage>(
    stage: &S,
    connection: &mut Connection,
    step: &Step<S::Work>,
    id: &str,
) -> Result<()> {
    let servers = stage.servers().await?;
    let reply = connection.send(step.ask.request(id)?).await?;
    ensure!(
        reply.status.is_success(),
        "{id} was answered {}: {}",
        reply.status,
        reply.text()
    );
    let reached = stage.reached(id, &reply).await?;
    if !step.ask.is_inference() {
        println!("{}", report::unscored(reached));
        return Ok(());
    }
    let decision = stage.envoy().decision_on(id).await?;
    println!("{}", report::scored(&decision, &servers, reached, &reply));
    insist(&decision, reached).with_context(|| format!("{id} went to {reached}"))
}

/// Insists that the scores, the decision and what became of it are one.
fn insist(decision: &Decision, reached: SocketAddr) -> Result<()> {
    ensure!(
        reached == decision.endpoint,
        "the decision was {}",
        decision.endpoint
    );
    let best = decision
        .candidates
        .iter()
        .map(|candidate| candidate.total)
        .fold(f64::NEG_INFINITY, f64::max);
    ensure!(
        decision
            .candidates
            .iter()
            .any(|it| it.endpoint == reached && it.total >= best),
        "it did not score best"
    );
    Ok(())
}

/// Prints every decision after the first `shown`, for ever.
async fn follow(envoy: &Envoy, mut shown: usize) -> Result<()> {
    loop {
        tokio::time::sleep(LOG_INTERVAL).await;
        for decision in envoy.decisions().into_iter().skip(shown) {
            shown += 1;
            println!("\n{}", report::decided(&decision));
        }
    }
}
