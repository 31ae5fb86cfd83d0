//! From a request to what the scheduler needs of it, and the errors that refuse one.
//!
//! ```
//! use endpoint_picker::request::{Api, InferenceRequest};
//!
//! let api = Api::of_path(b"/v1/chat/completions?trace=1").unwrap();
//! let body = br#"{"messages": [{"role": "user", "content": "Hello"}], "model": "llama"}"#;
//! let request = InferenceRequest::parse(api, body).unwrap();
//! assert_eq!(request.model.as_deref(), Some("llama"));
//! assert_eq!(request.prompt.text().collect::<String>(), "Hello");
//! ```

mod api;
mod body;
mod rejection;
mod text;

pub use api::Api;
pub use body::{InferenceRequest, MalformedBody, Message, Prompt};
pub use rejection::Rejection;
pub use text::Text;
