//! OpenAI's chat completions and completions.

use std::fmt::Write;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    super::engine::FinishReason,
    Asked, Form, Head, Length, Prompt, Refusal, StreamOptions,
    form::{Made, name},
    parse,
    prompt::Message,
};

/// Tokens of a completion whose request does not say: the API's default, and vLLM's.
const COMPLETION_TOKENS: usize = 16;

/// Tokens of a chat answer whose request does not say.
pub(super) const CHAT_TOKENS: usize = 128;

#[derive(Deserialize)]
struct ChatRequest {
    messages: Vec<Message>,
    #[serde(flatten)]
    options: Options,
}

#[derive(Deserialize)]
struct CompletionRequest {
    prompt: Value,
    #[serde(flatten)]
    options: Options,
}

/// What both kinds of requests have in common. Clients write `null` for what they do not set.
#[derive(Deserialize)]
struct Options {
    model: Option<String>,
    max_tokens: Option<usize>,
    max_completion_tokens: Option<usize>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
}

pub(super) fn chat(body: &[u8]) -> Result<Asked, Refusal> {
    let ChatRequest { messages, options } = parse(body)?;
    let length = Length {
        asked: options.max_completion_tokens.or(options.max_tokens),
        default: CHAT_TOKENS,
        stops: true,
    };
    let prompt = Prompt::Chat(messages);
    Ok(options.asking(Kind::Chat, prompt, length))
}

pub(super) fn completion(body: &[u8]) -> Result<Asked, Refusal> {
    let CompletionRequest { prompt, options } = parse(body)?;
    let length = Length {
        asked: options.max_tokens,
        default: COMPLETION_TOKENS,
        stops: false,
    };
    let prompt = Prompt::Plain(prompt);
    Ok(options.asking(Kind::Completion, prompt, length))
}

impl Options {
    fn asking(self, kind: Kind, prompt: Prompt, length: Length) -> Asked {
        let stream = self.stream.unwrap_or_default();
        let tells_usage = self.stream_options.is_some_and(|it| it.include_usage);
        Asked {
            model: self.model,
            prompt,
            length,
            stream,
            form: Box::new(move |head| Box::new(Choices::new(kind, head, stream, tells_usage))),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Chat,
    Completion,
}

/// An answer of one choice.
struct Choices {
    kind: Kind,
    head: Head,
    id: String,
    /// From the beginning of an event to its choices: what events have in common is written once.
    event: String,
    /// Whether the events end with the usage.
    tells_usage: bool,
}

impl Choices {
    fn new(kind: Kind, head: Head, stream: bool, tells_usage: bool) -> Self {
        let (prefix, object) = match kind {
            Kind::Chat if stream => ("chatcmpl", "chat.completion.chunk"),
            Kind::Chat => ("chatcmpl", "chat.completion"),
            Kind::Completion => ("cmpl", "text_completion"),
        };
        let id = format!("{prefix}-{}", head.number);
        let event = format!(
            r#"{{"id":"{id}","object":"{object}","created":{},"model":{},"choices":["#,
            head.created,
            json!(head.model),
        );
        Self {
            kind,
            head,
            id,
            event,
            tells_usage,
        }
    }

    fn usage(&self, made: &Made) -> Value {
        json!({
            "prompt_tokens": self.head.prompt_tokens,
            "total_tokens": self.head.prompt_tokens + made.tokens,
            "completion_tokens": made.tokens,
            "prompt_tokens_details": { "cached_tokens": made.cached },
        })
    }
}

impl Form for Choices {
    fn whole(&self, made: &Made, reason: FinishReason) -> Value {
        let (text, reason) = (made.text(), name(reason));
        let (object, choice) = match self.kind {
            Kind::Chat => (
                "chat.completion",
                json!({
                    "index": 0, "message": { "role": "assistant", "content": text },
                    "logprobs": null, "finish_reason": reason,
                }),
            ),
            Kind::Completion => (
                "text_completion",
                json!({ "index": 0, "text": text, "logprobs": null, "finish_reason": reason }),
            ),
        };
        json!({
            "id": self.id, "object": object, "created": self.head.created,
            "model": self.head.model, "choices": [choice], "usage": self.usage(made),
        })
    }

    /// A chat begins with an event that names the role.
    fn begin(&self, events: &mut String) {
        if self.kind == Kind::Chat {
            for part in [
                "data: ",
                &self.event,
                r#"{"index":0,"delta":{"role":"assistant","content":""},"#,
                r#""logprobs":null,"finish_reason":null}]}"#,
                "\n\n",
            ] {
                events.push_str(part);
            }
        }
    }

    fn token(&self, events: &mut String, made: &Made, reason: Option<FinishReason>) {
        let (before, after) = match self.kind {
            Kind::Chat => (
                r#"{"index":0,"delta":{"content":""#,
                r#""},"logprobs":null,"#,
            ),
            Kind::Completion => (r#"{"index":0,"text":""#, r#"","logprobs":null,"#),
        };
        for part in ["data: ", &self.event, before, made.last_word(), after] {
            events.push_str(part);
        }
        match reason {
            None => events.push_str("\"finish_reason\":null}]}\n\n"),
            Some(reason) => {
                let _ = write!(events, "\"finish_reason\":\"{}\"}}]}}\n\n", name(reason));
            }
        }
    }

    fn end(&self, events: &mut String, made: &Made, _reason: FinishReason) {
        if self.tells_usage {
            let usage = self.usage(made);
            let _ = write!(events, "data: {}],\"usage\":{usage}}}\n\n", self.event);
        }
        events.push_str("data: [DONE]\n\n");
    }
}
