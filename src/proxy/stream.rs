//! The HTTP context: one a request, from its headers to its choice.
//!
//! An inference request is held until its body is complete, any other is routed at once. How
//! it is held depends on the hand-over: a header can be set only while the headers are held too;
//! for filter state they go on, and Envoy's buffer filter behind this one keeps the router
//! waiting.

use core::cell::RefCell;
use std::rc::Rc;

use proxy_wasm::{
    traits::{Context, HttpContext},
    types::Action,
};
use serde::Serialize;

use super::{
    destination::{self, HandOverError},
    host::{self, HostError, RequestHeaders},
    worker::Worker,
};
use crate::{
    config::schema::HandOver,
    request::{Api, InferenceRequest, MalformedBody, Rejection},
    scheduling::{Decision, Explanation},
};

/// One request.
#[derive(Debug)]
pub(super) struct Stream {
    /// `None` only of a plugin that was never configured.
    worker: Option<Rc<RefCell<Worker>>>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The body is awaited.
    Held(Held),
    /// On its way to an endpoint.
    Routed,
    /// Answered from here.
    Answered,
}

#[derive(Debug)]
struct Held {
    api: Api,
    /// Where they are held too.
    headers: Option<RequestHeaders>,
    /// Bytes of the body so far.
    buffered: usize,
    /// For the log, and read only where it is written.
    request_id: Option<String>,
}

