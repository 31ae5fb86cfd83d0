//! Names and quoted values, the tokens that sample lines and selectors have in common.

use std::borrow::Cow;

use nom::{
    IResult, Parser,
    bytes::complete::{escaped_transform, is_not, take_while, take_while1},
    character::complete::char,
    combinator::{all_consuming, opt, recognize, value, verify},
    error::Error,
    multi::separated_list1,
    sequence::{delimited, pair, separated_pair, terminated},
};

/// The labels of one series, in the order of its line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Labels<'a>(pub(super) Vec<(&'a str, Cow<'a, str>)>);

impl Labels<'_> {
    /// The value of the label `name`, if the series has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find_map(|(label, value)| (label == name).then_some(value))
    }

    /// Every label with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_ref()))
    }
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`
pub(super) fn metric_name(input: &str) -> IResult<&str, &str> {
    name(input, |c| c == ':')
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`
pub(crate) fn label_name(input: &str) -> IResult<&str, &str> {
    name(input, |_| false)
}

/// Whether `text` is the whole name of a family.
pub(crate) fn is_family_name(text: &str) -> bool {
    all_consuming(metric_name).parse(text).is_ok()
}

/// Whether `text` is the whole name of a label.
pub(crate) fn is_label_name(text: &str) -> bool {
    all_consuming(label_name).parse(text).is_ok()
}

fn name(input: &str, also: impl Fn(char) -> bool) -> IResult<&str, &str> {
    recognize(pair(
        verify(nom::character::complete::anychar, |&c| {
            c.is_ascii_alphabetic() || c == '_' || also(c)
        }),
        take_while(|c: char| c.is_ascii_alphanumeric() || c == '_' || also(c)),
    ))
    .parse(input)
}

/// `{name=value,…}`, of which there may be none. Only the last may have a comma behind it.
pub(super) fn braced<'a, V>(
    value: impl Parser<&'a str, Output = V, Error = Error<&'a str>>,
) -> impl Parser<&'a str, Output = Vec<(&'a str, V)>, Error = Error<&'a str>> {
    let comma = || delimited(blanks, char(','), blanks);
    let equals = delimited(blanks, char('='), blanks);
    let label = separated_pair(label_name, equals, value);
    let list = opt(terminated(separated_list1(comma(), label), opt(comma())));
    delimited((char('{'), blanks), list, (blanks, char('}'))).map(Option::unwrap_or_default)
}

/// A double-quoted value with the escapes `\\`, `\"` and `\n`; borrowed where it has none.
pub(super) fn quoted(input: &str) -> IResult<&str, Cow<'_, str>> {
    let plain = |input| is_not("\"\\")(input);
    let unescaped = |input| {
        delimited(
            char('"'),
            opt(plain).map(Option::unwrap_or_default),
            char('"'),
        )
        .parse(input)
    };
    let escaped = |input| {
        delimited(
            char('"'),
            escaped_transform(
                take_while1(|c| c != '"' && c != '\\'),
                '\\',
                nom::branch::alt((
                    value("\\", char('\\')),
                    value("\"", char('"')),
                    value("\n", char('n')),
                )),
            ),
            char('"'),
        )
        .parse(input)
    };
    nom::branch::alt((unescaped.map(Cow::Borrowed), escaped.map(Cow::Owned))).parse(input)
}

/// Blanks and tabs, which may stand between any two tokens.
pub(super) fn blanks(input: &str) -> IResult<&str, &str> {
    take_while(is_blank)(input)
}

/// At least one, where two tokens would be one without.
pub(super) fn blanks1(input: &str) -> IResult<&str, &str> {
    take_while1(is_blank)(input)
}

pub(super) const fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}
