//! What a simulated model server has received.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use hyper::{HeaderMap, Method, Uri};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// Its method.
    pub method: Method,
    /// Its target: path and query.
    pub uri: Uri,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its whole body.
    pub body: Bytes,
    /// The trailer fields after its body, if there were any.
    pub trailers: Option<HeaderMap>,
}

/// All that was received, scrapes apart from the rest: they come on their own, many times a second.
#[derive(Debug, Default)]
pub(super) struct Journal {
    scrapes: Mutex<Vec<Instant>>,
    last_scrape: Mutex<HeaderMap>,
    requests: Mutex<Vec<Received>>,
}

impl Journal {
    pub(super) fn record_scrape(&self, headers: HeaderMap) {
        *lock(&self.last_scrape) = headers;
        lock(&self.scrapes).push(Instant::now());
    }

    pub(super) fn record(&self, request: Received) {
        lock(&self.requests).push(request);
    }

    pub(super) fn scrapes(&self) -> Vec<Instant> {
        lock(&self.scrapes).clone()
    }

    /// The header fields of the last scrape.
    pub(super) fn last_scrape(&self) -> HeaderMap {
        lock(&self.last_scrape).clone()
    }

    pub(super) fn requests(&self) -> Vec<Received> {
        lock(&self.requests).clone()
    }
}

/// What is kept is whole after each change, also when the thread that made it has panicked later.
fn lock<T>(kept: &Mutex<T>) -> MutexGuard<'_, T> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}
