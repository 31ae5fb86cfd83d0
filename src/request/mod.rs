//! From a request to what the scheduler needs of it, and the errors that refuse one.
//!
//! A body is read as it arrives, by a [`Scanner`] that keeps nothing of it, and a [`RequestReader`]
//! that keeps what counts: the model's name, a few numbers, and the hashes of the prompt's blocks.
//!
//! ```
//! use endpoint_picker::request::{Api, Progress, RequestReader};
//!
//! let api = Api::of_path(b"/v1/chat/completions?trace=1").unwrap();
//! let mut reader = RequestReader::new(api, 64 * 1024);
//! for piece in [r#"{"messages": [{"role": "user", "con"#, r#"tent": "Hello"}], "model": "llama"}"#] {
//!     assert_eq!(reader.feed(piece.as_bytes()), Ok(Progress::More));
//! }
//! reader.finish().unwrap();
//!
//! let request = reader.request();
//! assert_eq!(request.model.as_ref().map(|model| &*model.name), Some("llama"));
//! assert_eq!(request.prompt.counts().text_bytes, "userHello".len() as u64);
//! ```

mod api;
mod content;
mod header_pairs;
mod headers;
mod held;
mod hints;
mod model_route;
mod prompt;
mod reader;
mod rejection;
mod scanner;
mod watched;

pub use api::{Api, Part};
pub use header_pairs::HeaderPairs;
pub use headers::{
    BASE_MODEL_NAME, DESTINATION_ENDPOINT, HeaderRules, MODEL_NAME, ORIGINAL_DST_HOST,
    PREFILL_INSTANCE, PREFILLER, RequestHead, Trusted, WORKER_INSTANCE, has_another_use,
};
pub use held::{HeldRequests, Overdue};
pub use hints::RequestHints;
pub use model_route::{ModelRoute, model_header};
pub use prompt::{Counts, Prompt, prompt_blocks};
pub use reader::{InferenceRequest, Progress, RequestReader, RequestedModel};
pub use rejection::{Rejection, RejectionReply};
pub use scanner::{Container, Malformed, Scalar, Scanner, Visitor};
pub use watched::Watched;
