//! One HTTP connection at a time, with everything a client may send.
//!
//! An Envoy connection stays with the worker that accepted it, so a test that asks for the next
//! request on the same worker sends it on the same [`Connection`]. No pool, no redirects, no
//! headers of its own but `host`.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    HeaderMap, Request, Response, StatusCode, Uri,
    body::{Frame, Incoming},
    client::conn::{http1, http2},
    header::{HOST, HeaderValue},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::de::DeserializeOwned;
use tokio::{net::TcpStream, sync::mpsc, task::JoinHandle};

use crate::{model_server::MODEL_SERVER_HEADER, poll};

/// How long a response may take to begin, and then to end. Simulated model servers answer at once;
/// a request that hangs is one that the filter has lost.
const PATIENCE: Duration = Duration::from_secs(60);

/// The body of a request: [`empty`], [`whole`], [`chunked`],
/// [`with_trailers`] or [`fed`].
pub type Body = BoxBody<Bytes, Infallible>;

/// No body at all.
#[must_use]
pub fn empty() -> Body {
    whole(Bytes::new())
}

/// A body whose length is told in advance.
pub fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed()
}

/// A body in pieces of `size` bytes, whose length is not told: `transfer-encoding: chunked`, or as
/// many DATA frames.
pub fn chunked(bytes: impl Into<Bytes>, size: usize) -> Body {
    pieces(&bytes.into(), size, None)
}

/// As [`chunked`], and trailers after it. HTTP/1.1 sends only those which the request's `trailer`
/// header announces.
pub fn with_trailers(bytes: impl Into<Bytes>, size: usize, trailers: HeaderMap) -> Body {
    pieces(&bytes.into(), size, Some(trailers))
}

/// A body whose pieces are sent one by one, when they are put into the channel; it ends with the
/// channel.
#[must_use]
pub fn fed(pieces: mpsc::Receiver<Bytes>) -> Body {
    let frames = stream::unfold(pieces, async |mut pieces| {
        let piece = pieces.recv().await?;
        Some((Ok(Frame::data(piece)), pieces))
    });
    BodyExt::boxed(StreamBody::new(frames))
}

fn pieces(bytes: &Bytes, size: usize, trailers: Option<HeaderMap>) -> Body {
    let mut frames: Vec<Frame<Bytes>> = bytes
        .chunks(size.max(1))
        .map(|piece| Frame::data(bytes.slice_ref(piece)))
        .collect();
    frames.extend(trailers.map(Frame::trailers));
    BodyExt::boxed(StreamBody::new(stream::iter(frames.into_iter().map(Ok))))
}

/// A whole response.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its whole body.
    pub body: Bytes,
}

impl Reply {
    /// The simulated model server that made it; none when Envoy did.
    #[must_use]
    pub fn model_server(&self) -> Option<SocketAddr> {
        self.headers
            .get(MODEL_SERVER_HEADER)?
            .to_str()
            .ok()?
            .parse()
            .ok()
    }

    /// Its body, as JSON.
    ///
    /// # Errors
    ///
    /// When it is something else.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("not the JSON expected: {}", self.text()))
    }

    /// Its body, as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The version of HTTP that a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, with header names as `Title-Case`.
    Http1,
    /// HTTP/2 without TLS, by prior knowledge.
    Http2,
}

/// A connection, closed when it is dropped.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    sender: Sender,
    driver: JoinHandle<()>,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    ///
    /// When nothing listens there.
    pub async fn open(address: SocketAddr, protocol: Protocol) -> Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("cannot connect to {address}"))?;
        // Otherwise a body in pieces waits for acknowledgements that the other side delays.
        stream.set_nodelay(true)?;
        let stream = TokioIo::new(stream);
        // How a connection ended shows in the request that was on it; its driver has nothing to
        // add.
        let (sender, driver) = match protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::Builder::new()
                    .title_case_headers(true)
                    .handshake(stream)
                    .await?;
                (
                    Sender::Http1(sender),
                    tokio::spawn(async { _ = connection.await }),
                )
            }
            Protocol::Http2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
                (
                    Sender::Http2(sender),
                    tokio::spawn(async { _ = connection.await }),
                )
            }
        };
        Ok(Self {
            address,
            sender,
            driver,
        })
    }

    /// Sends a request whose URI is a path, and returns the response when its body is complete.
    ///
    /// # Errors
    ///
    /// When the connection ends before that, or the response is not there in time.
    pub async fn send(&mut self, request: Request<Body>) -> Result<Reply> {
        let response = self.begin(request).await?;
        poll::within("the end of a response", PATIENCE, async {
            let (head, body) = response.into_parts();
            let body = body
                .collect()
                .await
                .context("the response broke off")?
                .to_bytes();
            Ok(Reply {
                status: head.status,
                headers: head.headers,
                body,
            })
        })
        .await
    }

    /// As [`Connection::send`], but returns as soon as the response has begun.
    ///
    /// # Errors
    ///
    /// When the connection ends before that, or the response does not begin in time.
    pub async fn begin(&mut self, request: Request<Body>) -> Result<Response<Incoming>> {
        let what = format!(
            "an answer to {} {} from {}",
            request.method(),
            request.uri(),
            self.address
        );
        poll::within(&what, PATIENCE, self.sender.send(request, self.address))
            .await
            .context(what.clone())
    }
}

impl Sender {
    async fn send(
        &mut self,
        mut request: Request<Body>,
        address: SocketAddr,
    ) -> Result<Response<Incoming>> {
        let response = match self {
            Self::Http1(sender) => {
                let host = HeaderValue::from_str(&address.to_string())?;
                request.headers_mut().entry(HOST).or_insert(host);
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Self::Http2(sender) => {
                let path = request
                    .uri()
                    .path_and_query()
                    .map_or("/", |path| path.as_str());
                *request.uri_mut() = Uri::builder()
                    .scheme("http")
                    .authority(address.to_string())
                    .path_and_query(path)
                    .build()?;
                sender.ready().await?;
                sender.send_request(request).await?
            }
        };
        Ok(response)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
