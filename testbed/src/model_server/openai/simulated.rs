//! Answers of a simulated engine, each token sent when it is made.

use std::{fmt::Write, io, sync::Arc};

use axum::{
    Json,
    body::Body,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::{
    super::{
        State,
        engine::{FinishReason, Progress, Tokens, token_text},
        simulator::{Simulator, Ticket},
    },
    Kind, Message, Options, Refusal, next_id, now,
};

/// Tokens of a completion whose request does not say: the API's default, and vLLM's.
const COMPLETION_TOKENS: usize = 16;

/// Tokens of a chat answer whose request does not say. A real model ends when all is said.
const CHAT_TOKENS: usize = 128;

/// Stands after every message, as a chat template has it.
const END_OF_MESSAGE: u32 = u32::MAX;

pub(super) async fn chat(
    state: &State,
    simulator: &Arc<Simulator>,
    messages: &[Message],
    options: &Options,
) -> Result<Response, Refusal> {
    let model = served_model(simulator, options)?;
    let mut prompt = Tokens::new(model);
    for message in messages {
        prompt.push_text(&message.role);
        push_content(&mut prompt, &message.content);
        prompt.push(END_OF_MESSAGE);
    }
    // What the answer follows, in this turn and in the history of the next one.
    prompt.push_text("assistant");
    answer(state, simulator, Kind::Chat, model, prompt, options).await
}

pub(super) async fn completion(
    state: &State,
    simulator: &Arc<Simulator>,
    text: &Value,
    options: &Options,
) -> Result<Response, Refusal> {
    let model = served_model(simulator, options)?;
    let mut prompt = Tokens::new(model);
    push_content(&mut prompt, text);
    answer(state, simulator, Kind::Completion, model, prompt, options).await
}

/// The model or adapter that answers.
fn served_model<'request>(
    simulator: &'request Simulator,
    options: &'request Options,
) -> Result<&'request str, Refusal> {
    let config = simulator.config();
    match options.model.as_deref() {
        None => Ok(&config.model),
        Some(model) if model == config.model || config.loras.iter().any(|lora| lora == model) => {
            Ok(model)
        }
        Some(model) => Err(Refusal::UnknownModel(model.to_owned())),
    }
}

/// Appends a prompt or a message's content: a text, or a list of texts, of content parts, or of
/// token ids.
fn push_content(tokens: &mut Tokens, content: &Value) {
    match content {
        Value::String(text) => tokens.push_text(text),
        Value::Array(items) => {
            for item in items {
                push_content(tokens, item);
            }
        }
        Value::Object(part) => {
            if let Some(text) = part.get("text") {
                push_content(tokens, text);
            }
        }
        Value::Number(id) => tokens.push(id.as_u64().unwrap_or_default() as u32),
        Value::Null | Value::Bool(_) => {}
    }
}

/// How many tokens an answer to a prompt of this length has.
fn answer_tokens(
    max_model_len: usize,
    prompt: usize,
    kind: Kind,
    asked: Option<usize>,
) -> Result<usize, Refusal> {
    let left = max_model_len.saturating_sub(prompt);
    if prompt == 0 {
        return Err(Refusal::Bad(
            "The decoder prompt cannot be empty".to_owned(),
        ));
    }
    if left == 0 {
        return Err(Refusal::Bad(format!(
            "This model's maximum context length is {max_model_len} tokens. However, your request \
             has {prompt} input tokens. Please reduce the length of the input messages."
        )));
    }
    match (asked, kind) {
        (Some(0), _) => Err(Refusal::Bad(
            "max_tokens must be at least 1, got 0.".to_owned(),
        )),
        (Some(asked), _) if asked > left => Err(Refusal::Bad(format!(
            "'max_tokens' or 'max_completion_tokens' is too large: {asked}. This model's maximum \
             context length is {max_model_len} tokens and your request has {prompt} input tokens \
             ({asked} > {max_model_len} - {prompt})."
        ))),
        (Some(asked), _) => Ok(asked),
        (None, Kind::Chat) => Ok(CHAT_TOKENS.min(left)),
        (None, Kind::Completion) => Ok(COMPLETION_TOKENS.min(left)),
    }
}

async fn answer(
    state: &State,
    simulator: &Arc<Simulator>,
    kind: Kind,
    model: &str,
    prompt: Tokens,
    options: &Options,
) -> Result<Response, Refusal> {
    let prompt_tokens = prompt.len();
    let limit = simulator.config().max_model_len;
    let max_tokens = answer_tokens(limit, prompt_tokens, kind, options.max_tokens)?;
    if state.fails() {
        return Err(Refusal::Failing);
    }
    let stops = options.max_tokens.is_none() && kind == Kind::Chat;
    let ticket = simulator.submit(prompt, max_tokens, stops, simulator.lora(model));
    let answer = Answer {
        ticket,
        prompt_tokens,
        breaks: state.resets(),
        begun: false,
        kind,
    };
    if options.stream {
        Ok(streamed(
            answer,
            model,
            options.stream_options.include_usage,
        ))
    } else {
        Ok(whole(answer, model).await)
    }
}

/// An answer that is being made.
struct Answer {
    ticket: Ticket,
    prompt_tokens: usize,
    /// Whether its connection is closed after the first token.
    breaks: bool,
    begun: bool,
    kind: Kind,
}

