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
//! assert_eq!(settings.metrics.scrape.interval.as_millis(), 200);
//!
//! let error = Settings::from_json(
//!     br#"{"endpoints": {"static": ["model-server:8000"]}, "metrics": {"cluster": "scrapes"}}"#,
//! )
//! .unwrap_err();
//! assert!(error.to_string().starts_with("endpoints.static[0]: "), "{error}");
//! ```

pub mod epp;
mod metrics;
pub mod schema;
mod settings;

pub use metrics::{EngineOf, MetricsSettings};
pub use settings::{ConfigError, Settings};
