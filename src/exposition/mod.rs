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
//!
//! # What counts as valid
//!
//! What [the format's documentation] says. Where that leaves freedom, or where servers take some:
//!
//! - A line ends at a line feed or with the text. A server that forgets the last line feed loses no
//!   sample by it, and that a body was cut is known from HTTP.
//! - White space at both ends of a line is that of ASCII, so that a carriage return before the line
//!   feed belongs to neither value nor timestamp. Between tokens it is blanks and tabs.
//! - A name ends at a blank, a tab or `{`: `up+1` is no sample.
//! - Braces may be empty, and only a last label may have a comma behind it. A label that a series has
//!   twice counts as it is first written.
//! - A backslash begins one of the three escapes, or the line is not valid.
//! - A value is decimal: neither `0x1p-2` nor `1_000`. NaN may have a sign, as C writes it, and a number
//!   too large to hold is infinite.
//! - `HELP` and `TYPE` without what belongs to them are comments, and a type that the format does not
//!   know is untyped.
//! - That each family stands together and each series once is nobody's to check here.
//!
//! [the format's documentation]: https://prometheus.io/docs/instrumenting/exposition_formats/

mod label;
mod line;
mod scan;
mod selector;

pub use label::Labels;
pub(crate) use label::{is_family_name, is_label_name, label_name};
pub use line::{InvalidLine, Line, MetricType, Sample, parse_line};
pub use scan::{FamilyId, FamilySet, Samples, samples};
pub(crate) use selector::selector;
pub use selector::{Selector, SelectorError};
