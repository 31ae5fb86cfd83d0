//! Conversations of a wanted size.

use fastrand::Rng;

/// Sizes of bodies and prompts: a question, a long conversation, a document, and a whole
/// context. In bytes.
pub(crate) const SIZES: [(&str, usize); 4] = [
    ("1 KB", 1_000),
    ("50 KB", 50_000),
    ("220 KB", 220_000),
    ("1 MB", 1_000_000),
];

/// What is talked about, which decides how often JSON has to escape a character.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Talk {
    /// Words, without any character to escape.
    Prose,
    /// Nothing but short words, quotes, tabs and line ends, an escape every four bytes or so: several
    /// times as many as source code has.
    EscapeDense,
    /// Words in another script than Latin, three bytes a character.
    Unicode,
}

/// `bytes` bytes of text.
pub(crate) fn text(talk: Talk, bytes: usize) -> String {
    let (words, ends): (&[&str], &[&str]) = match talk {
        Talk::Prose => (
            &[
                "the",
                "model",
                "answers",
                "questions",
                "about",
                "a",
                "long",
                "document",
            ],
            &[" ", " ", " ", ", ", ". "],
        ),
        Talk::EscapeDense => (
            &[
                "if",
                "x",
                "return",
                "\"name\"",
                "match",
                "\"\"",
                "self.rows",
                "=>",
            ],
            &["\n\t", " ", ";\n", "\n"],
        ),
        Talk::Unicode => (
            &[
                "模型",
                "回答",
                "关于",
                "一份",
                "很长的",
                "文件",
                "的",
                "问题",
            ],
            &["", "", "", "，", "。"],
        ),
    };
    let mut rng = Rng::with_seed(7);
    let mut text = String::with_capacity(bytes + 16);
    while text.len() < bytes {
        text.extend(rng.choice(words).copied());
        text.extend(rng.choice(ends).copied());
    }
    text.truncate(text.floor_char_boundary(bytes));
    text
}
