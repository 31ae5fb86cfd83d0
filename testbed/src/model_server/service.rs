//! The HTTP interface: which path is answered by what, and what all answers have in common.

use std::{future, sync::Arc};

use axum::{
    Json, Router,
    body::Body,
    extract::{DefaultBodyLimit, Request, State as FromState},
    http::{HeaderValue, Method, StatusCode, Uri, header::CONTENT_TYPE},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::json;

use super::{
    Backend, Faults, MODEL_SERVER_HEADER, MetricsFault, State, dialect, journal::Received, openai,
};

/// No exposition by any reading: bytes that are not UTF-8, braces and quotes that never close,
/// names without values.
const GARBAGE: &[u8] = b"\xff\xfe\x00<html>{{{\"\n\
    vllm:num_requests_waiting{engine=\"0\n\
    vllm:kv_cache_usage_perc\n\
    \x80 = =";

pub(super) fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(openai::chat_completions))
        .route("/v1/completions", post(openai::completions))
        .route("/v1/models", get(openai::models))
        .route("/health", get(StatusCode::OK))
        .route("/metrics", get(metrics))
        .route(
            "/simulator/faults",
            get(faults).put(set_faults).delete(clear_faults),
        )
        .route("/simulator/restart", post(restart))
        .fallback(not_found)
        // Prompts with images in them are larger than axum's limit of 2 MB.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(Arc::clone(&state), record))
        .with_state(state)
}

/// Notes every request down before it is answered, and signs every answer.
async fn record(FromState(state): FromState<Arc<State>>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let Ok(collected) = body.collect().await else {
        // The client is gone, or its framing is broken: nobody reads this.
        return StatusCode::BAD_REQUEST.into_response();
    };
    let trailers = collected.trailers().cloned();
    let body = collected.to_bytes();
    if head.method == Method::GET && head.uri.path() == "/metrics" {
        state.journal.record_scrape();
    } else if matches!(state.backend, Backend::Canned(_)) {
        state.journal.record(Received {
            method: head.method.clone(),
            uri: head.uri.clone(),
            headers: head.headers.clone(),
            body: body.clone(),
            trailers,
        });
    }
    let mut response = next.run(Request::from_parts(head, Body::from(body))).await;
    if let Ok(address) = HeaderValue::from_str(&state.address.to_string()) {
        response.headers_mut().insert(MODEL_SERVER_HEADER, address);
    }
    response
}

async fn metrics(FromState(state): FromState<Arc<State>>) -> Response {
    let fault = state.faults.borrow().metrics.clone();
    let exposition = || match &state.backend {
        Backend::Canned(engine) => dialect::with_load(engine.load()),
        Backend::Simulated(simulator) => simulator.render(),
    };
    let head = [(CONTENT_TYPE, dialect::CONTENT_TYPE)];
    match fault {
        None => (head, exposition()).into_response(),
        Some(MetricsFault::Missing(families)) => {
            (head, dialect::without_families(&exposition(), &families)).into_response()
        }
        Some(MetricsFault::Hang) => future::pending().await,
        Some(MetricsFault::Garbage) => (head, GARBAGE).into_response(),
        Some(MetricsFault::Status(code)) => StatusCode::from_u16(code)
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            .into_response(),
    }
}

async fn faults(FromState(state): FromState<Arc<State>>) -> Json<Faults> {
    Json(state.faults.borrow().clone())
}

async fn set_faults(FromState(state): FromState<Arc<State>>, body: Bytes) -> Response {
    let faults = serde_json::from_slice(&body)
        .map_err(anyhow::Error::from)
        .and_then(|faults: Faults| faults.check().map(|()| faults));
    match faults {
        Ok(faults) => {
            state.faults.send_replace(faults.clone());
            Json(faults).into_response()
        }
        Err(error) => {
            let error = json!({ "error": error.to_string() });
            (StatusCode::BAD_REQUEST, Json(error)).into_response()
        }
    }
}

async fn clear_faults(FromState(state): FromState<Arc<State>>) -> Json<Faults> {
    state.faults.send_replace(Faults::default());
    faults(FromState(state)).await
}

async fn restart(FromState(state): FromState<Arc<State>>) -> StatusCode {
    state.restart();
    StatusCode::NO_CONTENT
}

/// What FastAPI, which vLLM is served by, answers where nothing is.
async fn not_found(uri: Uri) -> impl IntoResponse {
    (
        StatusCode::NOT_FOUND,
        Json(json!({ "detail": "Not Found", "path": uri.path() })),
    )
}
