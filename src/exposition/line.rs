//! One line of an exposition.

use nom::{
    IResult, Parser,
    bytes::complete::{tag, take_till1, take_while1},
    character::complete::{char, i64 as signed},
    combinator::{all_consuming, map_res, opt, rest},
    multi::separated_list0,
    sequence::{delimited, preceded, separated_pair, terminated},
};

use super::label::{Labels, blanks, label_name, metric_name, quoted};

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
/// # Errors
/// When the line is neither blank, nor a comment, nor a sample, or is not UTF-8.
pub fn parse_line(line: &[u8]) -> Result<Line<'_>, InvalidLine> {
    let line = core::str::from_utf8(line)
        .map_err(|_| InvalidLine)?
        .trim_matches([' ', '\t', '\r']);
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
    all_consuming(nom::branch::alt((help, type_declaration)))
        .parse(comment)
        .map_or(Line::Comment, |(_, line)| line)
}

fn help(input: &str) -> IResult<&str, Line<'_>> {
    let (input, family) = described("HELP", input)?;
    let (input, text) = preceded(blanks, rest).parse(input)?;
    Ok((input, Line::Help { family, text }))
}

fn type_declaration(input: &str) -> IResult<&str, Line<'_>> {
    let (input, family) = described("TYPE", input)?;
    let (input, word) =
        delimited(blanks, take_till1(|c| c == ' ' || c == '\t'), blanks).parse(input)?;
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
    let blank = take_while1(|c| c == ' ' || c == '\t');
    preceded((blanks, tag(keyword), blank), metric_name).parse(input)
}

fn sample(input: &str) -> IResult<&str, Sample<'_>> {
    let (input, family) = metric_name(input)?;
    let (input, labels) = opt(preceded(blanks, labels)).parse(input)?;
    let (input, value) = preceded(blanks, number).parse(input)?;
    let (input, timestamp) =
        opt(preceded(take_while1(|c| c == ' ' || c == '\t'), signed)).parse(input)?;
    Ok((
        input,
        Sample {
            family,
            labels: labels.unwrap_or_default(),
            value,
            timestamp,
        },
    ))
}

fn labels(input: &str) -> IResult<&str, Labels<'_>> {
    let comma = || delimited(blanks, char(','), blanks);
    let equals = delimited(blanks, char('='), blanks);
    let label = separated_pair(label_name, equals, quoted);
    let list = terminated(separated_list0(comma(), label), opt(comma()));
    delimited((char('{'), blanks), list, (blanks, char('}')))
        .map(Labels)
        .parse(input)
}

/// Whatever Rust reads as a float is what Prometheus writes: `1.8e+09`, `NaN`, `+Inf`.
fn number(input: &str) -> IResult<&str, f64> {
    map_res(take_till1(|c| c == ' ' || c == '\t'), str::parse).parse(input)
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
