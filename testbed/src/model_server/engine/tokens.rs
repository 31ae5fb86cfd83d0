//! Tokens, and the chained hashes of their blocks.

use std::hash::{DefaultHasher, Hasher};

/// Tokens in a block of the KV cache: vLLM's default on GPUs.
pub const BLOCK_TOKENS: usize = 16;

/// Bytes of text in a token: the rule of thumb for English.
const TOKEN_BYTES: usize = 4;

/// What an answer says, over and over. Each is one token of exactly four bytes, so that an answer
/// which comes back in the next turn of a conversation has the tokens that were generated.
const WORDS: [&str; 8] = [
    "The ", "answ", "er i", "s fr", "om a", " sim", "ulat", "or. ",
];

/// The text of an answer's token; nothing in it has to be escaped in JSON.
pub(crate) fn token_text(index: usize) -> &'static str {
    WORDS.get(index % WORDS.len()).copied().unwrap_or_default()
}

/// The hash of a block and of all blocks before it.
pub(super) type BlockHash = u64;

/// A growing sequence of tokens, of which the hashes of its complete blocks are known.
///
/// Block `i`'s hash covers block `i - 1`'s, and the first one's the model or adapter, since the same
/// text has other keys and values there.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    hashes: Vec<BlockHash>,
    /// The hasher of the block that is not complete yet.
    open: DefaultHasher,
    length: usize,
}

impl Tokens {
    /// No tokens, for this model or adapter.
    pub(crate) fn new(model: &str) -> Self {
        let mut open = DefaultHasher::new();
        open.write(model.as_bytes());
        Self {
            hashes: Vec::new(),
            open,
            length: 0,
        }
    }

    /// Appends a token.
    pub(crate) fn push(&mut self, token: u32) {
        self.open.write_u32(token);
        self.length += 1;
        if self.length.is_multiple_of(BLOCK_TOKENS) {
            let hash = self.open.finish();
            self.hashes.push(hash);
            self.open = DefaultHasher::new();
            self.open.write_u64(hash);
        }
    }

    /// Appends the tokens of a text: four bytes each, the last one padded with zeros.
    pub(crate) fn push_text(&mut self, text: &str) {
        for bytes in text.as_bytes().chunks(TOKEN_BYTES) {
            let token = bytes
                .iter()
                .rev()
                .fold(0, |token, byte| token << 8 | u32::from(*byte));
            self.push(token);
        }
    }

    /// Appends the answer's token of this index.
    pub(super) fn push_generated(&mut self, index: usize) {
        self.push_text(token_text(index));
    }

    /// How many they are.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// The hashes of the complete blocks.
    pub(super) fn hashes(&self) -> &[BlockHash] {
        &self.hashes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(model: &str, text: &str) -> Vec<BlockHash> {
        let mut tokens = Tokens::new(model);
        tokens.push_text(text);
        tokens.hashes().to_vec()
    }

    #[test]
    fn a_hash_covers_all_that_comes_before() {
        let text = "0123456789".repeat(20);
        let whole = hashes("a", &text);
        assert_eq!(whole.len(), 3);
        assert_eq!(hashes("a", &text[..128]), whole[..2]);
        assert_ne!(hashes("b", &text)[0], whole[0]);
        let changed = hashes("a", &text.replacen('0', "x", 1));
        assert!(
            changed
                .iter()
                .zip(&whole)
                .all(|(changed, hash)| changed != hash)
        );
    }

    #[test]
    fn an_answer_that_comes_back_has_the_tokens_generated() {
        let (mut generated, mut sent) = (Tokens::new("a"), Tokens::new("a"));
        let mut text = String::new();
        for index in 0..100 {
            generated.push_generated(index);
            text.push_str(token_text(index));
        }
        sent.push_text(&text);
        assert_eq!(sent.len(), 100);
        assert_eq!(sent.hashes(), generated.hashes());
    }
}
