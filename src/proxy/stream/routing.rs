//! A request's way from what is known of it to its endpoint.

use serde::Serialize;

use super::{
    answer::{Answer, Renamed},
    held::{Held, Known},
    refusal::Refusal,
};
use crate::{
    models::{model_literal, replace},
    proxy::{
        destination,
        host::{self, RequestHeaders},
        worker::{Worker, WorkerPool},
    },
    request::{
        BASE_MODEL_NAME, MODEL_NAME, ModelRoute, Rejection, RequestHints, RequestedModel,
        model_header,
    },
    scheduling::{Decision, Explanation, Terms},
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

/// Sends a request whose body is not read to an endpoint: with a body to the one with the least to
/// do, without one to any that is healthy.
pub(super) fn route_unread(
    worker: &mut Worker,
    headers: Option<&RequestHeaders>,
    hints: &RequestHints,
    has_body: bool,
) -> Result<(), Refusal> {
    let now = host::now()?;
    let index = worker.pool_chooser.of_no_model();
    let pool = worker.pools.get_mut(index).ok_or(Refusal::NoWorker)?;
    let terms = Terms {
        freshness: pool.freshness(now),
        subset: hints.subset.as_deref(),
        ranked: worker.destination.ranked,
    };
    let (scheduler, endpoints, rng) = (&mut pool.scheduler, &pool.pool, &mut worker.rng);
    let decision = if has_body {
        scheduler.schedule(endpoints, terms, rng)
    } else {
        scheduler.any_healthy(endpoints, terms, rng)
    };
    let decision = decision.ok_or_else(|| no_endpoint(&pool.name))?;
    destination::hand_over(&worker.destination, headers, &decision)?;
    let chosen = endpoints.endpoints().element_offset(decision.endpoint());
    pool.routed.extend(chosen);
    pool.metrics.invalid_hints(hints.invalid);
    Ok(())
}

/// Chooses for an inference request, hands the choice over, and tells what is to be done with the
/// answer.
pub(super) fn route(worker: &mut Worker, held: &Held, known: Known) -> Result<Answer, Refusal> {
    let headers = held.headers.as_ref();
    if held.is_empty() {
        route_unread(worker, headers, &held.hints, false)?;
        return Ok(Answer::Passes);
    }
    let now = host::now()?;
    let (hints, requested) = (&held.hints, held.request().model.as_ref());
    let renamed = hints.model_rewrite.as_deref();
    let route = requested
        .map(|model| {
            let (models, pools) = (&worker.models, &worker.pool_chooser);
            ModelRoute::new(&model.name, renamed, models, pools, &mut worker.rng)
        })
        .transpose()?;
    let index = route.map_or_else(|| worker.pool_chooser.of_no_model(), |route| route.pool);
    let pool = worker.pools.get_mut(index).ok_or(Refusal::NoWorker)?;
    let terms = Terms {
        freshness: pool.freshness(now),
        subset: hints.subset.as_deref(),
        ranked: worker.destination.ranked,
    };
    let decision = pool
        .scheduler
        .schedule(&pool.pool, terms, &mut worker.rng)
        .ok_or_else(|| no_endpoint(&pool.name))?;
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
    // The last of the headers: routes are matched anew after each that is set.
    destination::hand_over(&worker.destination, headers, &decision)?;
    let chosen = pool.pool.endpoints().element_offset(decision.endpoint());
    pool.routed.extend(chosen);
    count(pool, held, known);
    Ok(answer)
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
    pool.metrics.invalid_hints(held.hints.invalid);
    match (known, &held.request().model) {
        (Known::Whole, _) => {}
        (Known::Limit, None) => pool.metrics.held_without_model(),
        (Known::Enough | Known::Limit, _) => pool.metrics.decided_early(),
    }
}

fn no_endpoint(pool: &str) -> Rejection {
    Rejection::NoEndpoint {
        pool: pool.to_owned(),
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
        hints: &held.hints,
        explanation: decision.explain(),
    };
    match serde_json::to_string(&entry) {
        Ok(entry) => log::debug!("decision {entry}"),
        Err(error) => log::error!("decision not logged: {error}"),
    }
}
