//! What is found in JSON.

use core::ops::ControlFlow;

/// Is told what a [`Scanner`](super::Scanner) finds, in the order of the JSON.
///
/// A call that returns [`ControlFlow::Break`] ends the scan behind what it was told of.
pub trait Visitor {
    /// A key of the object under way, decoded. Of a long one only the beginning is told
    /// ([`Scanner::MAX_TOKEN`](super::Scanner::MAX_TOKEN)).
    fn key(&mut self, key: &[u8]);
    /// An object or an array begins.
    fn begin(&mut self, container: Container);
    /// The container that began last ends.
    fn end(&mut self) -> ControlFlow<()>;
    /// A string begins, its opening quote at this byte of the JSON. Tells whether its text is
    /// wanted.
    fn begin_string(&mut self, at: u64) -> bool;
    /// More of a wanted string's text, decoded: whole characters in UTF-8.
    fn text(&mut self, text: &[u8]) -> ControlFlow<()>;
    /// A string has ended, its closing quote before this byte of the JSON.
    fn end_string(&mut self, end: u64) -> ControlFlow<()>;
    /// A number, `true`, `false` or `null`.
    fn scalar(&mut self, scalar: Scalar<'_>) -> ControlFlow<()>;
}

/// What holds other values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
}

/// A value that is neither a string nor a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scalar<'a> {
    /// A number of digits only, that fits.
    Integer(u64),
    /// Any other, as it is written; of a long one only the beginning ([`Scanner::MAX_TOKEN`](super::Scanner::MAX_TOKEN)).
    Number(&'a [u8]),
    /// `true` or `false`
    Bool(bool),
    /// `null`
    Null,
}

/// Bytes that are not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} at byte {at}")]
pub struct Malformed {
    /// What could stand there.
    pub expected: &'static str,
    /// Where, from 0.
    pub at: u64,
}
