//! What the tests have in common: requests, loads, and what holds after every one of them.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use hyper::{Request, StatusCode, header::HeaderValue};
use serde_json::{Value, json};
use testbed::{
    bed::{Bed, loads_known},
    client::{self, Body, Connection, Protocol, Reply},
    decision::Decision,
    envoy::{Configuration, Envoy, HandOver, WORKERS},
    model_server::{Load, ModelServer, Received},
    poll,
};

/// The path of chat completions.
pub(crate) const CHAT: &str = "/v1/chat/completions";

/// The scrape interval of tests that do not measure time: short, so that they begin soon.
pub(crate) const INTERVAL: Duration = Duration::from_millis(100);

/// So long that metrics do not get stale within a test, though a machine may stand still for seconds.
pub(crate) const NEVER_STALE: &str = "10m";

/// So long that no scrape fails for being late.
pub(crate) const NEVER_LATE: &str = "1m";

/// How long anything may take that is waited for: far longer than it takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The kernel spreads connections over the workers at random: that so many miss one is a chance of
/// 2 in 2^64.
const ENOUGH_CONNECTIONS: usize = 65;

/// A queue of this length and an empty KV cache. Queues that are to decide differ by hundreds: what
/// the filter has in flight itself counts as well, and another worker's a tick late.
pub(crate) fn queue(waiting: u32) -> Load {
    Load {
        waiting,
        ..Load::default()
    }
}

/// No queue and a KV cache of which this share is used.
pub(crate) fn kv_cache(kv_cache_usage: f64) -> Load {
    Load {
        kv_cache_usage,
        ..Load::default()
    }
}

/// A shipped configuration that scrapes at this interval, also servers without traffic, and takes
/// neither metrics for stale nor scrapes for failed because the machine was slow.
pub(crate) fn scraping_every(interval: Duration, hand_over: HandOver) -> Result<Configuration> {
    let interval = format!("{}ms", interval.as_millis());
    let metrics = json!({
        "interval": interval, "idleInterval": interval,
        "staleAfter": NEVER_STALE, "timeout": NEVER_LATE,
    });
    Configuration::shipped(hand_over)?.merge_plugin_configuration(&json!({ "metrics": metrics }))
}

/// Model servers, and others that have their metrics, with queues of these lengths.
pub(crate) async fn servers_and_metrics(
    queues: &[u32],
) -> Result<(Vec<ModelServer>, Vec<ModelServer>)> {
    let (mut servers, mut metrics) = (Vec::new(), Vec::new());
    for waiting in queues {
        servers.push(ModelServer::start().await?);
        let other = ModelServer::start().await?;
        other.set_load(queue(*waiting));
        metrics.push(other);
    }
    Ok((servers, metrics))
}

/// These model servers as a pool, each with the metrics of another one: what is known of a server
/// outlives it.
pub(crate) fn with_metrics_of(others: &[ModelServer], servers: &[ModelServer]) -> Value {
    let pool = servers.iter().zip(others).map(|(server, other)| {
        json!({ "address": server.address(), "scrape": { "address": other.address() } })
    });
    pool.collect()
}

/// A bed with these loads, for tests that do not measure time.
pub(crate) async fn bed(hand_over: HandOver, loads: &[Load]) -> Result<Bed> {
    Bed::start(scraping_every(INTERVAL, hand_over)?, loads).await
}

/// A bed with these loads and this change of the filter's configuration.
pub(crate) async fn bed_with(hand_over: HandOver, patch: &Value, loads: &[Load]) -> Result<Bed> {
    let configuration = scraping_every(INTERVAL, hand_over)?.merge_plugin_configuration(patch)?;
    Bed::start(configuration, loads).await
}

/// The body of a short chat completion.
pub(crate) fn chat_body() -> String {
    chat_body_with("Hello")
}

/// The body of a chat completion of `size` bytes. The text counts, so that a piece that is lost,
/// doubled or out of order shows.
pub(crate) fn chat_body_of(size: usize) -> String {
    let length = size - chat_body_with("").len();
    let mut content = String::with_capacity(size);
    let mut number = 0;
    while content.len() < length {
        content.push_str(&format!("{number} "));
        number += 1;
    }
    content.truncate(length);
    chat_body_with(&content)
}

