//! Model servers that answer at once: they read the body, and say the same to everyone.

use std::{
    convert::Infallible,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{runtime, sync::oneshot};

/// What a busy vLLM answers to `GET /metrics`, 52 KB.
const EXPOSITION: &[u8] = include_bytes!("../../../../fixtures/metrics/vllm-0.32-busy.prom");

/// A chat completion as short as they come.
const COMPLETION: &[u8] = br#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"tiny","choices":[{"index":0,"message":{"role":"assistant","content":"Yes."},"finish_reason":"stop"}],"usage":{"prompt_tokens":16,"completion_tokens":2,"total_tokens":18}}"#;

/// The name of the thread that serves, by which its processor time is found.
pub(super) const THREAD: &str = "backend";

/// Many endpoints on one thread of their own, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Backend {
    addresses: Vec<SocketAddr>,
    scrapes: Arc<AtomicUsize>,
    _stop: oneshot::Sender<()>,
}

impl Backend {
    /// Starts `endpoints` servers on free loopback ports.
    ///
    /// # Errors
    ///
    /// When there are no ports, or no thread.
    pub(super) fn start(endpoints: usize) -> Result<Self> {
        let listeners = (0..endpoints)
            .map(|_| {
                let listener = TcpListener::bind(("127.0.0.1", 0))?;
                listener.set_nonblocking(true)?;
                Ok(listener)
            })
            .collect::<Result<Vec<TcpListener>>>()
            .context("cannot listen")?;
        let addresses = listeners
            .iter()
            .map(|listener| Ok(listener.local_addr()?))
            .collect::<Result<_>>()?;
        let scrapes = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&scrapes);
        let (stop, stopped) = oneshot::channel();
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        thread::Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = serve(listeners, counter) => {}
                        _ = stopped => {}
                    }
                });
            })?;
        Ok(Self {
            addresses,
            scrapes,
            _stop: stop,
        })
    }

    /// Where the endpoints are.
    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// How often `/metrics` was asked for, all endpoints together.
    pub(super) fn scrapes(&self) -> usize {
        self.scrapes.load(Ordering::Relaxed)
    }
}

async fn serve(listeners: Vec<TcpListener>, scrapes: Arc<AtomicUsize>) {
    let accepting = listeners.into_iter().map(|listener| {
        let scrapes = Arc::clone(&scrapes);
        async move {
            // A listener that breaks leaves an endpoint that refuses, which shows in the results.
            let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
                return;
            };
            while let Ok((stream, _)) = listener.accept().await {
                let scrapes = Arc::clone(&scrapes);
                // Best effort: without it answers are later, never wrong.
                let _ = stream.set_nodelay(true);
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(request, Arc::clone(&scrapes)));
                    // How a connection ends is its client's to say.
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        }
    });
    futures_util::future::join_all(accepting).await;
}

async fn answer(
    request: Request<Incoming>,
    scrapes: Arc<AtomicUsize>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() == Method::GET && request.uri().path() == "/metrics" {
        scrapes.fetch_add(1, Ordering::Relaxed);
        return Ok(respond(EXPOSITION, "text/plain; version=0.0.4"));
    }
    let mut body = request.into_body();
    // To its end, piece by piece, keeping nothing.
    while let Some(Ok(_)) = body.frame().await {}
    Ok(respond(COMPLETION, "application/json"))
}

fn respond(body: &'static [u8], media_type: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(body)));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}
