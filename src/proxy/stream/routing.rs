//! A request's way from what is known of it to its endpoint.

use serde::Serialize;

use super::{
    answer::{Answer, Renamed, SessionToken, Told},
    held::{Asked, Held, Known},
    refusal::Refusal,
    underway::Underway,
};
use crate::{
    config::ExplanationSettings,
    models::{model_literal, replace},
    proxy::{
        destination,
        host::{self, RequestHeaders},
        worker::{Worker, WorkerPool},
    },
    request::{
        BASE_MODEL_NAME, HeaderRules, MODEL_NAME, ModelRoute, Rejection, RequestHints,
        RequestedModel, model_header,
    },
    scheduling::{Decision, Explanation, NoCandidate, Request, Terms, View},
};

/// A decision, as the log has it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DecisionLog<'a> {
    request_id: Option<&'a str>,
    pool: &'a str,
    model: Option<&'a str>,
    /// What the server is asked for, where that is another.
    target_model: Option<&'a str>,
    stream: bool,
    prompt_bytes: u64,
    /// Whether it fell before all of the body had come.
    early: bool,
    hints: &'a RequestHints,
    #[serde(flatten)]
    explanation: Explanation<'a>,
}

/// A request that has been handed over.
#[derive(Debug)]
pub(super) struct Routed {
    pub(super) underway: Underway,
    /// What is done with the answer's body.
    pub(super) answer: Answer,
    /// What the answer tells beside.
    pub(super) told: Told,
}

/// Candidates that a line of the log tells of: a pool may have a thousand.
const LOGGED_CANDIDATES: usize = 50;

/// What is left of a decision when its borrows are over.
pub(super) struct Choice {
    /// The endpoint that answers.
    pub(super) answering: Chosen,
    /// The one that reads the prompt, where that is another.
    pub(super) prefilling: Option<Chosen>,
    /// Tokens of the prompt that whoever reads it has not in its cache.
    pub(super) uncached_tokens: u64,
    pub(super) is_cold: bool,
}

/// Sends a request whose body is not read to an endpoint: with a body to the one with the least to
/// do, without one to any that is healthy.
pub(super) fn route_unread(
    worker: &mut Worker,
    headers: Option<&RequestHeaders>,
    asked: &Asked,
    has_body: bool,
) -> Result<Routed, Refusal> {
    let now = host::now()?;
    let index = worker.pool_chooser.of_no_model();
    let pool = worker.pools.get_mut(index).ok_or(Refusal::NoWorker)?;
    let terms = Terms {
        freshness: pool.freshness(now),
        subset: asked.hints.subset.as_deref(),
        ranked: worker.destination.ranked,
        request: Request {
            path: &asked.path,
            headers: &asked.watched,
            ..Request::default()
        },
    };
    let view = View {
        pool: &pool.pool,
        load: &pool.load,
        prefixes: &pool.prefixes,
    };
    let decision = if has_body {
        pool.scheduler.schedule(view, terms, &mut worker.rng)
    } else {
        pool.scheduler.any_healthy(view, terms, &mut worker.rng)
    };
    let decision = decision.map_err(|none| refuse(&pool.name, asked, none))?;
    let told = told(worker.explanation.as_ref(), &worker.rules, asked, &decision);
    destination::hand_over(&worker.destination, headers, &decision)?;
    let choice = Choice::of(&decision);
    pool.metrics.invalid_hints(asked.hints.invalid);
    let may_move = worker.destination.hand_over.may_move();
    Ok(Routed {
        underway: Underway::new(pool, index, &choice, None, may_move, now),
        answer: Answer::Passes,
        told,
    })
}

/// Chooses for an inference request, hands the choice over, and tells what is to be done with the
/// answer.
pub(super) fn route(worker: &mut Worker, held: &Held, known: Known) -> Result<Routed, Refusal> {
    let headers = held.headers.as_ref();
    let asked = &held.asked;
    if held.is_empty() {
        return route_unread(worker, headers, asked, false);
    }
    let now = host::now()?;
    let (inference, requested) = (held.request(), held.request().model.as_ref());
    let renamed = asked.hints.model_rewrite.as_deref();
    let route = requested
        .map(|model| {
            let (models, pools) = (&worker.models, &worker.pool_chooser);
            ModelRoute::new(&model.name, renamed, models, pools, &mut worker.rng)
        })
        .transpose()?;
    let index = route.map_or_else(|| worker.pool_chooser.of_no_model(), |route| route.pool);
    let pool = worker.pools.get_mut(index).ok_or(Refusal::NoWorker)?;
    worker.blocks.clear();
    if pool.scheduler.needs_prefixes() {
        let scope = inference.scope(route.as_ref());
        worker.blocks.extend(inference.prompt.block_hashes(scope));
    }
    let terms = Terms {
        freshness: pool.freshness(now),
        subset: asked.hints.subset.as_deref(),
        ranked: worker.destination.ranked,
        request: Request {
            blocks: &worker.blocks,
            block_tokens: inference.prompt.block_tokens(),
            prompt_tokens: held.prompt_tokens(),
            model: route.as_ref().map(|route| route.target),
            path: &asked.path,
            headers: &asked.watched,
        },
    };
    let view = View {
        pool: &pool.pool,
        load: &pool.load,
        prefixes: &pool.prefixes,
    };
    let decision = pool.scheduler.schedule(view, terms, &mut worker.rng);
    let decision = decision.map_err(|none| refuse(&pool.name, asked, none))?;
    if log::log_enabled!(log::Level::Debug) {
        log_decision(&pool.name, held, known, route.as_ref(), &decision);
    }

    let mut answer = Answer::Passes;
    if let (Some(model), Some(route)) = (requested, &route) {
        if worker.headers.model_headers
            && let Some(headers) = headers
        {
            tell_model(headers, route)?;
        }
        if route.is_renamed() {
            rename(held, model, route.target)?;
            if worker.models.restores_names() {
                answer = expect_renamed(held, route)?;
            }
        }
    }
    let told = told(worker.explanation.as_ref(), &worker.rules, asked, &decision);
    if let Some(headers) = headers {
        destination::name_workers(&pool.disaggregation_headers, headers, &decision)?;
    }
    // The last of the headers: routes are matched anew after each that is set.
    destination::hand_over(&worker.destination, headers, &decision)?;
    let choice = Choice::of(&decision);
    count(pool, held, known);
    let prompt = pool.scheduler.needs_prefixes().then_some(&*worker.blocks);
    let may_move = worker.destination.hand_over.may_move();
    Ok(Routed {
        underway: Underway::new(pool, index, &choice, prompt, may_move, now),
        answer,
        told,
    })
}

