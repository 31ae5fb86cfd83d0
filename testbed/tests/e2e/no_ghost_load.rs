//! Nothing stays in flight: however a request ends, whoever counted it, and whatever becomes of the
//! endpoint meanwhile.

use std::{
    env,
    fmt::Debug,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use http_body_util::BodyExt;
use hyper::{Request, header::HeaderValue};
use serde_json::json;
use testbed::{
    bed::loads_known,
    client::{self, Body, Connection, Protocol},
    decision::{Decision, InFlight},
    envoy::{Configuration, Envoy, HandOver, WORKERS, repository},
    model_server::ModelServer,
    poll,
    workers::faults::{self, Ends, Fault},
};

use crate::support::{
    CHAT, INTERVAL, PATIENCE, addresses, assert_filter_never_failed, chat_as,
    connections_to_every_worker, post, queue, retries, scraping_every, with_metrics_of,
};

/// The feature of the filter that lets a request bring its VM down, and the header that asks for it.
const FAULT_INJECTION: &str = "fault-injection";
const FAULT: &str = "x-endpoint-picker-fault";

/// How long the load of a VM that is gone may be taken for real.
const PEER_TIMEOUT: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_requests_end_nothing_stays_in_flight() -> Result<()> {
    const REQUESTS: usize = 4000;
    const AT_ONCE: usize = 32;

    for hand_over in HandOver::ALL {
        let servers = faults::unreliable_servers(3).await?;
        let envoy = Envoy::start(unreliable(hand_over, &servers)?).await?;
        loads_known(&servers).await?;
        let ends = faults::misbehave(envoy.address(), REQUESTS, AT_ONCE, 7).await?;
        for (fault, end) in [
            (Fault::None, "200 OK"),
            (Fault::None, "500 Internal Server Error"),
            (Fault::NoneStreamed, "200 OK, broken off"),
            (Fault::LeavesEarly, "left"),
            (Fault::LeavesMidway, "left after 200 OK"),
            (Fault::LeavesBeforeDecision, "left"),
            (Fault::LeavesAfterDecision, "left"),
            (Fault::TimesOut, "504 Gateway Timeout"),
            (Fault::FindsNoRoom, "503 Service Unavailable"),
            (Fault::IsMalformed, "400 Bad Request"),
            (Fault::AsksNoModel, "200 OK"),
        ] {
            assert!(count(&ends, fault, end) > 0, "{fault:?} {end}: {ends:?}");
        }
        nothing_in_flight(&envoy)
            .await
            .with_context(|| hand_over.to_string())?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_on_another_host_takes_its_load_along() -> Result<()> {
    const REQUESTS: usize = 1500;
    const AT_ONCE: usize = 16;

    let mut servers = faults::unreliable_servers(3).await?;
    let metrics = faults::unreliable_servers(3).await?;
    let configuration = unreliable(HandOver::OverrideHost, &servers)?
        // Each answered scrape makes the dead one a candidate again.
        .merge_plugin_configuration(&json!({
            "destination": { "ranked": 3 }, "metrics": { "interval": "20ms" },
        }))?
        .with_pool(&with_metrics_of(&metrics, &servers))?;
    let envoy = Envoy::start(configuration).await?;
    loads_known(&metrics).await?;
    let _gone = servers.remove(0).close().await?;
    let ends = faults::misbehave(envoy.address(), REQUESTS, AT_ONCE, 8).await?;
    let retries = retries(&envoy).await?;
    assert!(retries > 3, "{retries}: {ends:?}");
    nothing_in_flight(&envoy).await
}

#[tokio::test]
async fn a_request_that_was_tried_again_is_in_flight_where_it_went() -> Result<()> {
    let mut servers = vec![holding_server().await?, holding_server().await?];
    let metrics = [ModelServer::start().await?, ModelServer::start().await?];
    metrics[1].set_load(queue(500));
    let configuration = scraping_every(INTERVAL, HandOver::OverrideHost)?
        .merge_plugin_configuration(&json!({ "destination": { "ranked": 2 } }))?
        .with_pool(&with_metrics_of(&metrics, &servers))?;
    let envoy = Envoy::start(configuration).await?;
    loads_known(&metrics).await?;
    let [left, there] = [0, 1].map(|server: usize| servers[server].address());
    let _gone = servers.remove(0).close().await?;
    let mut connection = Connection::open(envoy.address(), Protocol::Http1).await?;
    let answer = connection.begin(streamed()?).await?;
    assert_eq!(retries(&envoy).await?, 1);
    decision_becomes(&envoy, "moved", PATIENCE, |decision| {
        // Once it is a candidate again.
        let at = |address| decision.candidate(address)?.in_flight;
        let requests = [left, there].map(|address| at(address).map(|it| it.requests));
        Ok((requests, requests == [Some(0), Some(1)]))
    })
    .await?;
    drop(answer);
    let_go(&servers);
    nothing_in_flight(&envoy).await
}

fn unreliable(hand_over: HandOver, servers: &[ModelServer]) -> Result<Configuration> {
    let configuration = scraping_every(INTERVAL, hand_over)?;
    faults::unreliable(configuration)?.with_pool(&json!(addresses(servers)))
}

fn count(ends: &Ends, fault: Fault, end: &str) -> usize {
    ends.get(&(fault, end.to_owned()))
        .copied()
        .unwrap_or_default()
}

async fn nothing_in_flight(envoy: &Envoy) -> Result<()> {
    faults::none_in_flight(envoy, usize::try_from(WORKERS)?).await?;
    assert_filter_never_failed(envoy).await
}

#[tokio::test]
async fn the_load_of_a_vm_that_dies_dies_with_it() -> Result<()> {
    const HELD: u32 = 5;

    let module = tokio::task::spawn_blocking(module_with_faults).await??;
    let servers = [holding_server().await?, holding_server().await?];
    let configuration = scraping_every(INTERVAL, HandOver::OriginalDstHeader)?
        .with_module(&module)?
        .with_pool(&json!(addresses(&servers)))?;
    let envoy = Envoy::start(configuration).await?;
    loads_known(&servers).await?;

    // Of each worker the same number.
    let mut of_workers = connections_to_every_worker(&envoy, Protocol::Http2).await?;
    let mut held = Vec::new();
    for connection in &mut of_workers {
        for _ in 0..HELD {
            held.push(connection.begin(streamed()?).await?);
        }
    }
    let all = u32::try_from(held.len())?;
    in_flight_becomes(&envoy, "before", PATIENCE, |in_flight| {
        in_flight.requests >= all
    })
    .await?;

    let mut connection = Connection::open(envoy.address(), Protocol::Http1).await?;
    let mut request = chat_as("fatal")?;
    request
        .headers_mut()
        .insert(FAULT, HeaderValue::from_static("panic"));
    // However that ends.
    let _ = connection.send(request).await;
    poll::until("the VM to be gone", PATIENCE, async || {
        Ok((!envoy.log_lines_containing("panicked").is_empty()).then_some(()))
    })
    .await?;
    // What is left is that of the other worker, until these clients leave as well.
    drop(held);
    in_flight_becomes(&envoy, "after", 10 * PEER_TIMEOUT, is_none).await?;

    // The worker has a VM again, and serves.
    poll::until("both workers to serve", PATIENCE, async || {
        Ok(connections_to_every_worker(&envoy, Protocol::Http1)
            .await
            .ok())
    })
    .await?;
    let_go(&servers);
    faults::none_in_flight(&envoy, usize::try_from(WORKERS)?).await
}

#[tokio::test]
async fn the_load_of_an_endpoint_that_leaves_and_comes_back_is_told_to_the_end() -> Result<()> {
    const HELD: u32 = 6;

    let servers = [holding_server().await?, holding_server().await?];
    let configuration = scraping_every(INTERVAL, HandOver::OriginalDstHeader)?
        .with_listeners_discovered()
        .with_pool(&json!(addresses(&servers)))?;
    let mut envoy = Envoy::start(configuration).await?;
    loads_known(&servers).await?;
    let (mut open, mut held) = (Vec::new(), Vec::new());
    for _ in 0..HELD {
        let mut connection = Connection::open(envoy.address(), Protocol::Http1).await?;
        held.push(connection.begin(streamed()?).await?);
        open.push(connection);
    }
    in_flight_becomes(&envoy, "first", PATIENCE, |in_flight| {
        in_flight.requests == HELD
    })
    .await?;

    let address = servers[1].address();
    envoy
        .update_plugin_configuration(&json!({ "endpoints": { "static": [address] } }))
        .await?;
    loads_known(&servers[1..]).await?;
    // In another order, so that places mean nothing.
    let mut all = addresses(&servers);
    all.reverse();
    let all = json!({ "endpoints": { "static": all } });
    envoy.update_plugin_configuration(&all).await?;
    loads_known(&servers).await?;
    // They are still there, and whoever decides by the newest configuration knows.
    in_flight_becomes(&envoy, "back", PATIENCE, |in_flight| {
        in_flight.requests == HELD
    })
    .await?;
    drop(held);
    in_flight_becomes(&envoy, "over", PATIENCE, is_none).await?;
    let_go(&servers);
    nothing_in_flight(&envoy).await
}

#[tokio::test]
async fn the_tokens_of_a_prompt_are_in_flight_until_its_answer_begins() -> Result<()> {
    const TOKENS: u64 = 5_000;

    for hand_over in HandOver::ALL {
        let servers = [holding_server().await?];
        let pool = json!(addresses(&servers));
        let configuration = scraping_every(INTERVAL, hand_over)?.with_pool(&pool)?;
        let envoy = Envoy::start(configuration).await?;
        loads_known(&servers).await?;

        let mut connection = Connection::open(envoy.address(), Protocol::Http1).await?;
        let prompt = "word".repeat(TOKENS.try_into()?);
        let mut answer = connection.begin(streamed_for(&prompt)?).await?.into_body();
        in_flight_becomes(&envoy, "reading", PATIENCE, |it| it.tokens >= TOKENS)
            .await
            .with_context(|| hand_over.to_string())?;
        servers[0].set_token_limit(Some(1));
        answer.frame().await.context("no answer")??;
        in_flight_becomes(&envoy, "writing", PATIENCE, |it| {
            it.requests > 0 && it.tokens < TOKENS
        })
        .await
        .with_context(|| hand_over.to_string())?;
        assert_filter_never_failed(&envoy).await?;
    }
    Ok(())
}

fn is_none(in_flight: InFlight) -> bool {
    in_flight == InFlight::default()
}

/// A server whose answers begin, and do not go on before it is let.
async fn holding_server() -> Result<ModelServer> {
    let server = ModelServer::start().await?;
    server.set_token_limit(Some(0));
    Ok(server)
}

/// Lets them answer.
fn let_go(servers: &[ModelServer]) {
    for server in servers {
        server.set_token_limit(None);
    }
}

/// A request whose answer begins long before it ends.
fn streamed() -> Result<Request<Body>> {
    streamed_for("Hello")
}

fn streamed_for(prompt: &str) -> Result<Request<Body>> {
    let body = json!({
        "model": "llama", "stream": true, "messages": [{ "role": "user", "content": prompt }],
    });
    post(CHAT, client::whole(body.to_string()))
}

/// Waits until some worker says that what is in flight before a decision of its own is as expected.
async fn in_flight_becomes(
    envoy: &Envoy,
    name: &str,
    limit: Duration,
    expected: impl Fn(InFlight) -> bool,
) -> Result<()> {
    decision_becomes(envoy, name, limit, |decision| {
        let in_flight = decision.in_flight()?;
        Ok((in_flight, expected(in_flight)))
    })
    .await
}

/// Waits until a decision of some worker is as expected, of which is said what there is of it.
async fn decision_becomes<T: Debug>(
    envoy: &Envoy,
    name: &str,
    limit: Duration,
    expected: impl Fn(&Decision) -> Result<(T, bool)>,
) -> Result<()> {
    let mut asked = 0;
    let mut said = Vec::new();
    let outcome = poll::until("a decision as expected", limit, async || {
        let id = format!("{name}-{asked}");
        asked += 1;
        tokio::time::sleep(INTERVAL).await;
        // Answered by nobody that matters: left as soon as it is decided.
        let mut connection = Connection::open(envoy.address(), Protocol::Http1).await?;
        let asking = tokio::spawn({
            let request = chat_as(&id)?;
            async move { connection.send(request).await.map(|_| ()) }
        });
        let decision = poll::until("a decision or an answer", PATIENCE, async || {
            let is_answered = asking.is_finished();
            let mut decisions = envoy.decisions().into_iter();
            let decision = decisions.find(|it| it.request_id.as_deref() == Some(&id));
            Ok((is_answered || decision.is_some()).then_some(decision))
        });
        let decision = decision.await?;
        asking.abort();
        let Some(decision) = decision else {
            // A VM that is out refuses requests until it is back.
            return Ok(None);
        };
        let (found, is_expected) = expected(&decision)?;
        said.push(found);
        Ok(is_expected.then_some(()))
    })
    .await;
    outcome.with_context(|| format!("{name}: {said:?}"))
}

/// The filter with the feature that lets it be brought down, built into a folder of its own.
fn module_with_faults() -> Result<PathBuf> {
    let target =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from);
    let target = target.join(FAULT_INJECTION);
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "build",
            "--locked",
            "--profile",
            "bed",
            "--target",
            "wasm32-wasip1",
        ])
        .args([
            "--package",
            "endpoint-picker",
            "--lib",
            "--features",
            FAULT_INJECTION,
        ])
        .arg("--target-dir")
        .arg(&target)
        .current_dir(repository())
        .output()
        .context("cannot run Cargo")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let module = target.join(Path::new("wasm32-wasip1/bed/endpoint_picker.wasm"));
    ensure!(module.exists(), "no module {}", module.display());
    Ok(module)
}
