//! Requests that are not routed, and the answers that say why.

use serde::Serialize;

use super::MalformedBody;

/// Why a request is answered here instead of by a model server.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    /// The body cannot be read.
    #[error("{0}")]
    InvalidJson(#[from] MalformedBody),
    /// The pool is empty.
    #[error(
        "no model server is known to pool '{pool}': add endpoints to its configuration, then retry"
    )]
    NoEndpoint {
        /// The pool's name.
        pool: String,
    },
    /// The proxy did not let the filter read the request or hand over its choice. Its log says
    /// what failed.
    #[error("the gateway could not route this request; its log says why")]
    Internal,
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: ErrorObject<'a>,
}

#[derive(Serialize)]
struct ErrorObject<'a> {
    message: &'a str,
    r#type: &'static str,
    code: &'static str,
}

impl Rejection {
    /// The HTTP status of the answer.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::InvalidJson(_) => 400,
            Self::NoEndpoint { .. } => 503,
            Self::Internal => 500,
        }
    }

    /// A name for the reason that stays the same between releases.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::InvalidJson(_) => "invalid_json",
            Self::NoEndpoint { .. } => "no_endpoint",
            Self::Internal => "gateway_error",
        }
    }

    /// The body of the answer, an error object in OpenAI's form.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let envelope = Envelope {
            error: ErrorObject {
                message: &self.to_string(),
                r#type: match self {
                    Self::InvalidJson(_) => "invalid_request_error",
                    Self::NoEndpoint { .. } => "service_unavailable_error",
                    Self::Internal => "server_error",
                },
                code: self.code(),
            },
        };
        serde_json::to_vec(&envelope).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Api, InferenceRequest};

    #[test]
    fn answers_have_the_form_of_openai_errors() {
        let malformed = InferenceRequest::parse(Api::Completions, b"{\"model\": ").unwrap_err();
        let rejection = Rejection::from(malformed);
        let body: serde_json::Value = serde_json::from_slice(&rejection.body()).unwrap();
        assert_eq!(rejection.status(), 400);
        assert_eq!(
            body,
            serde_json::json!({"error": {
                "message": "the request body is not valid JSON: EOF while parsing a value at line 1 column 10",
                "type": "invalid_request_error",
                "code": "invalid_json",
            }})
        );
    }
}
