//! What was entered for a request, until it is known who reads its prompt.

use super::BlockHash;

/// Blocks that are kept of a prompt: 4 KiB, and all that is hashed of its four parts unless more is
/// configured. Of a longer one the first count.
const MAX_BLOCKS: usize = 512;

/// What a request has entered for one endpoint, to be corrected should another read its prompt, or nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entered {
    blocks: Box<[BlockHash]>,
    /// As many of the first of them the endpoint held before.
    held: usize,
    cold: bool,
}

impl Entered {
    /// What is to be kept of a prompt of these `blocks`, which was entered for an endpoint that held as
    /// many of the first of them before, a `cold` one if nobody held any. Where no other endpoint may read
    /// it, what the endpoint held is not kept. `None` if there is nothing to correct.
    #[must_use]
    pub fn new(blocks: &[BlockHash], held: usize, cold: bool, may_move: bool) -> Option<Self> {
        let (kept, held) = if may_move {
            (blocks, held)
        } else {
            (blocks.get(held..)?, 0)
        };
        let kept = kept.get(..MAX_BLOCKS).unwrap_or(kept);
        (!kept.is_empty()).then(|| Self {
            blocks: kept.into(),
            held,
            cold,
        })
    }

    /// What is to be entered for the endpoint that reads it instead.
    #[must_use]
    pub const fn blocks(&self) -> &[BlockHash] {
        &self.blocks
    }

    /// What the endpoint does not hold if it does not read it.
    #[must_use]
    pub fn unread(&self) -> &[BlockHash] {
        self.blocks.get(self.held..).unwrap_or_default()
    }

    /// Whether nobody held any of it.
    #[must_use]
    pub const fn is_cold(&self) -> bool {
        self.cold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(range: core::ops::Range<usize>) -> Vec<BlockHash> {
        range.map(|block| BlockHash(block as u64)).collect()
    }

    #[test]
    fn what_may_have_to_be_corrected_is_kept() {
        for (length, held, may_move, kept, unread) in [
            (0, 0, true, None, 0..0),
            (5, 0, true, Some(0..5), 0..5),
            (5, 2, true, Some(0..5), 2..5),
            // All that it was sent it held before: there is nothing to take back.
            (5, 5, true, Some(0..5), 5..5),
            (5, 0, false, Some(0..5), 0..5),
            (5, 2, false, Some(2..5), 2..5),
            (5, 5, false, None, 0..0),
            // Of a long one the first, or the first of those that it did not hold.
            (9_000, 7, true, Some(0..512), 7..512),
            (9_000, 700, true, Some(0..512), 512..512),
            (9_000, 700, false, Some(700..1_212), 700..1_212),
        ] {
            let entered = Entered::new(&blocks(0..length), held, true, may_move);
            let case = format!("{held} of {length}, {may_move}");
            let found = entered.as_ref().map(|entered| entered.blocks().to_vec());
            assert_eq!(found, kept.map(blocks), "{case}");
            let found = entered.map(|entered| entered.unread().to_vec());
            assert_eq!(found.unwrap_or_default(), blocks(unread), "{case}");
        }
    }
}
