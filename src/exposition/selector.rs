//! Selectors: `family{label="value",other=value}`.

use core::{fmt, str::FromStr};
use std::borrow::Cow;

use nom::{
    IResult, Parser,
    branch::alt,
    bytes::complete::take_while1,
    character::complete::one_of,
    combinator::{all_consuming, not, opt},
    sequence::preceded,
};
use serde::{Deserialize, Deserializer, de};

use super::label::{Labels, blanks, braced, metric_name, quoted};

/// Names the series of one family which have the given labels.
///
/// The family is compared as a whole name, and the labels are a subset of the series' own: a
/// selector without labels takes every series of its family. Values may stand in quotes, with
/// the escapes of the text format, or bare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    family: Box<str>,
    labels: Vec<(Box<str>, Box<str>)>,
}

impl Selector {
    /// Every series of a family.
    pub(crate) fn all_of(family: &str) -> Self {
        Self {
            family: family.into(),
            labels: Vec::new(),
        }
    }

    /// The family's full name.
    #[must_use]
    pub fn family(&self) -> &str {
        &self.family
    }

    /// Whether a series of this family with `labels` is meant.
    #[must_use]
    pub fn matches(&self, labels: &Labels<'_>) -> bool {
        self.labels
            .iter()
            .all(|(name, value)| labels.get(name) == Some(value.as_ref()))
    }
}

/// A text that is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a selector such as family{{label=\"value\"}}, found {found:?}")]
pub struct SelectorError {
    /// The text.
    pub found: String,
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        all_consuming(selector)
            .parse(text.trim())
            .map(|(_, selector)| selector)
            .map_err(|_| SelectorError {
                found: text.to_owned(),
            })
    }
}

impl<'de> Deserialize<'de> for Selector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.family)?;
        for (at, (name, value)) in self.labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            write!(f, "{before}{name}=\"")?;
            for c in value.chars() {
                match c {
                    '\\' => f.write_str("\\\\")?,
                    '"' => f.write_str("\\\"")?,
                    '\n' => f.write_str("\\n")?,
                    c => fmt::Write::write_char(f, c)?,
                }
            }
            f.write_str("\"")?;
        }
        if self.labels.is_empty() {
            Ok(())
        } else {
            f.write_str("}")
        }
    }
}

/// The selector that `input` begins with.
pub(crate) fn selector(input: &str) -> IResult<&str, Selector> {
    let (input, family) = metric_name(input)?;
    let value = alt((quoted, bare.map(Cow::Borrowed)));
    let (input, labels) = opt(preceded(blanks, braced(value))).parse(input)?;
    let labels = labels
        .unwrap_or_default()
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    let family = family.into();
    Ok((input, Selector { family, labels }))
}

/// A value without quotes: up to the next comma or brace, and no quote inside it. What begins as
/// another kind of quote or matcher does in PromQL is none: it would be compared with it, and no series
/// have it.
fn bare(input: &str) -> IResult<&str, &str> {
    let (input, _) = not(one_of("'`~")).parse(input)?;
    take_while1(|c| !matches!(c, ',' | '}' | '{' | '"'))
        .map(str::trim_end)
        .parse(input)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_displayed_is_read_back(
            family in "[a-zA-Z_:][a-zA-Z0-9_:]{0,20}",
            labels in prop::collection::vec(("[a-zA-Z_][a-zA-Z0-9_]{0,8}", any::<String>()), 0..4),
        ) {
            let selector = Selector {
                family: family.into(),
                labels: labels.into_iter().map(|(n, v)| (n.into(), v.into())).collect(),
            };
            prop_assert_eq!(selector.to_string().parse(), Ok(selector));
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = text.parse::<Selector>();
        }
    }
}
