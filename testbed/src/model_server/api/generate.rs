//! The engines' own APIs: vLLM's from token ids to token ids, and SGLang's.

use std::fmt::Write;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    super::engine::FinishReason,
    Asked, Form, Head, Length, Prompt, Refusal, StreamOptions,
    form::{Made, name},
    parse,
};

/// Tokens of an answer whose request does not say: the default of vLLM's sampling parameters.
const VLLM_TOKENS: usize = 16;

/// The same of SGLang's.
const SGLANG_TOKENS: usize = 128;

/// The id of the first token of an answer; the others follow.
const FIRST_TOKEN_ID: usize = 1000;

#[derive(Default, Deserialize)]
struct SamplingParameters {
    max_tokens: Option<usize>,
    max_new_tokens: Option<usize>,
}

#[derive(Deserialize)]
struct VllmRequest {
    model: Option<String>,
    token_ids: Vec<u32>,
    sampling_params: SamplingParameters,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
}

#[derive(Deserialize)]
struct SglangRequest {
    text: Option<Value>,
    input_ids: Option<Value>,
    sampling_params: Option<SamplingParameters>,
    stream: Option<bool>,
}

pub(super) fn vllm(body: &[u8]) -> Result<Asked, Refusal> {
    let request: VllmRequest = parse(body)?;
    let tells_usage = request.stream_options.is_some_and(|it| it.include_usage);
    Ok(Asked {
        model: request.model,
        prompt: Prompt::Plain(json!(request.token_ids)),
        length: Length {
            asked: request.sampling_params.max_tokens,
            default: VLLM_TOKENS,
            stops: false,
        },
        stream: request.stream.unwrap_or_default(),
        form: Box::new(move |head| Box::new(Vllm { head, tells_usage })),
    })
}

/// SGLang serves one model, and requests do not name it.
pub(super) fn sglang(body: &[u8]) -> Result<Asked, Refusal> {
    let request: SglangRequest = parse(body)?;
    let prompt = request.text.or(request.input_ids);
    let missing = || Refusal::Bad("Either text or input_ids should be provided.".to_owned());
    Ok(Asked {
        model: None,
        prompt: Prompt::Plain(prompt.ok_or_else(missing)?),
        length: Length {
            asked: request.sampling_params.unwrap_or_default().max_new_tokens,
            default: SGLANG_TOKENS,
            stops: false,
        },
        stream: request.stream.unwrap_or_default(),
        form: Box::new(|head| Box::new(Sglang(head))),
    })
}

fn token_ids(made: &Made) -> Vec<usize> {
    (FIRST_TOKEN_ID..).take(made.tokens).collect()
}

/// vLLM's answer, in the output mode `tokens`: without text, and streamed without the model.
struct Vllm {
    head: Head,
    tells_usage: bool,
}

impl Vllm {
    fn usage(&self, made: &Made) -> Value {
        json!({
            "prompt_tokens": self.head.prompt_tokens,
            "total_tokens": self.head.prompt_tokens + made.tokens,
            "completion_tokens": made.tokens,
        })
    }

    fn event(&self, events: &mut String, choices: &Value, usage: Option<&Value>) {
        let data = json!({
            "request_id": format!("generate-{}", self.head.number), "usage": usage,
            "output_mode": "tokens", "choices": choices,
        });
        let _ = write!(events, "data: {data}\n\n");
    }
}

impl Form for Vllm {
    fn whole(&self, made: &Made, reason: FinishReason) -> Value {
        json!({
            "request_id": format!("generate-{}", self.head.number), "model": self.head.model,
            "created": self.head.created, "usage": self.usage(made), "output_mode": "tokens",
            "choices": [{
                "index": 0, "finish_reason": name(reason), "stop_reason": null,
                "token_ids": token_ids(made), "logprobs": null,
            }],
        })
    }

    fn begin(&self, _events: &mut String) {}

    fn token(&self, events: &mut String, made: &Made, reason: Option<FinishReason>) {
        let choice = json!({
            "index": 0, "finish_reason": reason.map(name), "stop_reason": null,
            "token_ids": [FIRST_TOKEN_ID + made.tokens - 1], "logprobs": null,
        });
        self.event(events, &json!([choice]), None);
    }

    fn end(&self, events: &mut String, made: &Made, _reason: FinishReason) {
        if self.tells_usage {
            self.event(events, &json!([]), Some(&self.usage(made)));
        }
        events.push_str("data: [DONE]\n\n");
    }
}

/// SGLang's answer. Each event has all text so far.
struct Sglang(Head);

impl Sglang {
    fn so_far(&self, made: &Made, reason: Option<FinishReason>) -> Value {
        let Self(head) = self;
        let reason = reason.map(|reason| match reason {
            FinishReason::Length => json!({ "type": "length", "length": made.tokens }),
            FinishReason::Stop => json!({ "type": "stop", "matched": null }),
        });
        json!({
            "text": made.text(), "output_ids": token_ids(made),
            "meta_info": {
                "id": format!("{:032x}", head.number), "finish_reason": reason,
                "prompt_tokens": head.prompt_tokens, "weight_version": "default",
                "completion_tokens": made.tokens, "cached_tokens": made.cached,
            },
        })
    }
}

impl Form for Sglang {
    fn whole(&self, made: &Made, reason: FinishReason) -> Value {
        self.so_far(made, Some(reason))
    }

    fn begin(&self, _events: &mut String) {}

    fn token(&self, events: &mut String, made: &Made, reason: Option<FinishReason>) {
        let _ = write!(events, "data: {}\n\n", self.so_far(made, reason));
    }

    fn end(&self, events: &mut String, _made: &Made, _reason: FinishReason) {
        events.push_str("data: [DONE]\n\n");
    }
}
