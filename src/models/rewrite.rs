//! Another name in the place of the one that a body has.

use core::ops::Range;

use serde_json::Value;

/// A name as a JSON string, quotes included.
#[must_use]
pub fn model_literal(name: &str) -> Vec<u8> {
    Value::from(name).to_string().into_bytes()
}

/// The body with `literal` in the place of its bytes `span`; as it is where it has no such bytes.
///
/// Every other byte stays, so what the client wrote reaches the server: the order of its keys, its
/// white space, and numbers of more digits than a parser keeps.
#[must_use]
pub fn replace(body: &[u8], span: Range<u64>, literal: &[u8]) -> Vec<u8> {
    let at = |offset| usize::try_from(offset).ok();
    let around = || {
        let (start, end) = (at(span.start)?, at(span.end)?);
        (start <= end).then_some((body.get(..start)?, body.get(end..)?))
    };
    match around() {
        Some((before, after)) => [before, literal, after].concat(),
        None => body.to_vec(),
    }
}
