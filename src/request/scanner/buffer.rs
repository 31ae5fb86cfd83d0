//! A few bytes that are kept.

use crate::bytes::copy;

/// The first bytes of something.
#[derive(Debug, Clone)]
pub(super) struct Buffer<const N: usize> {
    pub(super) bytes: [u8; N],
    pub(super) length: usize,
}

impl<const N: usize> Buffer<N> {
    pub(super) const fn new() -> Self {
        Self {
            bytes: [0; N],
            length: 0,
        }
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.length == 0
    }

    #[inline]
    pub(super) const fn clear(&mut self) {
        self.length = 0;
    }

    /// Adds all of `more`, or nothing where it does not fit. Tells whether it did.
    #[inline]
    pub(super) fn push(&mut self, more: &[u8]) -> bool {
        let end = self.length + more.len();
        let Some(space) = self.bytes.get_mut(self.length..end) else {
            return false;
        };
        copy(more, space);
        self.length = end;
        true
    }

    /// Adds as much of `more` as fits.
    pub(super) fn push_cut(&mut self, more: &[u8]) {
        let space = N - self.length;
        self.push(more.get(..space).unwrap_or(more));
    }
}
