//! What each engine calls the signals, and how an exposition becomes [`EndpointMetrics`].
//!
//! [`EndpointMetrics`]: crate::pool::EndpointMetrics

mod engine;
mod mapping;

pub use engine::Engine;
pub use mapping::{Mapping, SignalSelectors};
