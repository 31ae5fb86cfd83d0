//! What must hold of any input, as functions that panic where it does not.
//!
//! Two drivers call them: libFuzzer with what it finds (`scripts/fuzz`), and the tests of this crate,
//! with its corpus and with generated inputs.

mod exposition;
mod expression;
mod metrics;
mod naive;
mod request;

pub use exposition::exposition;
pub use expression::expression;
pub use metrics::metrics;
pub use request::request;

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod generated;
#[cfg(test)]
#[cfg(feature = "steps")]
mod linear;