/// An endpoint that was chosen.
pub(super) struct Chosen {
    pub(super) position: usize,
    /// How many of the first blocks of the prompt it held.
    pub(super) held: usize,
}

impl Chosen {
    const fn new(position: usize, held: u32) -> Self {
        Self {
            position,
            held: held as usize,
        }
    }
}

impl Choice {
    fn of(decision: &Decision<'_>) -> Self {
        Self {
            answering: Chosen::new(decision.position(), decision.held_blocks()),
            prefilling: decision
                .prefill_position()
                .zip(decision.prefill_held_blocks())
                .map(|(position, held)| Chosen::new(position, held)),
            uncached_tokens: decision
                .prefill_uncached_tokens()
                .unwrap_or_else(|| decision.uncached_tokens()),
            is_cold: decision.is_cold(),
        }
    }
}

/// The answer to a request for which `pool` has nobody. It tells the client no filter; the log does.
fn refuse(pool: &str, asked: &Asked, none: NoCandidate) -> Rejection {
    let path = String::from_utf8_lossy(&asked.path);
    log::debug!("pool '{pool}': no decision on {path}: {none}");
    none.rejection(pool)
}

/// What the answer is to tell: the session's endpoint, and why it was chosen to those who may ask.
fn told(
    settings: Option<&ExplanationSettings>,
    rules: &HeaderRules,
    asked: &Asked,
    decision: &Decision<'_>,
) -> Told {
    let endpoint = decision.endpoint().address();
    let session = decision.session();
    let asked = settings.filter(|_| asked.wants_explanation);
    Told {
        session: session.and_then(|place| SessionToken::new(place, &rules.watched, endpoint)),
        explanation: asked.map(|settings| {
            let explanation = decision.explain().to_json(settings.max_bytes);
            (settings.response_header.clone(), explanation)
        }),
    }
}

/// Tells the routes that are matched from here on which model is asked for. Of a name that no
/// header can have nothing is told.
fn tell_model(headers: &RequestHeaders, route: &ModelRoute<'_>) -> Result<(), Refusal> {
    for (name, model) in [(MODEL_NAME, route.requested), (BASE_MODEL_NAME, route.base)] {
        if let Some(value) = model_header(model) {
            headers.set(name, value)?;
        }
    }
    Ok(())
}

/// Puts `target` in the place of the model that the body names.
fn rename(held: &Held, model: &RequestedModel, target: &str) -> Result<(), Refusal> {
    let literal = model_literal(target);
    let body = held.body()?;
    let renamed = replace(&body, model.span.clone(), &literal);
    host::set_request_body(&renamed)?;
    if let (Some(headers), Some(length)) = (&held.headers, held.content_length) {
        let length =
            (length + literal.len() as u64).saturating_sub(model.span.end - model.span.start);
        headers.set("content-length", &length.to_string())?;
    }
    Ok(())
}

/// Makes sure that the answer can be read, for the requested name to be put back.
fn expect_renamed(held: &Held, route: &ModelRoute<'_>) -> Result<Answer, Refusal> {
    if let (Some(headers), true) = (&held.headers, held.takes_compressed) {
        headers.remove(b"accept-encoding")?;
    }
    Ok(Answer::Renamed(Box::new(Renamed {
        requested: route.requested.to_owned(),
        served: route.target.to_owned(),
    })))
}

fn count(pool: &WorkerPool, held: &Held, known: Known) {
    pool.metrics.invalid_hints(held.asked.hints.invalid);
    match (known, &held.request().model) {
        (Known::Whole, _) => {}
        (Known::Limit, None) => pool.metrics.held_without_model(),
        (Known::Enough | Known::Limit, _) => pool.metrics.decided_early(),
    }
}

fn log_decision(
    pool: &str,
    held: &Held,
    known: Known,
    route: Option<&ModelRoute<'_>>,
    decision: &Decision<'_>,
) {
    let request = held.request();
    let entry = DecisionLog {
        request_id: held.request_id.as_deref(),
        pool,
        model: route.map(|route| route.requested),
        target_model: route
            .filter(|route| route.is_renamed())
            .map(|route| route.target),
        stream: request.stream,
        prompt_bytes: request.prompt.counts().text_bytes,
        early: known != Known::Whole,
        hints: &held.asked.hints,
        explanation: decision.explain().with_candidates(LOGGED_CANDIDATES),
    };
    match serde_json::to_string(&entry) {
        Ok(entry) => log::debug!("decision {entry}"),
        Err(error) => log::error!("decision not logged: {error}"),
    }
}
