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
use http_body_util::BodyExt;
use serde_json::json;

use super::{MODEL_SERVER_HEADER, MetricsFault, State, exposition, journal::Received, openai};

/// No exposition by any reading: bytes that are not UTF-8, braces and quotes that never close,
/// names without values.
const GARBAGE: &[u8] = b"\xff\xfe\x00<html>{{{\"\nvllm:num_requests_waiting{engine=\"0\nvllm:kv_cache_usage_perc\n\x80 = =";

pub(super) fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(openai::chat_completions))
        .route("/v1/completions", post(openai::completions))
        .route("/v1/models", get(openai::models))
        .route("/health", get(StatusCode::OK))
        .route("/metrics", get(metrics))
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
    } else {
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
    let fault = *state.metrics_fault.borrow();
    match fault {
        None => {
            let exposition = exposition::render(state.engine.load());
            ([(CONTENT_TYPE, exposition::CONTENT_TYPE)], exposition).into_response()
        }
        Some(MetricsFault::Hang) => future::pending().await,
        Some(MetricsFault::Garbage) => {
            ([(CONTENT_TYPE, exposition::CONTENT_TYPE)], GARBAGE).into_response()
        }
        Some(MetricsFault::Status(code)) => StatusCode::from_u16(code)
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            .into_response(),
    }
}

/// What FastAPI, which vLLM is served by, answers where nothing is.
async fn not_found(uri: Uri) -> impl IntoResponse {
    (
        StatusCode::NOT_FOUND,
        Json(json!({ "detail": "Not Found", "path": uri.path() })),
    )
}
