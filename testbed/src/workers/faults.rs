//! Requests that end in every way there is. What they were counted as is settled then, to the last.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use clap::ValueEnum;
use http_body_util::BodyExt;
use hyper::{
    Request, Response,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

use crate::{
    client::{self, Body, Connection, Protocol},
    decision::{Decision, InFlight, thread_of},
    envoy::{Configuration, Envoy, LOG_DELAY, REQUEST_CLUSTER},
    model_server::{Faults, ModelServer, SimulatorConfig},
    poll,
};

/// The path of every request that asks a model.
const PATH: &str = "/v1/chat/completions";

/// The header of requests whose route is short of time.
const HURRIED: HeaderName = HeaderName::from_static("x-hurried");

/// The time of such a route: shorter than the long answers take.
const HURRY: &str = "0.010s";

/// The header of requests whose route has no room for any.
const CROWDED: HeaderName = HeaderName::from_static("x-crowded");

/// Tokens of a long answer.
const LONG_ANSWER: usize = 200;

/// Simulated seconds in a real one: a token takes some 50 microseconds.
const TIME_SCALE: f64 = 200.0;

/// The longest that a client waits before it leaves.
const LEAVES_WITHIN: Duration = Duration::from_millis(8);

/// How long any request may take that nobody gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the workers have to tell each other that all is over, before they are asked.
const QUIET: Duration = Duration::from_millis(500);

/// What is wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Nothing on the client's side.
    None,
    /// Nothing, and the answer is streamed.
    NoneStreamed,
    /// The client leaves before an answer has begun, or soon after.
    LeavesEarly,
    /// The client leaves in the middle of the answer.
    LeavesMidway,
    /// The client leaves in the middle of its body, before the choice has fallen.
    LeavesBeforeDecision,
    /// The client leaves in the middle of its body, of which enough has come for the choice.
    LeavesAfterDecision,
    /// The route's time is over before the answer.
    TimesOut,
    /// Envoy has no room for it once the choice has fallen.
    FindsNoRoom,
    /// The body is no JSON.
    IsMalformed,
    /// It asks no model anything.
    AsksNoModel,
}

/// Servers of which some answers fail and some break off.
///
/// # Errors
///
/// When one does not start.
pub async fn unreliable_servers(count: usize) -> Result<Vec<ModelServer>> {
    let mut servers = Vec::new();
    for _ in 0..count {
        let server = ModelServer::simulate(SimulatorConfig {
            time_scale: TIME_SCALE,
            ..SimulatorConfig::default()
        })
        .await?;
        server.set_faults(Faults {
            errors: 0.05,
            resets: 0.05,
            ..Faults::default()
        })?;
        servers.push(server);
    }
    Ok(servers)
}

/// A configuration in which a route runs out of time and another of room.
///
/// # Errors
///
/// When the configuration has no place for it.
pub fn unreliable(configuration: Configuration) -> Result<Configuration> {
    let asked_by = |header: HeaderName| json!({ "prefix": "/", "headers": [{ "name": header.as_str(), "present_match": true }] });
    let mut configuration = configuration
        .with_route(&json!({ "match": asked_by(HURRIED), "route": { "timeout": HURRY } }))?
        .with_route(&json!({ "match": asked_by(CROWDED), "route": { "priority": "HIGH" } }))?;
    let cluster = configuration.cluster(REQUEST_CLUSTER)?;
    let thresholds = cluster.pointer_mut("/circuit_breakers/thresholds");
    let thresholds = thresholds.and_then(Value::as_array_mut);
    thresholds
        .context("no limits of requests")?
        .push(json!({ "priority": "HIGH", "max_requests": 0, "max_pending_requests": 0 }));
    Ok(configuration)
}

/// What came of requests: how many, by what was wrong with them and how they ended.
pub type Ends = BTreeMap<(Fault, String), usize>;

