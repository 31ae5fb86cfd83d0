//! Anthropic's messages, as vLLM and SGLang serve them.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    super::engine::FinishReason,
    Asked, Form, Head, Length, Prompt, Refusal,
    form::{Made, named_event},
    openai::CHAT_TOKENS,
    parse,
    prompt::Message,
};

#[derive(Deserialize)]
struct Request {
    model: Option<String>,
    /// A text, or blocks.
    system: Option<Value>,
    messages: Vec<Message>,
    max_tokens: usize,
    stream: Option<bool>,
}

pub(super) fn read(body: &[u8]) -> Result<Asked, Refusal> {
    let request: Request = parse(body)?;
    let system = request.system.map(|content| Message {
        role: "system".to_owned(),
        content,
    });
    Ok(Asked {
        model: request.model,
        prompt: Prompt::Chat(system.into_iter().chain(request.messages).collect()),
        length: Length {
            asked: Some(request.max_tokens),
            default: CHAT_TOKENS,
            stops: true,
        },
        stream: request.stream.unwrap_or_default(),
        form: Box::new(|head| Box::new(AssistantMessage(head))),
    })
}

/// An answer of one text block.
struct AssistantMessage(Head);

impl AssistantMessage {
    fn message(&self, content: &Value, reason: Option<FinishReason>, made: Option<&Made>) -> Value {
        let Self(head) = self;
        json!({
            "id": format!("msg_{}", head.number), "type": "message", "role": "assistant",
            "content": content, "model": head.model,
            "stop_reason": reason.map(stop_reason), "stop_sequence": null,
            "usage": self.usage(made),
        })
    }

    /// Tokens read from the cache are told apart from those that were not.
    fn usage(&self, made: Option<&Made>) -> Value {
        let cached = made.map_or(0, |made| made.cached);
        json!({
            "input_tokens": self.0.prompt_tokens - cached,
            "output_tokens": made.map_or(0, |made| made.tokens),
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": cached,
        })
    }
}

impl Form for AssistantMessage {
    fn whole(&self, made: &Made, reason: FinishReason) -> Value {
        let content = json!([{ "type": "text", "text": made.text() }]);
        self.message(&content, Some(reason), Some(made))
    }

    fn begin(&self, events: &mut String) {
        let message = self.message(&json!([]), None, None);
        named_event(
            events,
            &json!({ "type": "message_start", "message": message }),
        );
        let block = json!({ "type": "text", "text": "" });
        let start = json!({ "type": "content_block_start", "index": 0, "content_block": block });
        named_event(events, &start);
    }

    fn token(&self, events: &mut String, made: &Made, _reason: Option<FinishReason>) {
        let delta = json!({ "type": "text_delta", "text": made.last_word() });
        named_event(
            events,
            &json!({ "type": "content_block_delta", "index": 0, "delta": delta }),
        );
    }

    fn end(&self, events: &mut String, made: &Made, reason: FinishReason) {
        named_event(events, &json!({ "type": "content_block_stop", "index": 0 }));
        let delta = json!({ "stop_reason": stop_reason(reason), "stop_sequence": null });
        let usage = self.usage(Some(made));
        named_event(
            events,
            &json!({ "type": "message_delta", "delta": delta, "usage": usage }),
        );
        named_event(events, &json!({ "type": "message_stop" }));
    }
}

fn stop_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "end_turn",
        FinishReason::Length => "max_tokens",
    }
}
