//! The load: as much as goes through, or a given rate.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Method, Request, Uri,
    client::conn::http1::{self, SendRequest},
    header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue},
};
use hyper_util::rt::TokioIo;
use rand::{SeedableRng, distr::Distribution};
use rand_chacha::ChaCha8Rng;
use rand_distr::Exp;
use tokio::{
    net::TcpStream,
    runtime,
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use super::{machine::Snapshot, statistics::Durations};

/// The name of the thread that makes the load, by which its processor time is found.
pub(super) const THREAD: &str = "client";

/// Names the endpoint where nothing on the way does.
const DESTINATION: HeaderName = HeaderName::from_static("x-envoy-original-dst-host");

/// Connections of the closed loop, one request on each at any time: enough to keep one Envoy worker
/// busy without a pause, and few enough that their bodies fit into its buffers.
const CLOSED_CONNECTIONS: usize = 64;

/// Connections of the open loop. A request that finds all of them in use waits, and its latency
/// counts from when it should have been sent.
const OPEN_CONNECTIONS: usize = 64;

/// How long answers may be late after the last request of an open loop.
const PATIENCE: Duration = Duration::from_secs(10);

type Sender = SendRequest<Full<Bytes>>;

/// Requests that are all the same but for the endpoint they name, which changes by turns. Every
/// variant gets the same ones; what picks for itself removes that header.
#[derive(Debug)]
pub(super) struct Requests {
    envoy: SocketAddr,
    headers: HeaderMap,
    body: Bytes,
    destinations: Vec<HeaderValue>,
    turn: AtomicUsize,
}

impl Requests {
    /// # Errors
    ///
    /// Never: addresses are valid header values.
    pub(super) fn new(envoy: SocketAddr, body: Bytes, endpoints: &[SocketAddr]) -> Result<Self> {
        let value = |address: &SocketAddr| HeaderValue::from_str(&address.to_string());
        let mut headers = HeaderMap::new();
        headers.insert(HOST, value(&envoy)?);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(Self {
            envoy,
            headers,
            body,
            destinations: endpoints.iter().map(value).collect::<Result<_, _>>()?,
            turn: AtomicUsize::new(0),
        })
    }

    fn next(&self) -> Request<Full<Bytes>> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_static("/v1/chat/completions");
        *request.headers_mut() = self.headers.clone();
        let destination = self
            .destinations
            .get(turn % self.destinations.len().max(1))
            .cloned();
        if let Some(destination) = destination {
            request.headers_mut().insert(DESTINATION, destination);
        }
        request
    }

    async fn connect(&self) -> Result<Sender> {
        let stream = TcpStream::connect(self.envoy)
            .await
            .with_context(|| format!("cannot connect to {}", self.envoy))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // How it ended shows in the request that was on it.
        tokio::spawn(async { _ = connection.await });
        Ok(sender)
    }

    /// Sends one and reads the answer to its end. Anything but success is an error: a bench in which
    /// requests are refused measures something else.
    async fn exchange(&self, sender: &mut Sender) -> Result<()> {
        sender.ready().await?;
        let response = sender.send_request(self.next()).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        ensure!(
            status.is_success(),
            "a request was answered {status}: {}",
            String::from_utf8_lossy(&body)
        );
        Ok(())
    }
}

/// What went through a closed loop.
#[derive(Debug)]
pub(super) struct Saturation {
    /// Requests a second.
    pub(super) rate: f64,
    /// The processors when the measuring began.
    pub(super) before: Snapshot,
    /// The processors when it was over.
    pub(super) after: Snapshot,
}