/// Why a request is not routed.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error(transparent)]
    Host(#[from] HostError),
    #[error(transparent)]
    HandOver(#[from] HandOverError),
    #[error("the worker's state is in use or was never configured")]
    NoWorker,
}

impl From<MalformedBody> for Refusal {
    fn from(error: MalformedBody) -> Self {
        Self::Rejected(error.into())
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DecisionLog<'a> {
    request_id: Option<&'a str>,
    model: Option<&'a str>,
    stream: bool,
    prompt_bytes: usize,
    #[serde(flatten)]
    explanation: Explanation<'a>,
}

impl Stream {
    pub(super) const fn new(worker: Option<Rc<RefCell<Worker>>>) -> Self {
        Self {
            worker,
            state: State::Routed,
        }
    }

    /// Routes a request without a body to read, or holds one that has it.
    fn arrive(&self, end_of_stream: bool) -> Result<State, Refusal> {
        let headers = RequestHeaders::arrived();
        destination::strip(&headers)?;
        let api = if end_of_stream {
            None
        } else {
            inference_api(&headers)?
        };
        let Some(api) = api else {
            self.route_anywhere(Some(&headers))?;
            return Ok(State::Routed);
        };
        let request_id = if log::log_enabled!(log::Level::Debug) {
            headers
                .get("x-request-id")?
                .and_then(|id| String::from_utf8(id).ok())
        } else {
            None
        };
        let headers = match self.with_worker(|worker| Ok(worker.hand_over))? {
            HandOver::OriginalDstHeader => Some(headers),
            HandOver::OriginalDstFilterState => None,
        };
        Ok(State::Held(Held {
            api,
            headers,
            buffered: 0,
            request_id,
        }))
    }

    /// Sends a request that is no inference to any healthy endpoint.
    fn route_anywhere(&self, headers: Option<&RequestHeaders>) -> Result<(), Refusal> {
        let now = host::now()?;
        self.with_worker(|worker| {
            let freshness = worker.freshness(now);
            let endpoint = worker
                .scheduler
                .any_healthy(&worker.pool, freshness, &mut worker.rng)
                .ok_or_else(|| no_endpoint(&worker.pool_name))?;
            destination::hand_over(worker.hand_over, headers, endpoint.host_port())?;
            worker
                .routed
                .extend(worker.pool.endpoints().element_offset(endpoint));
            Ok(())
        })
    }

    /// Reads the body of a held request and routes it.
    fn decide(&self, held: &Held) -> Result<(), Refusal> {
        if held.buffered == 0 {
            return self.route_anywhere(held.headers.as_ref());
        }
        let body = host::request_body(held.buffered)?;
        self.route(held, &InferenceRequest::parse(held.api, &body)?)
    }

    /// Chooses for an inference request, and hands the choice over.
    fn route(&self, held: &Held, request: &InferenceRequest<'_>) -> Result<(), Refusal> {
        let now = host::now()?;
        self.with_worker(|worker| {
            let freshness = worker.freshness(now);
            let decision = worker
                .scheduler
                .schedule(&worker.pool, freshness, &mut worker.rng)
                .ok_or_else(|| no_endpoint(&worker.pool_name))?;
            if log::log_enabled!(log::Level::Debug) {
                log_decision(held, request, &decision);
            }
            let endpoint = decision.endpoint();
            let headers = held.headers.as_ref();
            destination::hand_over(worker.hand_over, headers, endpoint.host_port())?;
            worker
                .routed
                .extend(worker.pool.endpoints().element_offset(endpoint));
            Ok(())
        })
    }

    fn with_worker<T>(
        &self,
        act: impl FnOnce(&mut Worker) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let worker = self.worker.as_ref().ok_or(Refusal::NoWorker)?;
        let mut worker = worker.try_borrow_mut().map_err(|_| Refusal::NoWorker)?;
        worker.serves_requests = true;
        act(&mut worker)
    }

    /// Reads and routes what is held.
    fn finish(&mut self) -> Action {
        match core::mem::replace(&mut self.state, State::Routed) {
            State::Held(held) => match self.decide(&held) {
                Ok(()) => Action::Continue,
                Err(refusal) => self.answer(refusal),
            },
            other => self.rest(other),
        }
    }

    /// What a callback returns when there is nothing left to do in it.
    fn rest(&mut self, state: State) -> Action {
        self.state = state;
        match self.state {
            State::Routed => Action::Continue,
            State::Held(_) | State::Answered => Action::Pause,
        }
    }

    fn answer(&mut self, refusal: Refusal) -> Action {
        let rejection = match refusal {
            Refusal::Rejected(rejection) => rejection,
            other => {
                log::error!("request not routed: {other}");
                Rejection::Internal
            }
        };
        self.state = State::Answered;
        let body = rejection.body();
        if let Err(error) = host::local_reply(rejection.status(), "application/json", &body) {
            log::error!("{error}");
        }
        Action::Pause
    }
}

/// The API whose body is to be read: of a `POST` to one of its paths.
fn inference_api(headers: &RequestHeaders) -> Result<Option<Api>, HostError> {
    let path = headers.get(":path")?.unwrap_or_default();
    let Some(api) = Api::of_path(&path) else {
        return Ok(None);
    };
    let is_post = headers.get(":method")?.as_deref() == Some(b"POST");
    Ok(is_post.then_some(api))
}

fn no_endpoint(pool: &str) -> Rejection {
    Rejection::NoEndpoint {
        pool: pool.to_owned(),
    }
}

fn log_decision(held: &Held, request: &InferenceRequest<'_>, decision: &Decision<'_>) {
    let entry = DecisionLog {
        request_id: held.request_id.as_deref(),
        model: request.model.as_deref(),
        stream: request.stream,
        prompt_bytes: request.prompt.bytes(),
        explanation: decision.explain(),
    };
    match serde_json::to_string(&entry) {
        Ok(entry) => log::debug!("decision {entry}"),
        Err(error) => log::error!("decision not logged: {error}"),
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _num_headers: usize, end_of_stream: bool) -> Action {
        match self.arrive(end_of_stream) {
            // Without held headers the body is held alone, and Pause here would hold both.
            Ok(State::Held(held)) if held.headers.is_none() => {
                self.state = State::Held(held);
                Action::Continue
            }
            Ok(state) => self.rest(state),
            Err(refusal) => self.answer(refusal),
        }
    }

    fn on_http_request_body(&mut self, body_size: usize, end_of_stream: bool) -> Action {
        match &mut self.state {
            State::Held(held) => {
                // The size of the whole buffer, which grows while the body is paused.
                held.buffered = body_size;
                if end_of_stream {
                    self.finish()
                } else {
                    Action::Pause
                }
            }
            State::Routed => Action::Continue,
            State::Answered => Action::Pause,
        }
    }

    /// Trailers end a body whose last chunk did not say that it was the last.
    fn on_http_request_trailers(&mut self, _num_trailers: usize) -> Action {
        self.finish()
    }
}
