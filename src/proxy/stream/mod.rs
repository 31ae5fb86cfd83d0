//! The HTTP context: one a request, from its headers to its choice, and the answer to it.
//!
//! An inference request is held until what counts of its body is known, any other is routed at
//! once. How it is held depends on the hand-over: a header can be set only while the headers are
//! held too; for filter state they go on, and Envoy's buffer filter behind this one keeps the router
//! waiting.

mod answer;
#[cfg(feature = "fault-injection")]
mod fault;
mod held;
mod refusal;
mod routing;
mod underway;

use core::{cell::RefCell, mem};
use std::rc::Rc;

use proxy_wasm::{
    traits::{Context, HttpContext},
    types::Action,
};

use self::{
    answer::{Answer, Told},
    held::{Asked, Held, Known},
    refusal::Refusal,
    routing::Routed,
    underway::Underway,
};
use super::{host::RequestHeaders, worker::Worker};
use crate::request::{Api, RequestHead};

pub(super) use refusal::answer_overdue;

/// One request.
#[derive(Debug)]
pub(super) struct Stream {
    context_id: u32,
    /// `None` only of a plugin that was never configured.
    worker: Option<Rc<RefCell<Worker>>>,
    /// What it speaks, for the form of errors.
    api: Option<Api>,
    state: State,
    /// What it counts as, from its choice to its end.
    underway: Option<Underway>,
    answer: Answer,
    /// What the answer tells beside.
    told: Told,
}

#[derive(Debug)]
enum State {
    /// The body is awaited.
    Held(Box<Held>),
    /// On its way to an endpoint.
    Routed,
    /// Answered by Envoy, from here or not.
    Answered,
}

impl Stream {
    pub(super) const fn new(context_id: u32, worker: Option<Rc<RefCell<Worker>>>) -> Self {
        Self {
            context_id,
            worker,
            api: None,
            state: State::Routed,
            underway: None,
            answer: Answer::Passes,
            told: Told::NOTHING,
        }
    }

    fn with_worker<T>(
        &mut self,
        act: impl FnOnce(&mut Self, &mut Worker) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let worker = self.worker.clone().ok_or(Refusal::NoWorker)?;
        let mut worker = worker.try_borrow_mut().map_err(|_| Refusal::NoWorker)?;
        act(self, &mut worker)
    }

    /// Routes a request without a body to read, or holds one that has it.
    fn arrive(&mut self, worker: &mut Worker, end_of_stream: bool) -> Result<(), Refusal> {
        worker.serves_requests = true;
        let headers = RequestHeaders::arrived();
        let all = headers.all()?;
        #[cfg(feature = "fault-injection")]
        fault::obey(&all);
        let head = RequestHead::read(all.iter(), &worker.rules);
        self.api = Api::of_path(head.path);
        for name in &head.removed {
            headers.remove(name)?;
        }
        match head.api() {
            Some(api) if !end_of_stream => {
                let headers = if worker.destination.hand_over.is_header() {
                    Some(headers)
                } else {
                    prepare_to_rename(worker, &headers, &head)?;
                    None
                };
                worker.held.hold(self.context_id, api);
                let explanation = worker.explanation.as_ref();
                let held = Held::new(api, head, headers, worker.prompt_blocks(), explanation);
                self.state = State::Held(Box::new(held));
                Ok(())
            }
            _ => {
                let asked = Asked::of(head, worker.explanation.as_ref());
                let routed = routing::route_unread(worker, Some(&headers), &asked, !end_of_stream)?;
                self.set_out(routed);
                Ok(())
            }
        }
    }

    /// Reads what has come of a held request's body, and routes it if that is enough.
    fn read(&mut self, worker: &mut Worker, size: usize, end: bool) -> Result<(), Refusal> {
        let State::Held(held) = &mut self.state else {
            return Ok(());
        };
        if !worker.held.body_came(self.context_id) {
            self.state = State::Answered;
            return Ok(());
        }
        match held.read(size, end, worker.request)? {
            Some(known) => self.route(worker, known),
            None => Ok(()),
        }
    }

    /// Routes a held request whose body has ended without a last piece.
    fn end(&mut self, worker: &mut Worker) -> Result<(), Refusal> {
        let State::Held(held) = &mut self.state else {
            return Ok(());
        };
        if !worker.held.body_came(self.context_id) {
            self.state = State::Answered;
            return Ok(());
        }
        let known = held.end()?;
        self.route(worker, known)
    }

    fn route(&mut self, worker: &mut Worker, known: Known) -> Result<(), Refusal> {
        if let State::Held(held) = mem::replace(&mut self.state, State::Routed) {
            worker.held.release(self.context_id);
            let routed = routing::route(worker, &held, known)?;
            self.set_out(routed);
        }
        Ok(())
    }

