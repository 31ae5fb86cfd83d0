//! The targets with generated inputs: expositions and expressions written by their grammars, put
//! together from its tokens in any order, and mutated, real ones among them.

use std::{fmt, fs, path::Path, sync::LazyLock};

use proptest::{collection::vec, prelude::*, sample::select};

use crate::{exposition::WANTED, metrics::NEXT_SCRAPE};

/// The expositions of `fixtures/metrics`, one after the other.
static REAL: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/metrics");
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    files.flat_map(|file| fs::read(file).unwrap()).collect()
});

/// What the grammar is made of, its neighbours, and what editors, other formats and broken servers
/// put between.
pub(crate) const TOKENS: &[&str] = &[
    "{", "}", "{}", "\"", "\"\"", "\\", "\\n", "\\t", "\\\\", "\\\"", ",", "=", "=\"", " ", "  ",
    "\t", "\r", "\n", "\r\n", "\x0b", "\x0c", "\0", "#", "# ", "HELP", "TYPE", "# HELP ",
    "# TYPE ", "gauge", "counter", "a", "b", "up", "_", ":", "1", "0", "12", "-", "+", ".", "e",
    "E5", "e+09", "NaN", "nan", "+Inf", "inf", "infinity", "0x1p-2", "1_000", "1e999", "é",
    "\u{a0}", "\u{2028}", "٣", "\u{feff}", "b=\"c\"", "a 1", "up{} 5",
];

fn blanks() -> impl Strategy<Value = String> {
    "[ \t]{0,2}"
}

fn label_value() -> impl Strategy<Value = String> {
    let plain = prop_oneof![
        Just(String::new()),
        "[ -~]{0,12}",
        any::<String>(),
        "[,={}#\"\\\\n\n]{0,6}"
    ];
    let escaped = plain.prop_map(|value| {
        value
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n")
    });
    // Seldom as it stands, so that most lines are valid.
    prop_oneof![9 => escaped, 1 => any::<String>()]
}

fn label() -> impl Strategy<Value = String> {
    (
        "[a-zA-Z_][a-zA-Z0-9_]{0,5}",
        blanks(),
        blanks(),
        label_value(),
    )
        .prop_map(|(name, before, after, value)| format!("{name}{before}={after}\"{value}\""))
}

fn labels() -> impl Strategy<Value = String> {
    let list = (
        vec(label(), 0..4),
        blanks(),
        blanks(),
        prop::bool::weighted(0.2),
    );
    let braced = list.prop_map(|(labels, before, after, comma)| {
        let list = labels.join(&format!("{before},{after}"));
        let comma = if comma { "," } else { "" };
        format!("{{{before}{list}{after}{comma}{before}}}")
    });
    prop_oneof![1 => Just(String::new()), 3 => braced]
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<f64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| format!("{number:e}")),
        any::<u32>().prop_map(|number| format!("{number}.0")),
        select(
            &[
                "NaN",
                "-nan",
                "+Inf",
                "-Inf",
                "Infinity",
                "1.8e+09",
                "1.7886264546318772e+09",
                "-0",
                "5.",
                ".5"
            ][..]
        )
        .prop_map(str::to_owned),
        select(&["", ".", "e5", "0x1p-2", "1_000", "1e999", "1,5", "None"][..])
            .prop_map(str::to_owned),
        "[0-9.eE+-]{1,8}",
    ]
}

fn family() -> impl Strategy<Value = String> {
    let wanted = select(&WANTED[..]).prop_map(str::to_owned);
    let longer =
        (select(&WANTED[..]), "[a-z_:]{1,10}").prop_map(|(family, more)| format!("{family}{more}"));
    prop_oneof![6 => wanted, 1 => longer, 2 => "[a-zA-Z_:][a-zA-Z0-9_:]{0,20}", 1 => any::<String>()]
}

fn timestamp() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just(String::new()),
        1 => any::<i64>().prop_map(|time| format!(" {time}")),
        1 => "[ \t]{1,2}[+-]?[0-9]{0,20}",
    ]
}

fn line() -> impl Strategy<Value = String> {
    let sample = (
        blanks(),
        family(),
        blanks(),
        labels(),
        "[ \t]{0,2}",
        number(),
        timestamp(),
        blanks(),
    )
        .prop_map(
            |(before, family, gap, labels, space, number, timestamp, after)| {
                format!("{before}{family}{gap}{labels}{space}{number}{timestamp}{after}")
            },
        );
    let declaration = (
        "#[ \t]{0,2}(HELP|TYPE)[ \t]{0,2}",
        family(),
        "[ \t]{0,2}([ -~]{0,9}|gauge|counter|summary|histogram)[ \t]{0,2}",
    )
        .prop_map(|(keyword, family, rest)| format!("{keyword}{family}{rest}"));
    prop_oneof![
        12 => sample,
        3 => declaration,
        1 => "#.{0,10}",
        1 => "[ \t\r]{0,3}",
        1 => any::<String>(),
    ]
}

