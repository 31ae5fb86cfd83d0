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
    requests: Mutex<Vec<Received>>,
}

impl Journal {
    pub(super) fn record_scrape(&self) {
        lock(&self.scrapes).push(Instant::now());
    }

    pub(super) fn record(&self, request: Received) {
        lock(&self.requests).push(request);
    }

    pub(super) fn scrapes(&self) -> Vec<Instant> {
        lock(&self.scrapes).clone()
    }

    pub(super) fn requests(&self) -> Vec<Received> {
        lock(&self.requests).clone()
    }
}

/// A list is whole after each push, also when the thread that pushed has panicked later.
fn lock<T>(list: &Mutex<T>) -> MutexGuard<'_, T> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}
