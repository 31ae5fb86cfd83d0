//! What each engine calls the signals, and how an exposition becomes [`EndpointMetrics`].
//!
//! An engine is written as an [`EngineSpec`]: an [`Expression`] for each signal, or several of
//! which the first that finds its series counts. [`Engines`] are the presets with what a
//! configuration adds to them or changes. A [`MetricsReader`] reads the expositions of one endpoint
//! by its engine, or by the one that they tell.
//!
//! ```
//! use endpoint_picker::{
//!     model_server::{EngineChoice, Engines, MetricsReader},
//!     pool::{Observation, Signal},
//!     time::Timestamp,
//! };
//!
//! let engines = Engines::default();
//! let mut reader = MetricsReader::new(EngineChoice::Auto);
//! let exposition = b"sglang:num_queue_reqs{tp_rank=\"0\"} 3.0\nsglang:token_usage{tp_rank=\"0\"} 0.25\n";
//! let at = Timestamp::from_millis(1_000);
//! let metrics = reader.read(&engines, exposition, at, None);
//!
//! let engine = reader.engine().and_then(|id| engines.get(id)).unwrap();
//! assert_eq!(engine.name(), "sglang");
//! let waiting = metrics.observation(Signal::WaitingRequests);
//! assert_eq!(waiting, Observation::Value { value: 3.0, at });
//! assert_eq!(metrics.observation(Signal::RunningRequests), Observation::Missing);
//! ```
//!
//! [`EndpointMetrics`]: crate::pool::EndpointMetrics

mod engine;
mod expression;
mod lora;
mod mapping;
#[cfg(test)]
mod oracle;
mod presets;
mod process;
mod reader;
mod recognition;
mod series;
mod spec;
mod term;

pub use engine::{Engine, EngineError, EngineId, Engines};
pub use expression::{Aggregation, Expression, ExpressionError, Growth, Operator, Series};
pub use mapping::Mapping;
pub use presets::{PRESETS, Preset};
pub use reader::{EngineChoice, MetricsReader};
pub use series::History;
pub use spec::{Alternatives, EngineSpec, LoraSpec};