fn exposition() -> impl Strategy<Value = String> {
    let end = select(&["\n", "\n", "\n", "\r\n", "\n\n", "\r"][..]);
    vec((line(), end), 0..12).prop_map(|lines| {
        let lines = lines.iter().map(|(line, end)| format!("{line}{end}"));
        lines.collect()
    })
}

/// What happens to bytes.
#[derive(Debug, Clone)]
enum Mutation {
    Replace(prop::sample::Index, u8),
    Insert(prop::sample::Index, &'static str),
    Remove(prop::sample::Index, prop::sample::Index),
    /// A piece stands twice, and the second time elsewhere.
    Copy(
        prop::sample::Index,
        prop::sample::Index,
        prop::sample::Index,
    ),
    Truncate(prop::sample::Index),
}

impl Mutation {
    fn apply(&self, text: &mut Vec<u8>) {
        let at = |index: &prop::sample::Index, text: &[u8]| index.index(text.len() + 1);
        let range = |from, to, text: &[u8]| {
            let (from, to) = (at(from, text), at(to, text));
            from.min(to)..from.max(to).min(from.min(to) + 200)
        };
        match self {
            Self::Replace(place, byte) => {
                let place = at(place, text);
                if let Some(old) = text.get_mut(place) {
                    *old = *byte;
                }
            }
            Self::Insert(place, token) => {
                let place = at(place, text);
                text.splice(place..place, token.bytes());
            }
            Self::Remove(from, to) => {
                text.drain(range(from, to, text));
            }
            Self::Copy(from, to, place) => {
                let piece = text[range(from, to, text)].to_vec();
                let place = at(place, text);
                text.splice(place..place, piece);
            }
            Self::Truncate(place) => text.truncate(at(place, text)),
        }
    }
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => (index(), any::<u8>()).prop_map(|(place, byte)| Mutation::Replace(place, byte)),
        4 => (index(), select(TOKENS)).prop_map(|(place, token)| Mutation::Insert(place, token)),
        2 => (index(), index()).prop_map(|(from, to)| Mutation::Remove(from, to)),
        2 => (index(), index(), index()).prop_map(|(from, to, place)| Mutation::Copy(from, to, place)),
        1 => index().prop_map(Mutation::Truncate),
    ]
}

/// Some lines of a real exposition.
fn excerpt() -> impl Strategy<Value = Vec<u8>> {
    (any::<prop::sample::Index>(), 0..3000_usize).prop_map(|(from, length)| {
        let from = from.index(REAL.len());
        REAL[from..REAL.len().min(from + length)].to_vec()
    })
}

/// What expressions are made of.
const EXPRESSION_TOKENS: &[&str] = &[
    "sum", "max", "min", "mean", "latest", "increase", "rate", "label", "a", "b_total", "a:b",
    "inf", "nan", "(", ")", "{", "}", "{}", ",", "=", "+", "-", "*", "/", " ", "\t", "\n", "1",
    "0.5", ".5", "5.", "1e9", "1e999", "e", ".", "\"", "\\", "\"c\"", "\\n", "c d", "é", "\u{a0}",
    "a{b=c}", "sum(a)", "(a)", "-a", "a + ", " / b",
];

fn scrapes() -> impl Strategy<Value = Vec<u8>> {
    let scrape = || prop_oneof![exposition().prop_map(String::into_bytes), excerpt()];
    (scrape(), scrape(), any::<bool>()).prop_map(|(first, second, alike)| {
        let second = if alike { first.clone() } else { second };
        [first, second].join(&NEXT_SCRAPE)
    })
}

fn mutated(text: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Text> {
    (text, vec(mutation(), 0..12)).prop_map(|(mut text, mutations)| {
        for mutation in mutations {
            mutation.apply(&mut text);
        }
        Text(text)
    })
}

/// Is shown as text where a test fails.
struct Text(Vec<u8>);

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn generated_expositions_are_read_as_they_are_naively(text in exposition()) {
        crate::exposition(text.as_bytes());
    }

    #[test]
    fn tokens_in_any_order_are_read_as_they_are_naively(tokens in vec(select(TOKENS), 0..12)) {
        crate::exposition(tokens.concat().as_bytes());
    }

    #[test]
    fn mutated_expositions_are_read_as_they_are_naively(
        text in mutated(prop_oneof![exposition().prop_map(String::into_bytes), excerpt()]),
    ) {
        crate::exposition(&text.0);
    }

    #[test]
    fn any_bytes_are_read_as_they_are_naively(text in vec(any::<u8>(), 0..100)) {
        crate::exposition(&text);
    }

    #[test]
    fn metrics_are_those_that_are_read_naively(text in mutated(scrapes())) {
        crate::metrics(&text.0);
    }

    #[test]
    fn expressions_are_displayed_as_they_are_read(tokens in vec(select(EXPRESSION_TOKENS), 0..12)) {
        crate::expression(tokens.concat().as_bytes());
    }
}
