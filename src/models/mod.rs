//! Names of models: what clients ask for, what servers are asked for, and the way back.
//!
//! A [`ModelCatalog`] says which model a requested name stands for: another name of the same model,
//! one of several by weight, an adapter on a base model, or itself. Where the two names differ, the
//! one in the request's body is replaced ([`model_literal`], [`replace`]), and a [`NameRestorer`]
//! puts the requested name back into the answer.
//!
//! ```
//! use endpoint_picker::{
//!     config::Settings,
//!     models::{Resolved, Target},
//! };
//!
//! let settings = Settings::from_json(
//!     br#"{
//!         "endpoints": {"static": ["10.0.0.1:8000"]},
//!         "metrics": {"cluster": "scrapes"},
//!         "models": {"names": {
//!             "gpt-4o": {"targets": [{"model": "llama-70b"}]},
//!             "sql-*": {"base": "llama-70b"}
//!         }}
//!     }"#,
//! )
//! .unwrap();
//! let mut rng = fastrand::Rng::with_seed(1);
//! let mut resolve = |name| settings.models.resolve(name, &mut rng);
//!
//! let alias = Target { model: "llama-70b", base: "llama-70b" };
//! assert_eq!(resolve("gpt-4o"), Resolved::Listed(alias));
//! let adapter = Target { model: "sql-v2", base: "llama-70b" };
//! assert_eq!(resolve("sql-v2"), Resolved::Listed(adapter));
//! assert_eq!(resolve("phi-4"), Resolved::Unlisted);
//! ```

mod catalog;
mod pattern;
mod restore;
mod rewrite;

pub use catalog::{ModelCatalog, ModelEntry, Resolved, Target, WeightedTarget};
pub use pattern::{MAX_NAME, ModelPattern, PatternTable};
pub use restore::{AnswerKind, NameRestorer};
pub use rewrite::{model_literal, replace};
