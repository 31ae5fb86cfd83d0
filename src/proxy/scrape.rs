//! One scrape: what is sent to an endpoint, and what comes back.

use core::{fmt, time::Duration};
use std::net::SocketAddr;

use super::host::{self, HostError};
use crate::{
    request::ORIGINAL_DST_HOST,
    scraping::{ScrapeSettings, Secret},
};

/// Expositions are tens of kilobytes, with many adapters some hundreds. A larger body is no
/// exposition, and reading it would leave the VM that large for good.
const MAX_EXPOSITION_BYTES: usize = 4 << 20;

/// What is sent to one endpoint, scrape after scrape.
#[derive(Debug)]
pub(super) struct ScrapeRequest {
    cluster: String,
    path: String,
    /// Where the exposition is, as `ip:port`.
    target: String,
    headers: Vec<(String, Secret)>,
    timeout: Duration,
}

impl ScrapeRequest {
    /// The request that scrapes the endpoint at `endpoint`.
    pub(super) fn new(settings: ScrapeSettings, endpoint: SocketAddr) -> Self {
        Self {
            target: settings.target_of(endpoint).to_string(),
            cluster: settings.cluster,
            path: settings.path,
            headers: settings.headers.into_iter().collect(),
            timeout: settings.timeout,
        }
    }

    /// Sends it. The answer comes by this token.
    pub(super) fn send(&self) -> Result<u32, Failure> {
        let configured = self.headers.iter();
        let configured = configured.map(|(name, value)| (name.as_str(), value.reveal()));
        let headers: Vec<_> = [(ORIGINAL_DST_HOST, self.target.as_str())]
            .into_iter()
            .chain(configured)
            .collect();
        host::dispatch_get(
            &self.cluster,
            &self.path,
            &self.target,
            &headers,
            self.timeout,
        )
        .map_err(|error| Failure::NotSent {
            cluster: self.cluster.clone(),
            error,
        })
    }
}

/// Where it goes.
impl fmt::Display for ScrapeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.target, self.path)
    }
}

/// The exposition that came, inside the callback that tells of it.
pub(super) fn read_answer(num_headers: usize, body_size: usize) -> Result<Vec<u8>, Failure> {
    // A broken call has no headers, and asking for one would be refused.
    if num_headers == 0 {
        return Err(Failure::Broken);
    }
    match host::call_response_status().map_err(Failure::Unreadable)? {
        Some(200) if body_size <= MAX_EXPOSITION_BYTES => {
            host::call_response_body(body_size).map_err(Failure::Unreadable)
        }
        Some(200) => Err(Failure::TooLarge(body_size)),
        status => Err(Failure::Status(status)),
    }
}

/// Why a scrape brought nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// Envoy did not take the call.
    NotSent {
        /// Through which cluster.
        cluster: String,
        /// What Envoy says of it.
        error: HostError,
    },
    /// The call ended without an answer.
    Broken,
    /// Envoy did not give the answer out.
    Unreadable(HostError),
    /// It was answered, by the endpoint or by Envoy in its place, and not with 200.
    Status(Option<u16>),
    /// The body is larger than an exposition may be.
    TooLarge(usize),
}

impl Failure {
    /// Whether it tells that the endpoint is not there: that its metrics cannot be read, or come late,
    /// does not keep it from serving.
    pub(super) const fn is_absence(&self) -> bool {
        matches!(self, Self::Broken | Self::Status(Some(503)))
    }

    /// What it is counted as.
    pub(super) const fn reason(&self) -> FailureReason {
        match self {
            Self::NotSent { .. } => FailureReason::NotSent,
            Self::Broken | Self::Unreadable(_) => FailureReason::NoAnswer,
            Self::Status(Some(503)) => FailureReason::Unavailable,
            Self::Status(Some(504)) => FailureReason::Timeout,
            Self::Status(_) => FailureReason::Status,
            Self::TooLarge(_) => FailureReason::TooLarge,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent { cluster, error } => write!(
                f,
                "Envoy does not send it through the cluster {cluster:?}: there is none, it has no host \
                 by the header {ORIGINAL_DST_HOST}, or its circuit breaker is open ({error})"
            ),
            Self::Broken => f.write_str("the connection broke before the answer was complete"),
            Self::Unreadable(error) => error.fmt(f),
            Self::Status(Some(503)) => f.write_str("status 503, or nothing to connect to"),
            Self::Status(Some(504)) => f.write_str("no answer in time"),
            Self::Status(Some(status)) => write!(f, "status {status}"),
            Self::Status(None) => f.write_str("no status"),
            Self::TooLarge(size) => write!(f, "{size} bytes, more than {MAX_EXPOSITION_BYTES}"),
        }
    }
}

/// The failures that are told apart where they are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureReason {
    /// Envoy did not take the call: the cluster is unknown, has no host or no room.
    NotSent,
    /// The connection broke before the answer was complete.
    NoAnswer,
    /// No answer within the timeout.
    Timeout,
    /// Nothing to connect to, or a server that says so of itself.
    Unavailable,
    /// Another status than 200.
    Status,
    /// A body that is too large to be an exposition.
    TooLarge,
}

impl FailureReason {
    pub(super) const ALL: [Self; 6] = [
        Self::NotSent,
        Self::NoAnswer,
        Self::Timeout,
        Self::Unavailable,
        Self::Status,
        Self::TooLarge,
    ];

    /// Its name in the filter's metrics.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::NotSent => "not_sent",
            Self::NoAnswer => "no_answer",
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::Status => "status",
            Self::TooLarge => "too_large",
        }
    }
}
