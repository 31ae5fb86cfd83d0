//! Requests that are not served, said as vLLM says it.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

/// Why a request is not served.
pub(super) enum Refusal {
    /// The body is not what the API asks for, or asks for too much.
    Bad(String),
    /// There is no such model.
    UnknownModel(String),
    /// The server fails, as it was told to.
    Failing,
}

/// The form in which an API tells errors.
#[derive(Clone, Copy)]
pub(super) enum Style {
    OpenAi,
    Anthropic,
}

impl Refusal {
    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::Bad(_) => StatusCode::BAD_REQUEST,
            Self::UnknownModel(_) => StatusCode::NOT_FOUND,
            Self::Failing => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(super) fn in_style(self, style: Style) -> Response {
        let status = self.status();
        let (kind, message) = match self {
            Self::Bad(message) => ("BadRequestError", message),
            Self::UnknownModel(model) => (
                "NotFoundError",
                format!("The model `{model}` does not exist."),
            ),
            Self::Failing => (
                "InternalServerError",
                "This server was told to fail.".to_owned(),
            ),
        };
        let error = match style {
            Style::OpenAi => {
                json!({ "error": { "message": message, "type": kind, "param": null, "code": status.as_u16() } })
            }
            Style::Anthropic => {
                json!({ "type": "error", "error": { "type": kind, "message": message } })
            }
        };
        (status, Json(error)).into_response()
    }
}
