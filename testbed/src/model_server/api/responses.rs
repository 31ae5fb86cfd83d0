//! OpenAI's responses.

use std::sync::atomic::{AtomicU64, Ordering};

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
    instructions: Option<String>,
    /// A text, or items, of which messages alone are read.
    input: Value,
    max_output_tokens: Option<usize>,
    stream: Option<bool>,
}

pub(super) fn read(body: &[u8]) -> Result<Asked, Refusal> {
    let request: Request = parse(body)?;
    let message = |role: &str, content| Message {
        role: role.to_owned(),
        content,
    };
    let mut messages: Vec<Message> = request
        .instructions
        .map(|text| message("system", Value::String(text)))
        .into_iter()
        .collect();
    match request.input {
        Value::Array(items) => {
            for item in items {
                messages.push(
                    serde_json::from_value(item)
                        .map_err(|error| Refusal::Bad(error.to_string()))?,
                );
            }
        }
        text => messages.push(message("user", text)),
    }
    let asked = request.max_output_tokens;
    Ok(Asked {
        model: request.model,
        prompt: Prompt::Chat(messages),
        length: Length {
            asked,
            default: CHAT_TOKENS,
            stops: true,
        },
        stream: request.stream.unwrap_or_default(),
        form: Box::new(move |head| {
            Box::new(ModelResponse {
                head,
                max_output_tokens: asked,
                events: AtomicU64::new(0),
            })
        }),
    })
}

/// An answer of one message.
struct ModelResponse {
    head: Head,
    max_output_tokens: Option<usize>,
    /// The number of the next event.
    events: AtomicU64,
}

impl ModelResponse {
    fn response(&self, output: &Value, ended: Option<(&Made, FinishReason)>) -> Value {
        let (status, details) = match ended {
            None => ("in_progress", Value::Null),
            Some((_, FinishReason::Stop)) => ("completed", Value::Null),
            Some((_, FinishReason::Length)) => {
                ("incomplete", json!({ "reason": "max_output_tokens" }))
            }
        };
        json!({
            "id": format!("resp_{}", self.head.number), "created_at": self.head.created,
            "incomplete_details": details, "instructions": null, "metadata": null,
            "model": self.head.model, "object": "response", "output": output,
            "parallel_tool_calls": true, "temperature": 1.0, "tool_choice": "auto", "tools": [],
            "top_p": 1.0, "background": false, "max_output_tokens": self.max_output_tokens,
            "previous_response_id": null, "reasoning": null, "service_tier": "auto",
            "status": status, "text": null, "truncation": "disabled",
            "usage": ended.map(|(made, _)| self.usage(made)), "user": null,
        })
    }

    fn usage(&self, made: &Made) -> Value {
        json!({
            "input_tokens": self.head.prompt_tokens,
            "input_tokens_details": { "cached_tokens": made.cached, "cache_write_tokens": 0 },
            "output_tokens": made.tokens,
            "output_tokens_details": { "reasoning_tokens": 0 },
            "total_tokens": self.head.prompt_tokens + made.tokens,
        })
    }

    fn item_id(&self) -> String {
        format!("msg_{}", self.head.number)
    }

    fn item(&self, status: &str, content: &Value) -> Value {
        json!({
            "id": self.item_id(), "type": "message", "role": "assistant", "status": status,
            "content": content,
        })
    }

    /// Writes an event that has these fields, its number, and where it belongs if it is `of_part`.
    fn event(&self, events: &mut String, mut data: Value, of_part: bool) {
        if let Some(fields) = data.as_object_mut() {
            let number = self.events.fetch_add(1, Ordering::Relaxed);
            fields.insert("sequence_number".to_owned(), json!(number));
            if of_part {
                fields.insert("item_id".to_owned(), json!(self.item_id()));
                fields.insert("output_index".to_owned(), json!(0));
                fields.insert("content_index".to_owned(), json!(0));
            }
        }
        named_event(events, &data);
    }
}

fn text_part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
}

impl Form for ModelResponse {
    fn whole(&self, made: &Made, reason: FinishReason) -> Value {
        let item = self.item("completed", &json!([text_part(&made.text())]));
        self.response(&json!([item]), Some((made, reason)))
    }

    fn begin(&self, events: &mut String) {
        for kind in ["response.created", "response.in_progress"] {
            let response = self.response(&json!([]), None);
            self.event(events, json!({ "type": kind, "response": response }), false);
        }
        let item = self.item("in_progress", &json!([]));
        let added =
            json!({ "type": "response.output_item.added", "output_index": 0, "item": item });
        self.event(events, added, false);
        let added = json!({ "type": "response.content_part.added", "part": text_part("") });
        self.event(events, added, true);
    }

    fn token(&self, events: &mut String, made: &Made, _reason: Option<FinishReason>) {
        let delta = json!({
            "type": "response.output_text.delta", "delta": made.last_word(), "logprobs": [],
        });
        self.event(events, delta, true);
    }

    fn end(&self, events: &mut String, made: &Made, reason: FinishReason) {
        let text = made.text();
        let done = json!({ "type": "response.output_text.done", "text": text, "logprobs": [] });
        self.event(events, done, true);
        let done = json!({ "type": "response.content_part.done", "part": text_part(&text) });
        self.event(events, done, true);
        let item = self.item("completed", &json!([text_part(&text)]));
        let done = json!({ "type": "response.output_item.done", "output_index": 0, "item": item });
        self.event(events, done, false);
        let response = self.response(&json!([item]), Some((made, reason)));
        let kind = match reason {
            FinishReason::Stop => "response.completed",
            FinishReason::Length => "response.incomplete",
        };
        self.event(events, json!({ "type": kind, "response": response }), false);
    }
}
