//! The OpenAI API: chat completions, completions, and the list of models.

mod canned;
mod simulated;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    Json,
    extract::State as FromState,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{Backend, State};

/// The model that a server whose load is set by hand says to serve: the one that its exposition
/// names. It answers requests for any model.
pub(super) const MODEL: &str = "tiny";

#[derive(Deserialize)]
struct ChatRequest {
    messages: Vec<Message>,
    #[serde(flatten)]
    options: Options,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    role: String,
    #[serde(default)]
    content: Value,
}

#[derive(Deserialize)]
struct CompletionRequest {
    prompt: Value,
    #[serde(flatten)]
    options: Options,
}

/// What both kinds of requests have in common.
#[derive(Deserialize)]
struct Options {
    model: Option<String>,
    #[serde(alias = "max_completion_tokens")]
    max_tokens: Option<usize>,
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    stream_options: StreamOptions,
}

#[derive(Default, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

pub(super) async fn chat_completions(
    FromState(state): FromState<Arc<State>>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let request: ChatRequest = parse(&body)?;
    match &state.backend {
        Backend::Canned(engine) => {
            let contents = request.messages.iter().map(|message| &message.content);
            let prompt_tokens = contents.map(canned::prompt_tokens).sum();
            Ok(canned::answer(engine, Kind::Chat, request.options, prompt_tokens).await)
        }
        Backend::Simulated(simulator) => {
            simulated::chat(&state, simulator, &request.messages, &request.options).await
        }
    }
}

pub(super) async fn completions(
    FromState(state): FromState<Arc<State>>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let request: CompletionRequest = parse(&body)?;
    match &state.backend {
        Backend::Canned(engine) => {
            let prompt_tokens = canned::prompt_tokens(&request.prompt);
            Ok(canned::answer(engine, Kind::Completion, request.options, prompt_tokens).await)
        }
        Backend::Simulated(simulator) => {
            simulated::completion(&state, simulator, &request.prompt, &request.options).await
        }
    }
}

pub(super) async fn models(FromState(state): FromState<Arc<State>>) -> Json<Value> {
    let created = now();
    let mut models = Vec::new();
    match &state.backend {
        Backend::Canned(_) => models.push(
            json!({ "id": MODEL, "object": "model", "created": created, "owned_by": "vllm" }),
        ),
        Backend::Simulated(simulator) => {
            let config = simulator.config();
            models.push(json!({
                "id": config.model, "object": "model", "created": created, "owned_by": "vllm",
                "root": config.model, "parent": null, "max_model_len": config.max_model_len,
            }));
            models.extend(config.loras.iter().map(|lora| {
                json!({
                    "id": lora, "object": "model", "created": created, "owned_by": "vllm",
                    "root": lora, "parent": config.model, "max_model_len": null,
                })
            }));
        }
    }
    Json(json!({ "object": "list", "data": models }))
}

/// A request that is not served; said as vLLM says it.
pub(super) enum Refusal {
    /// The body is not what the API asks for, or asks for too much.
    Bad(String),
    /// There is no such model.
    UnknownModel(String),
    /// The server fails, as it was told to.
    Failing,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, kind, message) = match self {
            Self::Bad(message) => (StatusCode::BAD_REQUEST, "BadRequestError", message),
            Self::UnknownModel(model) => (
                StatusCode::NOT_FOUND,
                "NotFoundError",
                format!("The model `{model}` does not exist."),
            ),
            Self::Failing => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalServerError",
                "This server was told to fail.".to_owned(),
            ),
        };
        let error =
            json!({ "message": message, "type": kind, "param": null, "code": status.as_u16() });
        (status, Json(json!({ "error": error }))).into_response()
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::Bad(error.to_string()))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Chat,
    Completion,
}

impl Kind {
    fn object(self, stream: bool) -> &'static str {
        match self {
            Self::Chat if stream => "chat.completion.chunk",
            Self::Chat => "chat.completion",
            Self::Completion => "text_completion",
        }
    }
}

/// The name of an answer, which no other one of this process has.
fn next_id(kind: Kind) -> String {
    static ANSWERS: AtomicU64 = AtomicU64::new(0);
    let number = ANSWERS.fetch_add(1, Ordering::Relaxed);
    match kind {
        Kind::Chat => format!("chatcmpl-{number}"),
        Kind::Completion => format!("cmpl-{number}"),
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
