//! The inference APIs of model servers: who asks for what, and the answers in each API's own form.
//!
//! What a body asks for is read by its API ([`openai`], [`responses`], [`anthropic`], [`generate`],
//! [`pooling`]), made by whatever stands in for an engine ([`making`]), and written down again in the
//! form of the API ([`form`]). Nothing here is shared with the filter's reading of bodies, so that one
//! does not hide the other's mistakes.

mod anthropic;
mod form;
mod generate;
mod making;
mod openai;
mod pooling;
mod prompt;
mod refusal;
mod responses;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    Json, Router,
    extract::State as FromState,
    http::StatusCode,
    response::Response,
    routing::{get, post},
};
use bytes::Bytes;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{Backend, SimulatorConfig, State, engine};
use form::{Form, Head};
use prompt::Prompt;
use refusal::{Refusal, Style};

/// The model that a server whose load is set by hand says to serve: the one that its exposition
/// names. It answers requests for any model, in the name of that one.
pub(super) const MODEL: &str = "tiny";

/// Reads what a body asks for.
type Read<T> = fn(&[u8]) -> Result<T, Refusal>;

/// The paths at which text is generated.
const GENERATING: [(&str, Read<Asked>, Style); 6] = [
    ("/v1/chat/completions", openai::chat, Style::OpenAi),
    ("/v1/completions", openai::completion, Style::OpenAi),
    ("/v1/responses", responses::read, Style::OpenAi),
    ("/v1/messages", anthropic::read, Style::Anthropic),
    ("/inference/v1/generate", generate::vllm, Style::OpenAi),
    ("/generate", generate::sglang, Style::OpenAi),
];

/// The paths at which text is only read.
const POOLING: [(&str, Read<pooling::Asked>); 6] = [
    ("/v1/embeddings", pooling::embeddings),
    ("/v1/rerank", pooling::rerank),
    ("/v2/rerank", pooling::rerank),
    ("/rerank", pooling::rerank),
    ("/v1/score", pooling::score),
    ("/score", pooling::score),
];

/// What a request for generated text asks for, whichever API it speaks.
struct Asked {
    model: Option<String>,
    prompt: Prompt,
    length: Length,
    stream: bool,
    form: MakeForm,
}

/// Gives an answer the form of its API.
type MakeForm = Box<dyn FnOnce(Head) -> Box<dyn Form> + Send>;

/// How long an answer is to be.
struct Length {
    /// Its tokens, where the request says so.
    asked: Option<usize>,
    /// Its tokens, where it does not.
    default: usize,
    /// Whether it then ends because all is said. A real model ends where it will.
    stops: bool,
}

impl Length {
    /// Whether the answer ends because all is said, rather than being cut.
    const fn ends_by_itself(&self) -> bool {
        self.asked.is_none() && self.stops
    }
}

/// Whether a streamed answer ends with its usage; of OpenAI's older APIs, and vLLM's own.
#[derive(Default, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

pub(super) fn router() -> Router<Arc<State>> {
    let mut router = Router::new().route("/v1/models", get(models));
    for (path, read, style) in GENERATING {
        let handler = async move |FromState(state): FromState<Arc<State>>, body: Bytes| {
            let answer = async { making::generate(&state, read(&body)?).await };
            answer.await.map_err(|refusal| refusal.in_style(style))
        };
        router = router.route(path, post(handler));
    }
    for (path, read) in POOLING {
        let handler = async move |FromState(state): FromState<Arc<State>>,
                                  body: Bytes|
                    -> Result<Response, Response> {
            let answer = async { pooling::answer(&state, read(&body)?).await };
            answer
                .await
                .map_err(|refusal: Refusal| refusal.in_style(Style::OpenAi))
        };
        router = router.route(path, post(handler));
    }
    router
}

/// What the body of a chat completion asks of the engine of a server like this, or the status by
/// which it is refused.
pub(super) fn chat_request<T>(
    config: &SimulatorConfig,
    body: &[u8],
    client: T,
) -> Result<engine::Request<T>, StatusCode> {
    making::chat_request(config, body, client).map_err(|refusal| refusal.status())
}

async fn models(FromState(state): FromState<Arc<State>>) -> Json<Value> {
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

/// Reads a body as Python's `json` does: of a key that comes twice the last counts.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice::<Value>(body)
        .and_then(serde_json::from_value)
        .map_err(|error| Refusal::Bad(error.to_string()))
}

/// The model or adapter that answers.
fn served_model(state: &State, asked: Option<String>) -> Result<String, Refusal> {
    match (&state.backend, asked) {
        (Backend::Canned(_), asked) => Ok(asked.unwrap_or_else(|| MODEL.to_owned())),
        (Backend::Simulated(simulator), asked) => simulated_model(simulator.config(), asked),
    }
}

/// The model or adapter that answers, of a server like this.
fn simulated_model(config: &SimulatorConfig, asked: Option<String>) -> Result<String, Refusal> {
    match asked {
        None => Ok(config.model.clone()),
        Some(model) if model == config.model || config.loras.contains(&model) => Ok(model),
        Some(model) => Err(Refusal::UnknownModel(model)),
    }
}

/// A number that no other answer of this process has.
fn next_number() -> u64 {
    static ANSWERS: AtomicU64 = AtomicU64::new(0);
    ANSWERS.fetch_add(1, Ordering::Relaxed)
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
