//! The HTTP interface: which path is answered by what, and what all answers have in common.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Body,
    extract::{DefaultBodyLimit, Request, State as FromState},
    http::{HeaderValue, StatusCode, Uri},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;
use hyper::{body::Body as _, header::CONTENT_LENGTH};
use serde_json::json;

use super::{Backend, Faults, MODEL_SERVER_HEADER, State, api, journal::Received, metrics};

/// What is answered on the port where requests come.
pub(super) fn router(state: Arc<State>) -> Router {
    let router = Router::new()
        .merge(api::router())
        .route("/health", get(StatusCode::OK))
        .route(
            "/simulator/faults",
            get(faults).put(set_faults).delete(clear_faults),
        )
        .route("/simulator/restart", post(restart))
        .fallback(not_found)
        // Prompts with images in them are larger than axum's limit of 2 MB.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(Arc::clone(&state), record))
        .layer(middleware::from_fn_with_state(Arc::clone(&state), cut));
    let router = if state.access.own_port {
        router
    } else {
        router.merge(metrics::router(&state.access))
    };
    signed(router, state)
}

/// What is answered on the port that metrics have for themselves.
pub(super) fn metrics_router(state: Arc<State>) -> Router {
    signed(metrics::router(&state.access), state)
}

fn signed(router: Router<Arc<State>>, state: Arc<State>) -> Router {
    router
        .layer(middleware::from_fn_with_state(Arc::clone(&state), sign))
        .with_state(state)
}

/// Says in every answer whose it is.
async fn sign(FromState(state): FromState<Arc<State>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Ok(address) = HeaderValue::from_str(&state.address.to_string()) {
        response.headers_mut().insert(MODEL_SERVER_HEADER, address);
    }
    response
}

/// Notes a request down before it is answered.
async fn record(FromState(state): FromState<Arc<State>>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let Ok(collected) = body.collect().await else {
        // The client is gone, or its framing is broken: nobody reads this.
        return StatusCode::BAD_REQUEST.into_response();
    };
    let trailers = collected.trailers().cloned();
    let body = collected.to_bytes();
    if matches!(state.backend, Backend::Canned(_)) {
        state.journal.record(Received {
            method: head.method.clone(),
            uri: head.uri.clone(),
            headers: head.headers.clone(),
            body: body.clone(),
            trailers,
        });
    }
    next.run(Request::from_parts(head, Body::from(body))).await
}

/// Writes an answer in pieces, if it is to be; a length that is known is still told.
async fn cut(FromState(state): FromState<Arc<State>>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let Some(pieces) = *state.pieces.borrow() else {
        return response;
    };
    let (mut head, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact() {
        head.headers.insert(CONTENT_LENGTH, length.into());
    }
    let cut = body.into_data_stream().flat_map(move |data| {
        let pieces: Vec<_> = match data {
            Ok(data) => data
                .chunks(pieces.size.max(1))
                .map(|piece| Ok(data.slice_ref(piece)))
                .collect(),
            Err(error) => vec![Err(error)],
        };
        stream::iter(pieces)
    });
    let paced = cut.then(move |piece| async move {
        tokio::time::sleep(pieces.pause).await;
        piece
    });
    Response::from_parts(head, Body::from_stream(paced))
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
