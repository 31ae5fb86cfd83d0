//! Chat completions of any size.

use std::{fmt, str::FromStr};

use anyhow::{Context, Result, ensure};
use rand::{RngExt, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use serde::{Serialize, Serializer};

/// The longest content of one message: a long prompt is a conversation of many turns.
const TURN_BYTES: usize = 8_000;

/// The least that is worth a message of its own.
const LEAST_TURN_BYTES: usize = 100;

/// What a text is about, which decides how often JSON has to escape a character. It matters: what
/// parses JSON strings passes over plain text several times as fast as over escapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Text {
    /// Between prose and source code: an escape in every 40 bytes, and a letter beyond ASCII in every
    /// hundred.
    #[default]
    Mixed,
    /// A document: paragraphs of 600 bytes in English, with a line end behind each.
    Prose,
}

/// What text is made of, as it stands in JSON: words, line ends, quotes, and a letter beyond ASCII.
const MIXED: [&str; 18] = [
    "the ",
    "model ",
    "server ",
    "answers ",
    "every ",
    "question ",
    "of ",
    "which ",
    "endpoint ",
    "with ",
    "another ",
    "request ",
    "before ",
    "it ",
    "größer ",
    "1234 ",
    "\\n",
    "\\\"quoted\\\" ",
];

/// The words among them.
const WORDS: usize = 14;

/// How many words a paragraph has.
const PARAGRAPH: u32 = 100;

impl Text {
    fn piece(self, rng: &mut ChaCha8Rng) -> &'static str {
        let pieces: &[&str] = match self {
            Self::Mixed => &MIXED,
            Self::Prose if rng.random_ratio(1, PARAGRAPH) => return "\\n",
            Self::Prose => MIXED.get(..WORDS).unwrap_or(&MIXED),
        };
        pieces.choose(rng).copied().unwrap_or("a")
    }
}

/// The size of a request body, where in it the model is named, and what its text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shape {
    /// In bytes.
    pub(super) bytes: usize,
    /// Whether `model` comes after the messages, so that a picker has to read all of them; else it
    /// is the first field.
    pub(super) model_last: bool,
    /// What its messages are.
    pub(super) text: Text,
}

impl Shape {
    /// The body: a chat completion of exactly this many bytes, the same for the same seed.
    ///
    /// # Errors
    ///
    /// When it has no room for one message.
    pub(super) fn make(self, seed: u64) -> Result<Vec<u8>> {
        let (start, end) = if self.model_last {
            (
                r#"{"messages":["#,
                r#"],"max_tokens":16,"stream":false,"model":"tiny"}"#,
            )
        } else {
            (
                r#"{"model":"tiny","messages":["#,
                r#"],"max_tokens":16,"stream":false}"#,
            )
        };
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut body = String::with_capacity(self.bytes);
        body.push_str(start);
        let messages_end = self.bytes.saturating_sub(end.len());
        ensure!(
            messages_end >= start.len() + LEAST_TURN_BYTES,
            "a body of {} bytes is too small for a chat",
            self.bytes
        );
        let mut roles = ["user", "assistant"].into_iter().cycle();
        while body.len() < messages_end {
            let left = messages_end - body.len();
            // What is left after this one must be enough for another.
            let turn = if left >= TURN_BYTES + LEAST_TURN_BYTES {
                TURN_BYTES
            } else {
                left
            };
            let turn_end = body.len() + turn;
            if !body.ends_with('[') {
                body.push(',');
            }
            let role = roles.next().unwrap_or("user");
            body.push_str(&format!(r#"{{"role":"{role}","content":""#));
            let close = r#""}"#;
            fill(&mut body, turn_end - close.len(), self.text, &mut rng);
            body.push_str(close);
        }
        body.push_str(end);
        Ok(body.into_bytes())
    }
}

/// Appends text until `body` has `end` bytes.
fn fill(body: &mut String, end: usize, text: Text, rng: &mut ChaCha8Rng) {
    while body.len() < end {
        let piece = text.piece(rng);
        if body.len() + piece.len() <= end {
            body.push_str(piece);
        } else {
            body.push('a');
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, unit) = if self.bytes.is_multiple_of(1_000_000) {
            (self.bytes / 1_000_000, "m")
        } else {
            (self.bytes / 1_000, "k")
        };
        let model = if self.model_last { "-last" } else { "" };
        let text = match self.text {
            Text::Mixed => "",
            Text::Prose => "-prose",
        };
        write!(formatter, "{count}{unit}{model}{text}")
    }
}

impl FromStr for Shape {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (rest, text) = match text.strip_suffix("-prose") {
            Some(rest) => (rest, Text::Prose),
            None => (text, Text::Mixed),
        };
        let (size, model_last) = match rest.strip_suffix("-last") {
            Some(size) => (size, true),
            None => (rest, false),
        };
        let (count, unit) = match (size.strip_suffix('k'), size.strip_suffix('m')) {
            (Some(count), _) => (count, 1_000),
            (None, Some(count)) => (count, 1_000_000),
            (None, None) => (size, 0),
        };
        let count: usize = count.parse().unwrap_or_default();
        let bytes = count
            .checked_mul(unit)
            .filter(|bytes| *bytes > 0)
            .context("a body is a size like 220k or 1m, then perhaps -last, then perhaps -prose")?;
        Ok(Self {
            bytes,
            model_last,
            text,
        })
    }
}

impl Serialize for Shape {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn bodies_are_chats_of_exactly_their_size() -> Result<()> {
        for text in [
            "1k",
            "1k-last",
            "8k",
            "9k",
            "50k",
            "220k",
            "220k-last",
            "1m-last",
            "50k-prose",
            "220k-last-prose",
        ] {
            let shape: Shape = text.parse()?;
            assert_eq!(shape.to_string(), text);
            let body = shape.make(1)?;
            assert_eq!(body.len(), shape.bytes, "{text}");
            let chat: Value = serde_json::from_slice(&body)?;
            assert_eq!(chat["model"], "tiny", "{text}");
            let messages = chat["messages"].as_array().map_or(0, Vec::len);
            assert!(messages > 0 && messages >= shape.bytes / 10_000, "{text}");
            let of = |field: &str| {
                let body = String::from_utf8_lossy(&body).into_owned();
                body.find(field)
            };
            assert_eq!(
                of("\"model\"") > of("\"messages\""),
                shape.model_last,
                "{text}"
            );
        }
        Ok(())
    }

    #[test]
    fn one_seed_makes_one_body() -> Result<()> {
        let shape: Shape = "50k".parse()?;
        assert_eq!(shape.make(1)?, shape.make(1)?);
        assert_ne!(shape.make(1)?, shape.make(2)?);
        Ok(())
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "k",
            "1",
            "0k",
            "1g",
            "-1k",
            "last",
            "1k-first",
            "1k-prose-last",
        ] {
            assert!(text.parse::<Shape>().is_err(), "{text}");
        }
        let tiny = Shape {
            bytes: 100,
            model_last: false,
            text: Text::Mixed,
        };
        assert!(tiny.make(1).is_err());
    }
}