    fn set_out(&mut self, routed: Routed) {
        self.underway = Some(routed.underway);
        self.answer = routed.answer;
        self.told = routed.told;
    }

    /// The headers of the answer have come, from an endpoint or from Envoy.
    fn begin_answer(
        &mut self,
        worker: &mut Worker,
        num_headers: usize,
        end_of_stream: bool,
    ) -> Result<(), Refusal> {
        let underway = self.underway.as_mut();
        let moved_to = underway.and_then(|underway| underway.answer_begins(worker, num_headers));
        if let (Some(moved_to), Some(session)) = (moved_to, &mut self.told.session) {
            session.endpoint = moved_to;
        }
        let answer = mem::take(&mut self.answer);
        self.answer = answer.begin(&worker.destination, &self.told, end_of_stream)?;
        Ok(())
    }

    /// Stops counting a request that is over. Whatever its end, this comes behind it.
    fn settle(&mut self) {
        if let Some(underway) = self.underway.take()
            && let Some(worker) = &self.worker
        {
            match worker.try_borrow_mut() {
                Ok(mut worker) => underway.end(&mut worker),
                Err(error) => log::error!("a request stays in flight: {error}"),
            }
        }
    }

    /// What a callback of the request's body returns after what was done in it.
    fn proceed(&mut self, result: Result<(), Refusal>) -> Action {
        if let Err(refusal) = result {
            self.release();
            self.state = State::Answered;
            refusal::answer(refusal, self.api);
        }
        match self.state {
            State::Routed => Action::Continue,
            State::Held(_) | State::Answered => Action::Pause,
        }
    }

    /// Lets go of a request that is not to be answered any more.
    fn release(&self) {
        if let (State::Held(_), Some(worker)) = (&self.state, &self.worker)
            && let Ok(mut worker) = worker.try_borrow_mut()
        {
            worker.held.release(self.context_id);
        }
    }
}

/// What must be done to the headers before they leave, as long as it is not known whether the model
/// is to be renamed: without a length, the buffer filter behind this one tells the right one.
fn prepare_to_rename(
    worker: &Worker,
    headers: &RequestHeaders,
    head: &RequestHead<'_>,
) -> Result<(), Refusal> {
    let renames = worker.models.rewrites() || worker.headers.trusted.renames_models();
    if renames && head.content_length.is_some() {
        headers.remove(b"content-length")?;
    }
    if renames && worker.models.restores_names() && head.takes_compressed {
        headers.remove(b"accept-encoding")?;
    }
    Ok(())
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.release();
        self.settle();
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _num_headers: usize, end_of_stream: bool) -> Action {
        let arrived = self.with_worker(|stream, worker| stream.arrive(worker, end_of_stream));
        match (&self.state, &arrived) {
            // Without held headers the body is held alone, and Pause here would hold both.
            (State::Held(held), Ok(())) if held.headers.is_none() => Action::Continue,
            _ => self.proceed(arrived),
        }
    }

    fn on_http_request_body(&mut self, body_size: usize, end_of_stream: bool) -> Action {
        let read = match self.state {
            // The size is that of the whole buffer, which grows while the body is paused.
            State::Held(_) => {
                self.with_worker(|stream, worker| stream.read(worker, body_size, end_of_stream))
            }
            State::Routed | State::Answered => Ok(()),
        };
        self.proceed(read)
    }

    /// Trailers end a body whose last chunk did not say that it was the last.
    fn on_http_request_trailers(&mut self, _num_trailers: usize) -> Action {
        let ended = match self.state {
            State::Held(_) => self.with_worker(Self::end),
            State::Routed | State::Answered => Ok(()),
        };
        self.proceed(ended)
    }

    fn on_http_response_headers(&mut self, num_headers: usize, end_of_stream: bool) -> Action {
        match self.state {
            State::Routed => {
                let begun = self.with_worker(|stream, worker| {
                    stream.begin_answer(worker, num_headers, end_of_stream)
                });
                if let Err(error) = begun {
                    log::error!("answer not read: {error}");
                }
            }
            // Envoy has answered it: its body was too large, or it took too long.
            State::Held(_) => {
                self.release();
                self.state = State::Answered;
            }
            State::Answered => {}
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, body_size: usize, end_of_stream: bool) -> Action {
        if let (Some(underway), Some(worker)) = (&mut self.underway, &self.worker)
            && let Ok(mut worker) = worker.try_borrow_mut()
        {
            underway.prompt_read(&mut worker);
        }
        if let Err(error) = self.answer.pass(body_size, end_of_stream) {
            log::error!("answer not read: {error}");
        }
        Action::Continue
    }

    fn on_log(&mut self) {
        self.settle();
    }
}
