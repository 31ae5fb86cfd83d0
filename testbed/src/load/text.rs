//! Texts to ask with.

use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

/// How many bytes of text stand for a token: the rule of thumb for English, and what the simulated
/// servers count.
pub(super) const TOKEN_BYTES: usize = 4;

/// 64 words: the eleven or so in a block of 16 tokens tell it from every other by chance alone.
const WORDS: [&str; 64] = [
    "able", "also", "answer", "back", "became", "before", "better", "book", "bring", "call",
    "city", "clear", "cold", "common", "country", "course", "day", "deep", "door", "early",
    "earth", "enough", "example", "family", "figure", "follow", "friend", "garden", "great",
    "ground", "hand", "head", "house", "idea", "keep", "large", "letter", "light", "little",
    "machine", "matter", "money", "morning", "music", "never", "night", "number", "order", "paper",
    "people", "place", "plan", "point", "question", "river", "room", "school", "second", "small",
    "story", "table", "town", "water", "world",
];

/// A text of exactly this many tokens.
pub(super) fn text(tokens: u32, random: &mut ChaCha8Rng) -> String {
    let bytes = tokens as usize * TOKEN_BYTES;
    let mut text = String::with_capacity(bytes + 16);
    while text.len() < bytes {
        text.push_str(WORDS.choose(random).copied().unwrap_or_default());
        text.push(' ');
    }
    // All of it is ASCII.
    text.truncate(bytes);
    text
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_text_has_its_length_and_is_like_no_other() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let (first, second) = (text(100, &mut random), text(100, &mut random));
        assert_eq!((first.len(), second.len()), (400, 400));
        let blocks = |text: &str| -> Vec<String> {
            text.as_bytes()
                .chunks(64)
                .map(|block| String::from_utf8_lossy(block).into_owned())
                .collect()
        };
        let second = blocks(&second);
        assert!(blocks(&first).iter().all(|block| !second.contains(block)));
        assert!(text(0, &mut random).is_empty());
    }
}
