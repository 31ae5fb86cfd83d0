//! A request on its way: where it counts, until its end.

use std::net::SocketAddr;

use super::routing::{Choice, Chosen};
use crate::{
    load::{Load, Ticket},
    prefix::{BlockHash, Entered},
    proxy::{
        host::{self, ResponseHeaders},
        worker::{Worker, WorkerPool},
    },
    time::Timestamp,
};

/// More headers than Envoy's own answers have here: three, and what their route adds. Where that is more
/// than one, requests find nobody unreachable, which the scrapes alone tell, and take back no prompt that
/// got nowhere.
const HEADERS_OF_SERVERS: usize = 5;

/// What a request that has been routed counts as, at the endpoints of one pool.
#[derive(Debug)]
pub(super) struct Underway {
    /// The pool's index.
    pool: usize,
    /// At the endpoint that answers.
    answering: Part,
    /// At the one that reads the prompt, where that is another.
    prefilling: Option<Part>,
    /// Whether another endpoint may answer than the one that was chosen.
    may_move: bool,
    /// Whether the first bytes of the answer have come.
    is_read: bool,
}

/// Its part at one of them.
#[derive(Debug)]
struct Part {
    ticket: Ticket,
    /// What was entered there of its prompt, until the answer begins.
    entered: Option<Entered>,
}

impl Part {
    /// What was entered, and where, so that it is kept no longer.
    fn take_entered(&mut self) -> Option<(SocketAddr, Entered)> {
        Some((self.ticket.address()?, self.entered.take()?))
    }
}

impl Underway {
    /// Of a request that is sent to `choice` of `pool`, which is the one at `index`. The `prompt` is to
    /// be entered, if there is any.
    pub(super) fn new(
        pool: &mut WorkerPool,
        index: usize,
        choice: &Choice,
        prompt: Option<&[BlockHash]>,
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
        let answers = if choice.prefilling.is_some() {
            waiting
        } else {
            reading
        };
        let mut begin = |chosen: &Chosen, load, may_move| Part {
            entered: prompt.and_then(|blocks| {
                pool.read(chosen.position, blocks, choice.is_cold);
                Entered::new(blocks, chosen.held, choice.is_cold, may_move)
            }),
            ticket: pool.begin(chosen.position, load),
        };
        let answering = begin(&choice.answering, answers, may_move);
        // Whoever answers, its header names the same one to read the prompt.
        let prefilling = choice
            .prefilling
            .as_ref()
            .map(|chosen| begin(chosen, reading, false));
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
        let to_answer = self.answering.take_entered();
        let to_prefill = self.prefilling.as_mut().and_then(Part::take_entered);
        let moved_to = self.may_move.then(|| self.follow(pool)).flatten();
        let is_unsent = num_headers < HEADERS_OF_SERVERS && self.find_unsent(pool);
        if (is_unsent || moved_to.is_some())
            && let Some((chosen, entered)) = to_answer
        {
            pool.unread(chosen, entered.unread());
            if let Some(moved_to) = moved_to
                && ResponseHeaders::arrived().is_success().unwrap_or_default()
                && let Some(position) = pool.pool.position(moved_to)
            {
                pool.read(position, entered.blocks(), entered.is_cold());
            }
        }
        if is_unsent && let Some((prefiller, entered)) = to_prefill {
            pool.unread(prefiller, entered.unread());
        }
        moved_to
    }

    /// Finds whether Envoy answers because it could send the request to no endpoint. Takes note of one
    /// that it got no connection to.
    fn find_unsent(&self, pool: &mut WorkerPool) -> bool {
        let Ok(flags) = host::response_flags() else {
            return false;
        };
        if flags.is_unreachable()
            && let Some(address) = self.answering.ticket.address()
            // A route may lead elsewhere.
            && upstream().is_none_or(|upstream| upstream == address)
        {
            unreachable(pool, address);
        }
        flags.is_unsent() || host::upstream_address().is_ok_and(|address| address.is_none())
    }

    /// Counts where the request is by now. Tells where, if it has gone on.
    fn follow(&mut self, pool: &mut WorkerPool) -> Option<SocketAddr> {
        let address = upstream()?;
        let left = pool.moved(&mut self.answering.ticket, address)?;
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
            pool.prompt_read(&mut self.answering.ticket);
            if let Some(prefilling) = self.prefilling.take() {
                pool.end(prefilling.ticket);
            }
        }
    }

    /// It is over, whatever its end.
    pub(super) fn end(self, worker: &mut Worker) {
        if let Some(pool) = worker.pools.get_mut(self.pool) {
            pool.end(self.answering.ticket);
            if let Some(prefilling) = self.prefilling {
                pool.end(prefilling.ticket);
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
