//! The OpenAI API: chat completions, completions, and the list of models.

use std::{
    convert::Infallible,
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
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::{
    State,
    engine::{Generation, estimate_tokens},
};

/// The model it says to serve: the one that its exposition names. Requests for any model are
/// answered.
const MODEL: &str = "tiny";

#[derive(Deserialize)]
struct ChatRequest {
    messages: Vec<Message>,
    #[serde(flatten)]
    options: Options,
}

#[derive(Deserialize)]
struct Message {
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
) -> Result<Response, Malformed> {
    let request: ChatRequest = parse(&body)?;
    let contents = request.messages.iter().map(|message| &message.content);
    let prompt_tokens = contents.map(prompt_tokens).sum();
    Ok(answer(&state, Kind::Chat, request.options, prompt_tokens).await)
}

pub(super) async fn completions(
    FromState(state): FromState<Arc<State>>,
    body: Bytes,
) -> Result<Response, Malformed> {
    let request: CompletionRequest = parse(&body)?;
    let prompt_tokens = prompt_tokens(&request.prompt);
    Ok(answer(&state, Kind::Completion, request.options, prompt_tokens).await)
}

pub(super) async fn models() -> Json<Value> {
    Json(
        json!({ "object": "list", "data": [{ "id": MODEL, "object": "model", "created": now(), "owned_by": "vllm" }] }),
    )
}

/// A body that is not what the API asks for; answered as vLLM does.
pub(super) struct Malformed(serde_json::Error);

impl IntoResponse for Malformed {
    fn into_response(self) -> Response {
        let message = self.0.to_string();
        let error =
            json!({ "message": message, "type": "BadRequestError", "param": null, "code": 400 });
        (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response()
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Malformed> {
    serde_json::from_slice(body).map_err(Malformed)
}

/// The length of a prompt or of a message's content: a text, or a list of texts, of content parts,
/// or of token ids.
fn prompt_tokens(content: &Value) -> usize {
    match content {
        Value::String(text) => estimate_tokens(text),
        Value::Array(items) => items.iter().map(prompt_tokens).sum(),
        Value::Object(part) => part.get("text").map_or(0, prompt_tokens),
        Value::Number(_token_id) => 1,
        Value::Null | Value::Bool(_) => 0,
    }
}

async fn answer(state: &State, kind: Kind, options: Options, prompt_tokens: usize) -> Response {
    let generation = state.engine.generate(options.max_tokens);
    let usage = json!({
        "prompt_tokens": prompt_tokens,
        "completion_tokens": generation.length(),
        "total_tokens": prompt_tokens + generation.length(),
    });
    let model = options.model.unwrap_or_else(|| MODEL.to_owned());
    let envelope = Envelope::new(kind, options.stream, model);
    if options.stream {
        let usage = options.stream_options.include_usage.then_some(usage);
        streamed(envelope, generation, usage)
    } else {
        let text = generation.tokens().collect::<String>().await;
        let choice = kind.choice(&text, generation.finish_reason());
        Json(envelope.around(&[choice], Some(usage))).into_response()
    }
}

/// An answer as server-sent events: one for each token as it is made, one that says why it ended,
/// one with the usage if that was asked for, and the mark of the end.
fn streamed(envelope: Envelope, generation: Generation, usage: Option<Value>) -> Response {
    let kind = envelope.kind;
    let end = kind.chunk("", Some(generation.finish_reason()));
    let mut closing = vec![envelope.around(&[end], None).to_string()];
    closing.extend(usage.map(|usage| envelope.around(&[], Some(usage)).to_string()));
    closing.push("[DONE]".to_owned());

    let chunks = generation.tokens().map(move |token| {
        envelope
            .around(&[kind.chunk(token, None)], None)
            .to_string()
    });
    let events = chunks.chain(stream::iter(closing));
    Sse::new(events.map(|data| Ok::<_, Infallible>(Event::default().data(data)))).into_response()
}

#[derive(Clone, Copy)]
enum Kind {
    Chat,
    Completion,
}

impl Kind {
    /// The one choice of a whole answer.
    fn choice(self, text: &str, finish_reason: &str) -> Value {
        match self {
            Self::Chat => {
                let message = json!({ "role": "assistant", "content": text });
                json!({ "index": 0, "message": message, "finish_reason": finish_reason })
            }
            Self::Completion => json!({ "index": 0, "text": text, "finish_reason": finish_reason }),
        }
    }

    /// The one choice of a streamed answer's chunk.
    fn chunk(self, token: &str, finish_reason: Option<&str>) -> Value {
        match self {
            Self::Chat => {
                let delta = json!({ "role": "assistant", "content": token });
                json!({ "index": 0, "delta": delta, "finish_reason": finish_reason })
            }
            Self::Completion => {
                json!({ "index": 0, "text": token, "finish_reason": finish_reason })
            }
        }
    }
}

/// What an answer says around its choices, and each chunk of a streamed one repeats.
struct Envelope {
    kind: Kind,
    id: String,
    object: &'static str,
    created: u64,
    model: String,
}

impl Envelope {
    fn new(kind: Kind, stream: bool, model: String) -> Self {
        static ANSWERS: AtomicU64 = AtomicU64::new(0);
        let number = ANSWERS.fetch_add(1, Ordering::Relaxed);
        let (id, object) = match kind {
            Kind::Chat if stream => (format!("chatcmpl-{number}"), "chat.completion.chunk"),
            Kind::Chat => (format!("chatcmpl-{number}"), "chat.completion"),
            Kind::Completion => (format!("cmpl-{number}"), "text_completion"),
        };
        Self {
            kind,
            id,
            object,
            created: now(),
            model,
        }
    }

    fn around(&self, choices: &[Value], usage: Option<Value>) -> Value {
        let mut answer = Map::from_iter([
            ("id".to_owned(), json!(self.id)),
            ("object".to_owned(), json!(self.object)),
            ("created".to_owned(), json!(self.created)),
            ("model".to_owned(), json!(self.model)),
            ("choices".to_owned(), json!(choices)),
        ]);
        answer.extend(usage.map(|usage| ("usage".to_owned(), usage)));
        Value::Object(answer)
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
