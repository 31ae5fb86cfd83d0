//! The Prometheus text format, version 0.0.4, as far as a picker needs it.
//!
//! A model server's exposition is tens of kilobytes, of which a picker wants a handful of lines.
//! So there are two speeds: [`samples`] walks the lines with SIMD searches and drops those whose
//! family nobody asked for, and only what is left meets the [line parser](parse_line). A line
//! that is not valid costs itself and nothing else.
//!
//! A [`Selector`] names the series of one family: `family{label="value"}`.
//!
//! ```
//! use endpoint_picker::exposition::{FamilySet, samples};
//!
//! let mut families = FamilySet::default();
//! let waiting = families.insert("vllm:num_requests_waiting");
//! let text = b"# TYPE vllm:num_requests_waiting gauge\n\
//!     vllm:num_requests_waiting{engine=\"0\"} 12.0\n\
//!     vllm:num_requests_waiting_by_reason{reason=\"capacity\"} 9.0\n";
//!
//! let found: Vec<_> = samples(text, &families).collect();
//! assert_eq!(found.len(), 1);
//! let (family, sample) = found.into_iter().next().unwrap().unwrap();
//! assert_eq!((family, sample.value), (waiting, 12.0));
//! ```

mod label;
mod line;
mod scan;
mod selector;

pub use label::Labels;
pub use line::{InvalidLine, Line, MetricType, Sample, parse_line};
pub use scan::{FamilyId, FamilySet, Samples, samples};
pub use selector::{Selector, SelectorError};
