//! The text format read the plain way, for comparison: line by line, character by character, each
//! piece copied. It has nothing in common with the parser but the rules, which are in the
//! documentation of [`endpoint_picker::exposition`].

use std::{collections::VecDeque, fmt};

/// What a line can be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Line {
    /// Nothing, or white space.
    Blank,
    /// A line that starts with `#`, and is none of the next two.
    Comment,
    /// A description.
    Help {
        /// The family described.
        family: String,
        /// Its description.
        text: String,
    },
    /// A declaration.
    Type {
        /// The family declared.
        family: String,
        /// Its type, by the format's name.
        metric_type: &'static str,
    },
    /// One series with its value.
    Sample(Sample),
    /// Anything else.
    Invalid,
}

/// One series with its value.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// The name before the labels.
    pub(crate) family: String,
    /// Names and values.
    pub(crate) labels: Vec<(String, String)>,
    /// The number.
    pub(crate) value: f64,
    /// The time.
    pub(crate) timestamp: Option<i64>,
}

/// NaN is itself here, and 0 is not -0.
impl PartialEq for Sample {
    fn eq(&self, other: &Self) -> bool {
        self.family == other.family
            && self.labels == other.labels
            && self.value.to_bits() == other.value.to_bits()
            && self.timestamp == other.timestamp
    }
}

/// As a line that says the same.
impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{{", self.family)?;
        for (name, value) in &self.labels {
            let value = value
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            write!(f, "{name}=\"{value}\",")?;
        }
        write!(f, "}} {}", self.value)?;
        match self.timestamp {
            Some(timestamp) => write!(f, " {timestamp}"),
            None => Ok(()),
        }
    }
}

/// The samples of the families `wanted`, in the order of the exposition.
pub(crate) fn samples(exposition: &[u8], wanted: &[&str]) -> Vec<Sample> {
    let mut found = Vec::new();
    for text in exposition.split(|byte| *byte == b'\n') {
        if let Line::Sample(sample) = line(text)
            && wanted.contains(&sample.family.as_str())
        {
            found.push(sample);
        }
    }
    found
}

/// What a line says, without its line end.
pub(crate) fn line(line: &[u8]) -> Line {
    let Ok(line) = core::str::from_utf8(line) else {
        return Line::Invalid;
    };
    let line = line.trim_matches(|c: char| c.is_ascii_whitespace());
    if line.is_empty() {
        return Line::Blank;
    }
    match line.strip_prefix('#') {
        Some(text) => comment(text).unwrap_or(Line::Comment),
        None => sample(line).map_or(Line::Invalid, Line::Sample),
    }
}

fn comment(text: &str) -> Option<Line> {
    let words: Vec<&str> = text
        .split([' ', '\t'])
        .filter(|word| !word.is_empty())
        .collect();
    let family = (*words.get(1)?).to_owned();
    if !is_name(&family, true) {
        return None;
    }
    if words.first() == Some(&"HELP") {
        let after_keyword = text.split_once("HELP")?.1;
        let after_family = after_keyword.split_once(family.as_str())?.1;
        let text = after_family.trim_start_matches([' ', '\t']).to_owned();
        return Some(Line::Help { family, text });
    }
    if words.first() == Some(&"TYPE") && words.len() == 3 {
        let metric_type = ["counter", "gauge", "histogram", "summary"]
            .into_iter()
            .find(|known| words.last() == Some(known))
            .unwrap_or("untyped");
        return Some(Line::Type {
            family,
            metric_type,
        });
    }
    None
}

fn sample(line: &str) -> Option<Sample> {
    let mut rest: VecDeque<char> = line.chars().collect();
    let family = take_name(&mut rest, true)?;
    let separated = skip_blanks(&mut rest);
    let mut labels = Vec::new();
    if take(&mut rest, '{') {
        labels = take_labels(&mut rest)?;
    } else if !separated {
        return None;
    }
    let rest: String = rest.into_iter().collect();
    let words: Vec<&str> = rest
        .split([' ', '\t'])
        .filter(|word| !word.is_empty())
        .collect();
    let (value, timestamp) = match words.as_slice() {
        [value] => (number(value)?, None),
        [value, timestamp] => (number(value)?, Some(timestamp.parse().ok()?)),
        _ => return None,
    };
    Some(Sample {
        family,
        labels,
        value,
        timestamp,
    })
}

/// What follows the opening brace, up to the closing one.
fn take_labels(rest: &mut VecDeque<char>) -> Option<Vec<(String, String)>> {
    let mut labels = Vec::new();
    loop {
        skip_blanks(rest);
        if take(rest, '}') {
            return Some(labels);
        }
        let name = take_name(rest, false)?;
        skip_blanks(rest);
        if !take(rest, '=') {
            return None;
        }
        skip_blanks(rest);
        labels.push((name, take_quoted(rest)?));
        skip_blanks(rest);
        if !take(rest, ',') {
            return take(rest, '}').then_some(labels);
        }
    }
}

fn take_quoted(rest: &mut VecDeque<char>) -> Option<String> {
    let mut value = String::new();
    if !take(rest, '"') {
        return None;
    }
    loop {
        match rest.pop_front()? {
            '"' => return Some(value),
            '\\' => match rest.pop_front()? {
                '\\' => value.push('\\'),
                '"' => value.push('"'),
                'n' => value.push('\n'),
                _ => return None,
            },
            c => value.push(c),
        }
    }
}

fn take_name(rest: &mut VecDeque<char>, colons: bool) -> Option<String> {
    let mut name = String::new();
    while let Some(&c) = rest.front() {
        if !(c.is_ascii_alphanumeric() || c == '_' || c == ':' && colons) {
            break;
        }
        name.push(c);
        rest.pop_front();
    }
    is_name(&name, colons).then_some(name)
}

fn is_name(text: &str, colons: bool) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':' && colons)
}

fn take(rest: &mut VecDeque<char>, c: char) -> bool {
    let found = rest.front() == Some(&c);
    if found {
        rest.pop_front();
    }
    found
}

/// Whether there was any.
fn skip_blanks(rest: &mut VecDeque<char>) -> bool {
    let before = rest.len();
    while take(rest, ' ') || take(rest, '\t') {}
    rest.len() < before
}

fn number(word: &str) -> Option<f64> {
    let unsigned = word.strip_prefix(['+', '-']).unwrap_or(word);
    let unsigned = unsigned.to_ascii_lowercase();
    if ["nan", "inf", "infinity"].contains(&unsigned.as_str()) {
        return word.parse().ok();
    }
    let (mantissa, exponent) = unsigned.split_once('e').unwrap_or((&unsigned, "0"));
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    let well_formed = digits(whole)
        && digits(fraction)
        && digits(exponent)
        && !exponent.is_empty()
        && !(whole.is_empty() && fraction.is_empty());
    if well_formed { word.parse().ok() } else { None }
}
