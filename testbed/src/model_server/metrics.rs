//! How a model server answers when it is asked for its metrics.

use std::{future, io, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::State as FromState,
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::{StreamExt, stream};

use super::{Backend, MetricsFault, State, dialect};

/// No exposition by any reading: bytes that are not UTF-8, braces and quotes that never close,
/// names without values.
const GARBAGE: &[u8] = b"\xff\xfe\x00<html>{{{\"\n\
    vllm:num_requests_waiting{engine=\"0\n\
    vllm:kv_cache_usage_perc\n\
    \x80 = =";

/// Valid lines of 5 MiB that nobody asks for.
fn padding() -> String {
    let line = "padding 1\n";
    line.repeat((5 << 20) / line.len())
}

/// Where a model server shows its metrics, and to whom.
#[derive(Clone, Copy, Debug)]
pub struct MetricsAccess {
    /// Their path.
    pub path: &'static str,
    /// A header field and its value; who comes without it is answered 401.
    pub header: Option<(&'static str, &'static str)>,
    /// Whether they have a port of their own. Nothing else is there, and they are nowhere else.
    pub own_port: bool,
}

impl Default for MetricsAccess {
    /// As vLLM has it: `/metrics`, for everybody, on the port where it serves.
    fn default() -> Self {
        Self {
            path: "/metrics",
            header: None,
            own_port: false,
        }
    }
}

impl MetricsAccess {
    fn admits(&self, headers: &HeaderMap) -> bool {
        self.header
            .is_none_or(|(name, value)| headers.get(name).is_some_and(|it| it == value))
    }
}

pub(super) fn router(access: &MetricsAccess) -> Router<Arc<State>> {
    Router::new().route(access.path, get(metrics))
}

async fn metrics(FromState(state): FromState<Arc<State>>, headers: HeaderMap) -> Response {
    let admitted = state.access.admits(&headers);
    state.journal.record_scrape(headers);
    if !admitted {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let fault = state.faults.borrow().metrics.clone();
    let exposition = || match &state.backend {
        Backend::Canned(engine) => engine.exposition(),
        Backend::Simulated(simulator) => simulator.render(),
    };
    let head = [(CONTENT_TYPE, dialect::CONTENT_TYPE)];
    match fault {
        None => (head, exposition()).into_response(),
        Some(MetricsFault::Missing(families)) => {
            (head, dialect::without_families(&exposition(), &families)).into_response()
        }
        Some(MetricsFault::Hang) => future::pending().await,
        Some(MetricsFault::Late(millis)) => {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            (head, exposition()).into_response()
        }
        Some(MetricsFault::Garbage) => (head, GARBAGE).into_response(),
        Some(MetricsFault::Huge) => (head, exposition() + &padding()).into_response(),
        Some(MetricsFault::Cut) => {
            let begun = stream::once(future::ready(Ok(exposition())));
            let cut = stream::once(async {
                tokio::task::yield_now().await;
                Err(io::Error::other("cut"))
            });
            (head, Body::from_stream(begun.chain(cut))).into_response()
        }
        Some(MetricsFault::Status(code)) => StatusCode::from_u16(code)
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            .into_response(),
    }
}
