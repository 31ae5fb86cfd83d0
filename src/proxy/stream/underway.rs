//! A request on its way: where it counts, until its end.

use std::net::SocketAddr;

use super::routing::Choice;
use crate::{
    load::{Load, Ticket},
    proxy::{
        host,
        worker::{Worker, WorkerPool},
    },
    time::Timestamp,
};

/// What a request that has been routed counts as, at the endpoints of one pool.
#[derive(Debug)]
pub(super) struct Underway {
    /// The pool's index.
    pool: usize,
    /// At the endpoint that answers.
    answering: Ticket,
    /// At the one that reads the prompt, where that is another.
    prefilling: Option<Ticket>,
    /// Whether another endpoint may answer than the one that was chosen.
    may_move: bool,
    /// Whether the first bytes of the answer have come.
    is_read: bool,
}

impl Underway {
    /// Of a request that is sent to `choice` of `pool`, which is the one at `index`.
    pub(super) fn new(
        pool: &mut WorkerPool,
        index: usize,
        choice: &Choice,
        may_move: bool,
        now: Timestamp,
    ) -> Self {
        let reading = Load {
            requests: 1,
            tokens: choice.uncached_tokens,
        };
        let waiting = Load {
            requests: 1,
            tokens: 0,
        };
        let answers = if choice.prefill.is_some() {
            waiting
        } else {
            reading
        };
        let answering = pool.begin(choice.position, answers);
        let prefilling = choice.prefill.map(|position| pool.begin(position, reading));
        pool.after_decision(now);
        Self {
            pool: index,
            answering,
            prefilling,
            may_move,
            is_read: false,
        }
    }

    /// The headers of the answer have come, from whoever gives it.
    pub(super) fn answer_begins(&mut self, worker: &mut Worker) {
        if !self.may_move {
            return;
        }
        let Ok(Some(address)) = host::upstream_address() else {
            return;
        };
        let address = core::str::from_utf8(&address).ok();
        if let Some(address) = address.and_then(|address| address.parse::<SocketAddr>().ok())
            && let Some(pool) = worker.pools.get_mut(self.pool)
        {
            pool.moved(&mut self.answering, address);
        }
    }

    /// The first bytes of the answer's body have come: the prompt has been read.
    pub(super) fn prompt_read(&mut self, worker: &mut Worker) {
        if self.is_read {
            return;
        }
        self.is_read = true;
        if let Some(pool) = worker.pools.get_mut(self.pool) {
            pool.prompt_read(&mut self.answering);
            if let Some(prefilling) = self.prefilling.take() {
                pool.end(prefilling);
            }
        }
    }

    /// It is over, whatever its end.
    pub(super) fn end(self, worker: &mut Worker) {
        if let Some(pool) = worker.pools.get_mut(self.pool) {
            pool.end(self.answering);
            if let Some(prefilling) = self.prefilling {
                pool.end(prefilling);
            }
        }
    }
}
