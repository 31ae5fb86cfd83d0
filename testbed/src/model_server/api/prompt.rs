//! What a model is to read, and how many tokens that is.

use serde::Deserialize;
use serde_json::Value;

use super::super::{canned::estimate_tokens, engine::Tokens};

/// Stands after every message, as a chat template has it.
const END_OF_MESSAGE: u32 = u32::MAX;

/// What a model is to read.
pub(super) enum Prompt {
    /// Messages, which a chat template joins.
    Chat(Vec<Message>),
    /// A text, a list of texts, or token ids.
    Plain(Value),
}

/// A message. What is none of these fields counts for nothing.
#[derive(Deserialize)]
pub(super) struct Message {
    #[serde(default)]
    pub(super) role: String,
    #[serde(default)]
    pub(super) content: Value,
}

impl Prompt {
    /// Its length on a server without an engine.
    pub(super) fn estimate(&self) -> usize {
        match self {
            Self::Chat(messages) => messages.iter().map(|it| estimate(&it.content)).sum(),
            Self::Plain(content) => estimate(content),
        }
    }

    /// Its tokens on an engine that serves this model.
    pub(super) fn tokens(&self, model: &str) -> Tokens {
        let mut tokens = Tokens::new(model);
        match self {
            Self::Chat(messages) => {
                for message in messages {
                    tokens.push_text(&message.role);
                    push(&mut tokens, &message.content);
                    tokens.push(END_OF_MESSAGE);
                }
                // What the answer follows, in this turn and in the history of the next one.
                tokens.push_text("assistant");
            }
            Self::Plain(content) => push(&mut tokens, content),
        }
        tokens
    }
}

fn estimate(content: &Value) -> usize {
    match content {
        Value::String(text) => estimate_tokens(text),
        Value::Array(items) => items.iter().map(estimate).sum(),
        Value::Object(part) => text_of(part).map_or(0, estimate),
        Value::Number(_token_id) => 1,
        Value::Null | Value::Bool(_) => 0,
    }
}

fn push(tokens: &mut Tokens, content: &Value) {
    match content {
        Value::String(text) => tokens.push_text(text),
        Value::Array(items) => {
            for item in items {
                push(tokens, item);
            }
        }
        Value::Object(part) => {
            if let Some(text) = text_of(part) {
                push(tokens, text);
            }
        }
        Value::Number(id) => tokens.push(id.as_u64().unwrap_or_default() as u32),
        Value::Null | Value::Bool(_) => {}
    }
}

/// The text of a content part; that of a tool's result is called otherwise.
fn text_of(part: &serde_json::Map<String, Value>) -> Option<&Value> {
    part.get("text").or_else(|| part.get("content"))
}
