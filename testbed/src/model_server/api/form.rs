//! The form of an answer: what every API has to say of it, each in its own words.

use std::fmt::Write;

use serde_json::Value;

use super::super::engine::FinishReason;

/// What is known of an answer when it begins.
pub(super) struct Head {
    /// Tells it from every other answer of this process.
    pub(super) number: u64,
    /// Seconds since 1970.
    pub(super) created: u64,
    /// The model that answers.
    pub(super) model: String,
    pub(super) prompt_tokens: usize,
}

/// What has been made of an answer.
#[derive(Clone, Copy)]
pub(super) struct Made {
    /// How many tokens.
    pub(super) tokens: usize,
    /// How many tokens of the prompt were found in a cache.
    pub(super) cached: usize,
    /// The text of the token at an index, in which nothing has to be escaped in JSON.
    pub(super) word: fn(usize) -> &'static str,
}

impl Made {
    /// The text of the last token.
    pub(super) fn last_word(&self) -> &'static str {
        self.tokens.checked_sub(1).map_or("", self.word)
    }

    /// The text of all tokens.
    pub(super) fn text(&self) -> String {
        (0..self.tokens).map(self.word).collect()
    }
}

/// Writes an answer down, whole or as server-sent events.
pub(super) trait Form: Send + Sync {
    /// The body of an answer that is not streamed.
    fn whole(&self, made: &Made, reason: FinishReason) -> Value;

    /// The events before the first token.
    fn begin(&self, events: &mut String);

    /// The event of the last token of `made`, which has a `reason` if it is the last of all.
    fn token(&self, events: &mut String, made: &Made, reason: Option<FinishReason>);

    /// The events after the last token.
    fn end(&self, events: &mut String, made: &Made, reason: FinishReason);
}

/// The name of a reason in OpenAI's and vLLM's APIs.
pub(super) fn name(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
    }
}

/// Writes an event as APIs do that name their events.
pub(super) fn named_event(events: &mut String, data: &Value) {
    let kind = data.get("type").and_then(Value::as_str).unwrap_or_default();
    // Writing to a text cannot fail.
    let _ = write!(events, "event: {kind}\ndata: {data}\n\n");
}
