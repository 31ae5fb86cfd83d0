//! The plugin configuration: JSON into [`Settings`], as a whole or not at all.
//!
//! [`schema`] mirrors the file and is parsed by serde, which refuses unknown fields;
//! [`Settings`] is what it means, checked once. What of it is the Endpoint Picker's ([`epp`]) is put
//! into the own fields first. Every [`ConfigError`] names the JSON path of what
//! is wrong and what would be accepted.
//!
//! ```
//! use endpoint_picker::config::Settings;
//!
//! let settings = Settings::from_json(
//!     br#"{"endpoints": {"static": ["10.0.0.1:8000"]}, "metrics": {"cluster": "scrapes"}}"#,
//! )
//! .unwrap();
//! assert_eq!(settings.pools[0].metrics.scrape.interval.as_millis(), 200);
//!
//! let error = Settings::from_json(
//!     br#"{"endpoints": {"static": ["model-server:8000"]}, "metrics": {"cluster": "scrapes"}}"#,
//! )
//! .unwrap_err();
//! assert!(error.to_string().starts_with("endpoints.static[0]: "), "{error}");
//! ```

mod destination;
pub mod disaggregation;
mod duplicates;
pub mod epp;
pub mod explanation;
mod header_name;
mod headers;
mod metrics;
pub mod models;
mod pool_chooser;
mod pools;
pub mod prefix_cache;
mod request;
pub mod scheduling;
pub mod schema;
mod settings;

pub use destination::DestinationSettings;
pub use disaggregation::DisaggregationHeaders;
pub use explanation::ExplanationSettings;
pub use headers::HeaderSettings;
pub use metrics::{EngineOf, MetricsSettings};
pub use pool_chooser::PoolChooser;
pub use pools::PoolSettings;
pub use request::RequestSettings;
pub use settings::{ConfigError, Settings};