impl Answer {
    /// Waits for more of it.
    ///
    /// # Errors
    ///
    /// When there will not be more, although it has not ended. An error in a response's body closes
    /// the connection.
    async fn more(&mut self) -> io::Result<Progress> {
        let broken = || io::Error::from(io::ErrorKind::ConnectionReset);
        if self.breaks && self.begun {
            // Lets hyper send what it has.
            tokio::task::yield_now().await;
            return Err(broken());
        }
        let mut progress = self.ticket.more().await.ok_or_else(broken)?;
        self.begun = true;
        if self.breaks {
            progress.generated = 1;
            progress.finished = None;
        }
        Ok(progress)
    }

    fn usage(&self, progress: Progress) -> Value {
        json!({
            "prompt_tokens": self.prompt_tokens,
            "total_tokens": self.prompt_tokens + progress.generated,
            "completion_tokens": progress.generated,
            "prompt_tokens_details": { "cached_tokens": progress.cached },
        })
    }
}

async fn whole(mut answer: Answer, model: &str) -> Response {
    let (progress, reason) = loop {
        match answer.more().await {
            Ok(Progress { finished: None, .. }) => {}
            Ok(
                progress @ Progress {
                    finished: Some(reason),
                    ..
                },
            ) => break (progress, reason),
            Err(error) => {
                let begun = stream::once(async { Ok(Bytes::from_static(b"{")) });
                let broken = stream::once(async {
                    tokio::task::yield_now().await;
                    Err(error)
                });
                return Body::from_stream(begun.chain(broken)).into_response();
            }
        }
    };
    let text: String = (0..progress.generated).map(token_text).collect();
    let reason = name(reason);
    let choice = match answer.kind {
        Kind::Chat => json!({
            "index": 0, "message": { "role": "assistant", "content": text },
            "logprobs": null, "finish_reason": reason,
        }),
        Kind::Completion => {
            json!({ "index": 0, "text": text, "logprobs": null, "finish_reason": reason })
        }
    };
    Json(json!({
        "id": next_id(answer.kind), "object": answer.kind.object(false), "created": now(),
        "model": model, "choices": [choice], "usage": answer.usage(progress),
    }))
    .into_response()
}

fn name(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
    }
}

/// An answer as server-sent events: one for each token, the last of which says why it ended, one
/// with the usage if that was asked for, and the mark of the end. A chat begins with one that names
/// the role, sent with the first token.
fn streamed(answer: Answer, model: &str, include_usage: bool) -> Response {
    let events = Events::new(answer.kind, model);
    let begun = Some((answer, events, 0_usize));
    let pieces = stream::unfold(begun, move |state| async move {
        let (mut answer, events, sent) = state?;
        match answer.more().await {
            Err(error) => Some((Err(error), None)),
            Ok(progress) => {
                let usage =
                    (include_usage && progress.finished.is_some()).then(|| answer.usage(progress));
                let piece = events.piece(sent, progress, usage);
                let state =
                    progress
                        .finished
                        .is_none()
                        .then_some((answer, events, progress.generated));
                Some((Ok(Bytes::from(piece)), state))
            }
        }
    });
    let head = [(CONTENT_TYPE, "text/event-stream; charset=utf-8")];
    (head, Body::from_stream(pieces)).into_response()
}

/// The events of one answer: what they have in common is written once.
struct Events {
    kind: Kind,
    /// From the beginning of an event to its choices.
    head: String,
}

impl Events {
    fn new(kind: Kind, model: &str) -> Self {
        let head = format!(
            r#"data: {{"id":"{}","object":"{}","created":{},"model":{},"choices":["#,
            next_id(kind),
            kind.object(true),
            now(),
            Value::from(model),
        );
        Self { kind, head }
    }

    /// The events of an answer's progress since `sent` of its tokens were sent.
    fn piece(&self, sent: usize, progress: Progress, usage: Option<Value>) -> String {
        let (before, after) = match self.kind {
            Kind::Chat => (
                r#"{"index":0,"delta":{"content":""#,
                r#""},"logprobs":null,"#,
            ),
            Kind::Completion => (r#"{"index":0,"text":""#, r#"","logprobs":null,"#),
        };
        let events = progress.generated - sent + 2 * usize::from(sent == 0);
        let mut piece = String::with_capacity((self.head.len() + 96) * events);
        if sent == 0 && self.kind == Kind::Chat {
            self.event(
                &mut piece,
                r#"{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}"#,
            );
        }
        for index in sent..progress.generated {
            let last = index + 1 == progress.generated;
            piece.push_str(&self.head);
            for part in [before, token_text(index), after, r#""finish_reason":"#] {
                piece.push_str(part);
            }
            match progress.finished.filter(|_| last) {
                None => piece.push_str("null}]}\n\n"),
                Some(reason) => {
                    let _ = write!(piece, "\"{}\"}}]}}\n\n", name(reason));
                }
            }
        }
        if let Some(usage) = usage {
            let _ = write!(piece, "{}],\"usage\":{usage}}}\n\n", self.head);
        }
        if progress.finished.is_some() {
            piece.push_str("data: [DONE]\n\n");
        }
        piece
    }

    fn event(&self, piece: &mut String, choice: &str) {
        piece.push_str(&self.head);
        piece.push_str(choice);
        piece.push_str("]}\n\n");
    }
}