/// Sends so many requests, `at_once` of them at a time, each with a fault that is drawn.
///
/// # Errors
///
/// When a client fails to make a request at all.
pub async fn misbehave(
    envoy: SocketAddr,
    requests: usize,
    at_once: usize,
    seed: u64,
) -> Result<Ends> {
    let ends = Arc::new(Mutex::new(Ends::new()));
    let sent = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for number in 0..at_once {
        let (ends, sent) = (Arc::clone(&ends), Arc::clone(&sent));
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(number as u64);
        let client = Client::new(envoy, number % 2 == 1);
        clients.spawn(async move {
            while sent.fetch_add(1, Ordering::Relaxed) < requests {
                let faults = Fault::value_variants();
                let drawn = faults.get(random.random_range(0..faults.len()));
                let fault = drawn.copied().unwrap_or(Fault::None);
                let end = client.send(fault, &mut random).await?;
                let mut ends = ends.lock().unwrap_or_else(PoisonError::into_inner);
                *ends.entry((fault, end)).or_default() += 1;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = clients.join_next().await {
        done??;
    }
    let ends = ends.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(ends.clone())
}

/// A client with connections of its own, which breaks some of them.
struct Client {
    http: legacy::Client<HttpConnector, Body>,
    envoy: SocketAddr,
}

impl Client {
    fn new(envoy: SocketAddr, http2: bool) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        Self {
            http: builder.http2_only(http2).build(connector),
            envoy,
        }
    }

    /// Sends a request, and tells how it ended.
    async fn send(&self, fault: Fault, random: &mut ChaCha8Rng) -> Result<String> {
        let number: u32 = random.random();
        let content = format!("{number} {}", "and so on ".repeat(number as usize % 200));
        let tokens = match fault {
            Fault::None | Fault::NoneStreamed => 1 + number as usize % 8,
            _ => LONG_ANSWER,
        };
        let body = json!({
            "model": SimulatorConfig::default().model,
            "stream": !matches!(fault, Fault::None | Fault::TimesOut | Fault::FindsNoRoom),
            "max_tokens": tokens,
            "messages": [{ "role": "user", "content": content }],
        })
        .to_string();
        let leaves = LEAVES_WITHIN.mul_f64(random.random());
        match fault {
            Fault::None | Fault::NoneStreamed => self.read(self.post(client::whole(body))?).await,
            Fault::TimesOut | Fault::FindsNoRoom => {
                let mut request = self.post(client::whole(body))?;
                let route = match fault {
                    Fault::TimesOut => HURRIED,
                    _ => CROWDED,
                };
                let value = HeaderValue::from_static("yes");
                request.headers_mut().insert(route, value);
                self.read(request).await
            }
            Fault::IsMalformed => self.read(self.post(client::whole("{\"model\":"))?).await,
            Fault::AsksNoModel => {
                let url = format!("http://{}/v1/models", self.envoy);
                self.read(Request::get(url).body(client::empty())?).await
            }
            Fault::LeavesEarly => {
                let request = self.post(client::whole(body))?;
                match timeout(leaves, self.read(request)).await {
                    Ok(end) => end,
                    Err(_) => Ok("left".to_owned()),
                }
            }
            Fault::LeavesMidway => match self.begin(self.post(client::whole(body))?).await {
                Ok(response) => {
                    let status = response.status();
                    let _ = timeout(PATIENCE, response.into_body().frame()).await;
                    Ok(format!("left after {status}"))
                }
                Err(end) => Ok(end),
            },
            Fault::LeavesBeforeDecision => {
                self.break_off("{\"model\":\"llama\"".into(), leaves).await
            }
            Fault::LeavesAfterDecision => {
                // So much of a prompt that no filter waits for the rest.
                let prompt = "and so on ".repeat(60_000);
                let model = SimulatorConfig::default().model;
                let beginning = format!("{{\"model\":\"{model}\",\"prompt\":\"{prompt}");
                self.break_off(beginning, leaves).await
            }
        }
    }

    /// Sends the beginning of a body, waits a while, and breaks off.
    async fn break_off(&self, beginning: String, leaves: Duration) -> Result<String> {
        let (feed, pieces) = mpsc::channel(1);
        feed.send(Bytes::from(beginning)).await?;
        let request = self.post(client::fed(pieces))?;
        let answer = timeout(leaves, self.begin(request)).await;
        drop(feed);
        Ok(match answer {
            Err(_) => "left".to_owned(),
            Ok(Ok(response)) => format!("answered {}", response.status()),
            Ok(Err(end)) => end,
        })
    }

    fn post(&self, body: Body) -> Result<Request<Body>> {
        let request = Request::post(format!("http://{}{PATH}", self.envoy));
        Ok(request
            .header(CONTENT_TYPE, "application/json")
            .body(body)?)
    }

    /// The beginning of an answer, or how the request ended without.
    async fn begin(&self, request: Request<Body>) -> Result<Response<Incoming>, String> {
        match timeout(PATIENCE, self.http.request(request)).await {
            Err(_) => Err("no answer".to_owned()),
            Ok(Err(_)) => Err("no connection".to_owned()),
            Ok(Ok(response)) => Ok(response),
        }
    }

    /// Reads an answer to its end.
    async fn read(&self, request: Request<Body>) -> Result<String> {
        let response = match self.begin(request).await {
            Ok(response) => response,
            Err(end) => return Ok(end),
        };
        let status = response.status();
        Ok(
            match timeout(PATIENCE, response.into_body().collect()).await {
                Err(_) => format!("{status}, without end"),
                Ok(Err(_)) => format!("{status}, broken off"),
                Ok(Ok(_)) => status.to_string(),
            },
        )
    }
}

/// What each worker says to be in flight, once nothing is: asks until every worker has said that it
/// is nothing.
///
/// # Errors
///
/// When one never says so; the error says what is left.
pub async fn none_in_flight(envoy: &Envoy, workers: usize) -> Result<()> {
    tokio::time::sleep(QUIET).await;
    envoy.log_decisions(true).await?;
    // The filter asks for the level at its ticks.
    tokio::time::sleep(QUIET).await;
    let mut settled = BTreeSet::new();
    let mut last = BTreeMap::new();
    let mut asked = 0;
    let outcome = poll::until(
        "every worker to say that nothing is in flight",
        PATIENCE,
        async || {
            let id = format!("settled-{asked}");
            asked += 1;
            let (worker, in_flight) = ask(envoy, &id).await?;
            last.insert(worker, in_flight);
            if in_flight == InFlight::default() {
                settled.insert(worker);
            }
            Ok((settled.len() >= workers).then_some(()))
        },
    )
    .await;
    outcome.with_context(|| format!("said last, by worker: {last:?}"))?;
    envoy.log_decisions(false).await
}

/// What the worker that gets a request on a connection of its own says to be in flight before it.
async fn ask(envoy: &Envoy, id: &str) -> Result<(u32, InFlight)> {
    let body = json!({
        "model": SimulatorConfig::default().model,
        "max_tokens": 1,
        "messages": [{ "role": "user", "content": id }],
    });
    let request = Request::post(PATH)
        .header(CONTENT_TYPE, "application/json")
        .header("x-request-id", id)
        .body(client::whole(body.to_string()))?;
    let mut connection = Connection::open(envoy.address(), Protocol::Http1).await?;
    // However it ends: a server may be one that fails.
    let _ = connection.send(request).await;
    let of_id = format!("\"requestId\":\"{id}\"");
    poll::until("a decision", LOG_DELAY, async || {
        let lines = envoy.log_lines_containing(&of_id);
        let Some(line) = lines.first() else {
            return Ok(None);
        };
        let decision = Decision::in_line(line).context("not a decision")?;
        let worker = thread_of(line).context("a line of no thread")?;
        Ok(Some((worker, decision.in_flight()?)))
    })
    .await
}
