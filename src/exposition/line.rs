//! One line of an exposition.

use nom::{
    IResult, Parser,
    branch::alt,
    bytes::complete::{tag, take_till1},
    character::complete::i64 as signed,
    combinator::{all_consuming, eof, map_res, opt, rest},
    sequence::{delimited, preceded},
};

use super::label::{Labels, blanks, blanks1, braced, is_blank, metric_name, quoted};

/// What a line can be.
#[derive(Debug, Clone, PartialEq)]
pub enum Line<'a> {
    /// Nothing, or blanks.
    Blank,
    /// `# HELP family text`, the text as it stands.
    Help {
        /// The family described.
        family: &'a str,
        /// Its description, escapes left in.
        text: &'a str,
    },
    /// `# TYPE family type`
    Type {
        /// The family declared.
        family: &'a str,
        /// Its declared type.
        metric_type: MetricType,
    },
    /// Any other line that starts with `#`.
    Comment,
    /// One series with its value.
    Sample(Sample<'a>),
}

/// The declared type of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricType {
    /// Only goes up, until its process restarts.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Cumulative buckets with a sum and a count.
    Histogram,
    /// Quantiles with a sum and a count.
    Summary,
    /// Declared as `untyped`, or as a type this format does not have.
    Untyped,
}

/// One series with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample<'a> {
    /// The name before the labels, in full.
    pub family: &'a str,
    /// Its labels.
    pub labels: Labels<'a>,
    /// Its value; NaN and both infinities are values of this format.
    pub value: f64,
    /// Milliseconds since the Unix epoch, where the server says when it measured.
    pub timestamp: Option<i64>,
}

/// A line that is no valid line of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a line of the Prometheus text format")]
pub struct InvalidLine;

/// Parses one line, without its line end.
///
/// In time linear in its length: the grammar has no nesting, so what is given up as one thing is read
/// as another a few times at most. A value is read again for its escapes, and what turns out to be
/// no list of labels as a number.
///
/// # Errors
/// When the line is neither blank, nor a comment, nor a sample, or is not UTF-8.
pub fn parse_line(line: &[u8]) -> Result<Line<'_>, InvalidLine> {
    let line = core::str::from_utf8(line.trim_ascii()).map_err(|_| InvalidLine)?;
    match line.strip_prefix('#') {
        _ if line.is_empty() => Ok(Line::Blank),
        Some(comment) => Ok(parse_comment(comment)),
        None => all_consuming(sample)
            .parse(line)
            .map(|(_, sample)| Line::Sample(sample))
            .map_err(|_| InvalidLine),
    }
}

fn parse_comment(comment: &str) -> Line<'_> {
    all_consuming(alt((help, type_declaration)))
        .parse(comment)
        .map_or(Line::Comment, |(_, line)| line)
}

fn help(input: &str) -> IResult<&str, Line<'_>> {
    let (input, family) = described("HELP", input)?;
    let (input, text) = alt((preceded(blanks1, rest), eof)).parse(input)?;
    Ok((input, Line::Help { family, text }))
}

fn type_declaration(input: &str) -> IResult<&str, Line<'_>> {
    let (input, family) = described("TYPE", input)?;
    let (input, word) = preceded(blanks1, word).parse(input)?;
    let metric_type = match word {
        "counter" => MetricType::Counter,
        "gauge" => MetricType::Gauge,
        "histogram" => MetricType::Histogram,
        "summary" => MetricType::Summary,
        _ => MetricType::Untyped,
    };
    Ok((
        input,
        Line::Type {
            family,
            metric_type,
        },
    ))
}

fn described<'a>(keyword: &str, input: &'a str) -> IResult<&'a str, &'a str> {
    preceded((blanks, tag(keyword), blanks1), metric_name).parse(input)
}

fn sample(input: &str) -> IResult<&str, Sample<'_>> {
    let (input, family) = metric_name(input)?;
    let labels = delimited(blanks, braced(quoted), blanks).map(Labels);
    let none = blanks1.map(|_| Labels::default());
    let (input, labels) = alt((labels, none)).parse(input)?;
    // What Rust reads as a float is what Go does, in decimal notation: `1.8e+09`, `NaN`, `+Inf`.
    let (input, value) = map_res(word, str::parse).parse(input)?;
    let (input, timestamp) = opt(preceded(blanks1, signed)).parse(input)?;
    Ok((
        input,
        Sample {
            family,
            labels,
            value,
            timestamp,
        },
    ))
}

/// Up to a blank or the end.
fn word(input: &str) -> IResult<&str, &str> {
    take_till1(is_blank)(input)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn comments_are_told_apart() {
        for (line, expected) in [
            ("", Line::Blank),
            ("  \t\r", Line::Blank),
            ("#", Line::Comment),
            ("# free text", Line::Comment),
            ("# HELPING nobody", Line::Comment),
            ("# TYPE", Line::Comment),
            ("# TYPE a", Line::Comment),
            ("# TYPE a b c", Line::Comment),
            ("# TYPE a+b c", Line::Comment),
            ("# HELP a+b c", Line::Comment),
            (
                "#HELP a",
                Line::Help {
                    family: "a",
                    text: "",
                },
            ),
            (
                "# HELP a:b What it \\n counts.",
                Line::Help {
                    family: "a:b",
                    text: "What it \\n counts.",
                },
            ),
            (
                "#  TYPE  a  gauge ",
                Line::Type {
                    family: "a",
                    metric_type: MetricType::Gauge,
                },
            ),
            (
                "# TYPE a stateset",
                Line::Type {
                    family: "a",
                    metric_type: MetricType::Untyped,
                },
            ),
        ] {
            assert_eq!(parse_line(line.as_bytes()), Ok(expected), "{line:?}");
        }
    }

    fn escape(value: &str) -> String {
        value
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n")
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            family in "[a-zA-Z_:][a-zA-Z0-9_:]{0,20}",
            labels in prop::collection::vec(("[a-zA-Z_][a-zA-Z0-9_]{0,8}", any::<String>()), 0..5),
            value in any::<f64>(),
            timestamp in any::<Option<i64>>(),
        ) {
            let list: Vec<_> = labels
                .iter()
                .map(|(name, value)| format!("{name}=\"{}\"", escape(value)))
                .collect();
            let time = timestamp.map_or_else(String::new, |t| format!(" {t}"));
            let line = format!("{family}{{{}}} {value}{time}", list.join(","));

            let Ok(Line::Sample(sample)) = parse_line(line.as_bytes()) else {
                return Err(TestCaseError::fail(line));
            };
            prop_assert_eq!(sample.family, family.as_str());
            let expected: Vec<_> = labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            prop_assert_eq!(sample.labels.iter().collect::<Vec<_>>(), expected);
            prop_assert_eq!(sample.value.to_bits() & !(1 << 63), value.to_bits() & !(1 << 63));
            prop_assert_eq!(sample.timestamp, timestamp);
        }

        #[test]
        fn no_bytes_make_it_panic(line in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_line(&line);
        }
    }

    #[test]
    fn unescaped_values_are_borrowed() {
        let Ok(Line::Sample(sample)) = parse_line(br#"a{b="c",d="e\\f"} 1"#) else {
            panic!("a valid line");
        };
        assert!(matches!(sample.labels.0[0].1, Cow::Borrowed("c")));
        assert!(matches!(sample.labels.0[1].1, Cow::Owned(_)));
    }
}