fn chat_body_with(content: &str) -> String {
    json!({ "model": "llama", "messages": [{ "role": "user", "content": content }] }).to_string()
}

/// A short chat completion that asks for this model.
pub(crate) fn chat_for(model: &str) -> Result<Request<Body>> {
    let body = json!({ "model": model, "messages": [{ "role": "user", "content": "Hello" }] });
    post(CHAT, client::whole(body.to_string()))
}

/// The model that a model server was asked for.
pub(crate) fn model_of(received: &Received) -> Result<String> {
    let body: Value = serde_json::from_slice(&received.body)?;
    let model = body.get("model").and_then(Value::as_str);
    Ok(model.context("no model")?.to_owned())
}

/// A `POST` of JSON.
pub(crate) fn post(path: &str, body: Body) -> Result<Request<Body>> {
    Ok(Request::post(path)
        .header("content-type", "application/json")
        .body(body)?)
}

/// A short chat completion.
pub(crate) fn chat() -> Result<Request<Body>> {
    post(CHAT, client::whole(chat_body()))
}

/// A short chat completion under an id by which its decision is found.
pub(crate) fn chat_as(id: &str) -> Result<Request<Body>> {
    let mut request = chat()?;
    let id = HeaderValue::from_str(id)?;
    request.headers_mut().insert("x-request-id", id);
    Ok(request)
}

/// A chat completion of many prefix blocks, under an id by which its decision is found.
pub(crate) fn long_chat_as(id: &str) -> Result<Request<Body>> {
    let mut request = post(CHAT, client::whole(chat_body_of(8 << 10)))?;
    let id = HeaderValue::from_str(id)?;
    request.headers_mut().insert("x-request-id", id);
    Ok(request)
}

/// How much of the prompt each of these servers held before a decision, 0 to 1.
pub(crate) fn held_by(decision: &Decision, servers: &[SocketAddr]) -> Result<Vec<f64>> {
    let held = servers.iter().map(|server| {
        let candidate = decision.candidate(*server);
        let held = candidate.and_then(|candidate| candidate.scores.get("prefix-cache"));
        held.copied()
            .with_context(|| format!("{server}: {decision:?}"))
    });
    held.collect()
}

/// A `GET`.
pub(crate) fn get(path: &str) -> Result<Request<Body>> {
    Ok(Request::get(path).body(client::empty())?)
}

/// Sends a request that must be answered with 200, and returns the model server that did so.
pub(crate) async fn served_by(
    connection: &mut Connection,
    request: Request<Body>,
) -> Result<SocketAddr> {
    let reply = connection.send(request).await?;
    ensure!(
        reply.status == StatusCode::OK,
        "answered {}: {}",
        reply.status,
        reply.text()
    );
    server_of(&reply)
}

/// The model server that answered.
pub(crate) fn server_of(reply: &Reply) -> Result<SocketAddr> {
    reply
        .model_server()
        .with_context(|| format!("Envoy answered {}: {}", reply.status, reply.text()))
}

/// Addresses of model servers.
pub(crate) fn addresses(servers: &[ModelServer]) -> Vec<SocketAddr> {
    servers.iter().map(ModelServer::address).collect()
}