/// Sends requests on [`CLOSED_CONNECTIONS`] connections, on each the next as soon as the last is
/// answered, first for the time `warm_up`, then for the time `window`, in which is measured.
///
/// # Errors
///
/// When a request is not answered with success, or a process of `processes` is gone.
pub(super) async fn saturate(
    requests: Requests,
    warm_up: Duration,
    window: Duration,
    processes: Vec<i32>,
) -> Result<Saturation> {
    on_thread(async move {
        let requests = Arc::new(requests);
        let answered = Arc::new(AtomicU64::new(0));
        let mut connections = JoinSet::new();
        for _ in 0..CLOSED_CONNECTIONS {
            let (requests, answered) = (Arc::clone(&requests), Arc::clone(&answered));
            connections.spawn(async move {
                let mut sender = requests.connect().await?;
                loop {
                    requests.exchange(&mut sender).await?;
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let measuring = async {
            tokio::time::sleep(warm_up).await;
            let before = Snapshot::take(&processes)?;
            let (began, count) = (Instant::now(), answered.load(Ordering::Relaxed));
            tokio::time::sleep(window).await;
            let count = answered.load(Ordering::Relaxed) - count;
            let elapsed = began.elapsed();
            let after = Snapshot::take(&processes)?;
            let rate = count as f64 / elapsed.as_secs_f64();
            Ok(Saturation {
                rate,
                before,
                after,
            })
        };
        tokio::select! {
            done = measuring => done,
            Some(failed) = connections.join_next() => match failed? {
                Ok(()) => bail!("a connection has ended"),
                Err::<(), _>(error) => Err(error),
            },
        }
    })
    .await
}

/// What an open loop has measured.
#[derive(Debug, Default)]
pub(super) struct Latencies {
    /// From when a request should have been sent until its answer was complete.
    pub(super) latency: Durations,
    /// From when a request should have been sent until it was.
    pub(super) lag: Durations,
}

/// Sends requests at `rate` a second, at random times as of many independent clients (Poisson),
/// whether or not those before are answered, first for the time `warm_up`, then for the time
/// `window`, of whose requests latencies are measured.
///
/// The thread does not sleep until the next request but asks the clock all the time, since timers
/// are coarser than the latencies.
///
/// # Errors
///
/// As [`saturate`].
pub(super) async fn at_rate(
    requests: Requests,
    rate: f64,
    warm_up: Duration,
    window: Duration,
    seed: u64,
) -> Result<Latencies> {
    on_thread(async move {
        let requests = Arc::new(requests);
        let (done, mut results) = mpsc::unbounded_channel();
        let mut idle = Vec::new();
        for _ in 0..OPEN_CONNECTIONS {
            idle.push(requests.connect().await?);
        }
        let mut measured = Latencies::default();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let gaps = Exp::new(rate)?;
        let mut under_way = 0_usize;
        let measured_from = Instant::now() + warm_up;
        let end = measured_from + window;
        let mut due = Instant::now();
        while due < end || under_way > 0 {
            while let Ok(result) = results.try_recv() {
                let (sender, sent_late, latency): (Sender, Duration, Option<Duration>) = result?;
                under_way -= 1;
                idle.push(sender);
                if let Some(latency) = latency {
                    measured.lag.record(sent_late);
                    measured.latency.record(latency);
                }
            }
            let now = Instant::now();
            ensure!(
                now < end + PATIENCE,
                "{under_way} requests are not answered after {PATIENCE:?}"
            );
            if due < end
                && due <= now
                && let Some(mut sender) = idle.pop()
            {
                let (requests, done, intended) = (Arc::clone(&requests), done.clone(), due);
                under_way += 1;
                tokio::spawn(async move {
                    let sent_late = intended.elapsed();
                    let result = requests.exchange(&mut sender).await;
                    let latency = (intended >= measured_from).then(|| intended.elapsed());
                    // The receiver is gone only when another request has failed before.
                    let _ = done.send(result.map(|()| (sender, sent_late, latency)));
                });
                due += Duration::from_secs_f64(gaps.sample(&mut rng));
            } else {
                tokio::task::yield_now().await;
            }
        }
        Ok(measured)
    })
    .await
}

/// Runs `load` on a thread of its own, which ends with it.
async fn on_thread<T: Send + 'static>(
    load: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let (done, result) = oneshot::channel();
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    thread::Builder::new()
        .name(THREAD.to_owned())
        .spawn(move || {
            // Nobody waits for it any more when the bench was stopped.
            let _ = done.send(runtime.block_on(load));
        })?;
    result.await.context("the thread with the load has ended")?
}
