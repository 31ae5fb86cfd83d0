//! Requests that are not routed, and the answers that say why.

use serde::Serialize;

use super::{Api, Malformed};

/// Endpoints come and go within a few scrapes; a client that comes back sooner finds what it left.
const RETRY_AFTER_SECONDS: u32 = 5;

/// Why a request is answered here instead of by a model server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The body cannot be read.
    #[error("the request body is not valid JSON: {0}")]
    InvalidJson(#[from] Malformed),
    /// The configuration does not know the model.
    #[error("the model '{model}' does not exist")]
    ModelNotFound {
        /// The model asked for.
        model: String,
    },
    /// The body has not come.
    #[error("the request body did not arrive in time")]
    BodyTimeout,
    /// There is no endpoint to choose.
    #[error(
        "no model server of pool '{pool}' can take this request: its configuration has none, or none \
         of those that the gateway allows; retry later"
    )]
    NoEndpoint {
        /// The pool's name.
        pool: String,
    },
    /// Every endpoint has more to do than the configuration lets it have.
    #[error("every model server of pool '{pool}' that can take this request is busy; retry later")]
    Saturated {
        /// The pool's name.
        pool: String,
    },
    /// The proxy did not let the filter read the request or hand over its choice. Its log says
    /// what failed.
    #[error("the gateway could not route this request; its log says why")]
    Internal,
}

/// An answer in place of a model server's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectionReply {
    /// The HTTP status.
    pub status: u16,
    /// Seconds after which to ask again, for the header `retry-after`.
    pub retry_after: Option<u32>,
    /// JSON.
    pub body: Vec<u8>,
}

/// What OpenAI's clients read, and vLLM answers with.
#[derive(Serialize)]
struct OpenAiError<'a> {
    error: OpenAiDetail<'a>,
}

#[derive(Serialize)]
struct OpenAiDetail<'a> {
    message: &'a str,
    r#type: &'static str,
    param: Option<&'static str>,
    code: &'static str,
}

/// What Anthropic's clients read. `code` is no field of theirs, and they pass over it.
#[derive(Serialize)]
struct AnthropicError<'a> {
    r#type: &'static str,
    error: AnthropicDetail<'a>,
}

#[derive(Serialize)]
struct AnthropicDetail<'a> {
    r#type: &'static str,
    message: &'a str,
    code: &'static str,
}

impl Rejection {
    /// A name for the reason that stays the same between releases.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::InvalidJson(_) => "invalid_json",
            Self::ModelNotFound { .. } => "model_not_found",
            Self::BodyTimeout => "request_timeout",
            Self::NoEndpoint { .. } => "no_endpoint",
            Self::Saturated { .. } => "saturated",
            Self::Internal => "gateway_error",
        }
    }

    /// The answer to a request to `api`, in the form that its clients read: Anthropic's of its
    /// messages, OpenAI's of everything else.
    #[must_use]
    pub fn reply(&self, api: Option<Api>) -> RejectionReply {
        let message = self.to_string();
        let code = self.code();
        let body = match api {
            Some(Api::Messages) => serde_json::to_vec(&AnthropicError {
                r#type: "error",
                error: AnthropicDetail {
                    r#type: self.anthropic_type(),
                    message: &message,
                    code,
                },
            }),
            _ => serde_json::to_vec(&OpenAiError {
                error: OpenAiDetail {
                    message: &message,
                    r#type: self.openai_type(),
                    param: matches!(self, Self::ModelNotFound { .. }).then_some("model"),
                    code,
                },
            }),
        };
        RejectionReply {
            status: self.status(),
            retry_after: matches!(self, Self::NoEndpoint { .. } | Self::Saturated { .. })
                .then_some(RETRY_AFTER_SECONDS),
            body: body.unwrap_or_default(),
        }
    }

    const fn status(&self) -> u16 {
        match self {
            Self::InvalidJson(_) => 400,
            Self::ModelNotFound { .. } => 404,
            Self::BodyTimeout => 408,
            Self::NoEndpoint { .. } => 503,
            Self::Saturated { .. } => 429,
            Self::Internal => 500,
        }
    }

    const fn openai_type(&self) -> &'static str {
        match self {
            Self::InvalidJson(_) | Self::ModelNotFound { .. } => "invalid_request_error",
            Self::BodyTimeout => "timeout_error",
            Self::NoEndpoint { .. } => "service_unavailable_error",
            Self::Saturated { .. } => "rate_limit_error",
            Self::Internal => "server_error",
        }
    }

    const fn anthropic_type(&self) -> &'static str {
        match self {
            Self::InvalidJson(_) => "invalid_request_error",
            Self::ModelNotFound { .. } => "not_found_error",
            Self::BodyTimeout => "timeout_error",
            Self::NoEndpoint { .. } => "overloaded_error",
            Self::Saturated { .. } => "rate_limit_error",
            Self::Internal => "api_error",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::request::RequestReader;

    fn reply(rejection: &Rejection, api: Option<Api>) -> (u16, Option<u32>, Value) {
        let reply = rejection.reply(api);
        let body = serde_json::from_slice(&reply.body).unwrap();
        (reply.status, reply.retry_after, body)
    }

    #[test]
    fn answers_have_the_form_of_openai_errors() {
        let mut reader = RequestReader::new(Api::Completions, 0);
        reader.feed(b"{\"model\": ").unwrap();
        let rejection = Rejection::from(reader.finish().unwrap_err());
        let body = json!({"error": {
            "message": "the request body is not valid JSON: expected more, not the end, at byte 10",
            "type": "invalid_request_error",
            "param": null,
            "code": "invalid_json",
        }});
        assert_eq!(reply(&rejection, Some(Api::Completions)), (400, None, body));

        let model = "a\"b".to_owned();
        let body = json!({"error": {
            "message": "the model 'a\"b' does not exist",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }});
        let rejection = Rejection::ModelNotFound { model };
        assert_eq!(
            reply(&rejection, Some(Api::ChatCompletions)),
            (404, None, body)
        );
    }

    #[test]
    fn messages_are_answered_in_the_form_of_anthropic_errors() {
        let body = json!({"type": "error", "error": {
            "type": "timeout_error",
            "message": "the request body did not arrive in time",
            "code": "request_timeout",
        }});
        assert_eq!(
            reply(&Rejection::BodyTimeout, Some(Api::Messages)),
            (408, None, body)
        );
    }

    #[test]
    fn who_may_come_back_is_told_when() {
        let pool = || "default".to_owned();
        for (rejection, status, code) in [
            (Rejection::NoEndpoint { pool: pool() }, 503, "no_endpoint"),
            (Rejection::Saturated { pool: pool() }, 429, "saturated"),
        ] {
            let (replied, retry_after, body) = reply(&rejection, None);
            assert_eq!((replied, retry_after), (status, Some(RETRY_AFTER_SECONDS)));
            assert_eq!(body["error"]["code"], code);
        }
    }
}