/// Waits until each of these servers was scraped `count` times more, and returns how often each was.
/// None was scraped more often than every `interval`, however long that took.
///
/// Time is cut into intervals, and a scrape made in each: one that is held up comes late, and never a
/// second one. So there are no more of them than cuts in the span, with one that was sent before and
/// arrived in it, and one of which the interval had begun before.
pub(crate) async fn scraped_no_more_than_every(
    interval: Duration,
    servers: &[&ModelServer],
    count: usize,
) -> Result<Vec<usize>> {
    let start = Instant::now();
    let before: Vec<usize> = servers.iter().map(|it| it.scrapes().len()).collect();
    let counts = || {
        let counts = servers.iter().zip(&before);
        counts
            .map(|(server, before)| server.scrapes().len() - before)
            .collect::<Vec<_>>()
    };
    poll::until("scrapes", PATIENCE, async || {
        let counts = counts();
        let all = counts.iter().all(|it| *it >= count);
        Ok(all.then_some(()))
    })
    .await?;
    let counts = counts();
    let most = start.elapsed().div_duration_f64(interval) + 3.0;
    assert!(
        counts.iter().all(|it| *it as f64 <= most),
        "{counts:?} scrapes at most every {interval:?} in {:?}",
        start.elapsed()
    );
    Ok(counts)
}

/// Connections of which every worker has at least one.
pub(crate) async fn connections_to_every_worker(
    envoy: &Envoy,
    protocol: Protocol,
) -> Result<Vec<Connection>> {
    let mut connections = Vec::new();
    while connections.len() < ENOUGH_CONNECTIONS {
        let mut connection = Connection::open(envoy.address(), protocol).await?;
        // Answered, and so counted by the worker that accepted it.
        served_by(&mut connection, get("/v1/models")?).await?;
        connections.push(connection);
        let listener = envoy.stats("listener.").await?;
        let workers = listener
            .iter()
            .filter(|(name, active)| {
                name.contains(".worker_") && name.ends_with(".downstream_cx_active") && **active > 0
            })
            .count();
        if u64::try_from(workers)? == WORKERS {
            return Ok(connections);
        }
    }
    anyhow::bail!("{ENOUGH_CONNECTIONS} connections, and a worker without one")
}

/// Waits until the loads of these servers are known, also to a worker whose thread got no processor:
/// one that has answered on its connection since they were published has ticked when it reads the
/// next request there.
pub(crate) async fn loads_known_to(
    connections: &mut [Connection],
    servers: impl IntoIterator<Item = &ModelServer>,
) -> Result<()> {
    loads_known(servers).await?;
    for connection in connections {
        served_by(connection, get("/v1/models")?).await?;
    }
    Ok(())
}

/// How often something may be said that is said once: by each VM that has scraped, since one whose
/// thread gets no time loses that to another before it can tell what it has said.
pub(crate) fn once_a_scraper(envoy: &Envoy) -> RangeInclusive<usize> {
    1..=envoy.log_lines_containing("this VM scrapes").len()
}

/// What the filter counts of the pool.
pub(crate) async fn filter_stats(envoy: &Envoy) -> Result<BTreeMap<String, u64>> {
    const PREFIX: &str = "wasmcustom.endpoint_picker.default.";
    let stats = envoy.stats(PREFIX).await?.into_iter();
    Ok(stats
        .filter_map(|(name, value)| Some((name.strip_prefix(PREFIX)?.to_owned(), value)))
        .collect())
}

/// Asserts that the filter has neither panicked nor been reloaded in any worker since Envoy
/// started.
pub(crate) async fn assert_filter_never_failed(envoy: &Envoy) -> Result<()> {
    let stats = envoy.stats("wasm.").await?;
    assert!(
        stats.contains_key("wasm.endpoint_picker.vm_reload"),
        "Envoy counts no reloads: {stats:?}"
    );
    let failures = |name: &str| {
        ["vm_reload", "fail", "crash"]
            .iter()
            .any(|word| name.contains(word))
    };
    let failed: Vec<_> = stats
        .iter()
        .filter(|(name, count)| failures(name) && **count > 0)
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
    for sign in ["panicked", "RuntimeError", "request not routed"] {
        assert_eq!(envoy.log_lines_containing(sign), Vec::<String>::new());
    }
    Ok(())
}

/// How often Envoy has sent a request on to another model server.
pub(crate) async fn retries(envoy: &Envoy) -> Result<u64> {
    let stats = envoy
        .stats("cluster.model-servers.upstream_rq_retry")
        .await?;
    let retries = stats.get("cluster.model-servers.upstream_rq_retry");
    Ok(*retries.context("no such counter")?)
}
