//! Answers of a server whose load is set by hand: canned words, at a set pace.

use std::convert::Infallible;

use axum::{
    Json,
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
};
use futures_util::{StreamExt, stream};
use serde_json::{Map, Value, json};

use super::{
    super::canned::{Engine, Generation, estimate_tokens},
    Kind, MODEL, Options, next_id, now,
};

/// The length of a prompt or of a message's content: a text, or a list of texts, of content parts,
/// or of token ids.
pub(super) fn prompt_tokens(content: &Value) -> usize {
    match content {
        Value::String(text) => estimate_tokens(text),
        Value::Array(items) => items.iter().map(prompt_tokens).sum(),
        Value::Object(part) => part.get("text").map_or(0, prompt_tokens),
        Value::Number(_token_id) => 1,
        Value::Null | Value::Bool(_) => 0,
    }
}

pub(super) async fn answer(
    engine: &Engine,
    kind: Kind,
    options: Options,
    prompt_tokens: usize,
) -> Response {
    let generation = engine.generate(options.max_tokens);
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
        Self {
            kind,
            id: next_id(kind),
            object: kind.object(stream),
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
