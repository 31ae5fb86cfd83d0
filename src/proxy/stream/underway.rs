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

/// More headers than Envoy's own answers have here: three, and what their route adds. Where that is more
/// than one, requests find nobody unreachable, and the scrapes alone tell.
const HEADERS_OF_SERVERS: usize = 5;

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

    /// So many headers of the answer have come, from an endpoint or from Envoy. Tells from whom, if that
    /// is another endpoint than was chosen.
    pub(super) fn answer_begins(
        &mut self,
        worker: &mut Worker,
        num_headers: usize,
    ) -> Option<SocketAddr> {
        let pool = worker.pools.get_mut(self.pool)?;
        let moved_to = self.may_move.then(|| self.follow(pool)).flatten();
        if num_headers < HEADERS_OF_SERVERS
            && let Some(address) = self.answering.address()
            && host::is_unreachable().is_ok_and(|is_unreachable| is_unreachable)
            // A route may lead elsewhere.
            && upstream().is_none_or(|upstream| upstream == address)
        {
            unreachable(pool, address);
        }
        moved_to
    }

    /// Counts where the request is by now. Tells where, if it has gone on.
    fn follow(&mut self, pool: &mut WorkerPool) -> Option<SocketAddr> {
        let address = upstream()?;
        let left = pool.moved(&mut self.answering, address)?;
        // To one of the pool for want of an answer, to any other because its route leads there.
        if pool.pool.get(address).is_some() {
            unreachable(pool, left);
        }
        Some(address)
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

/// Where the request was sent last, if to an address.
fn upstream() -> Option<SocketAddr> {
    let address = host::upstream_address().ok()??;
    core::str::from_utf8(&address).ok()?.parse().ok()
}

fn unreachable(pool: &mut WorkerPool, address: SocketAddr) {
    if let Ok(now) = host::now() {
        pool.unreachable(address, now);
    }
}
