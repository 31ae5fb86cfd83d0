//! Expressions: how a signal follows from the series of an exposition.
//!
//! ```text
//! expression := term (('+' | '-') term)*
//! term       := factor (('*' | '/') factor)*
//! factor     := number | '-' factor | '(' expression ')' | call | series
//! call       := ('sum' | 'max' | 'min' | 'mean' | 'latest') '(' series ')'
//!             | ('increase' | 'rate') '(' selector ')'
//! series     := selector | 'label' '(' selector ',' name ')'
//! ```
//!
//! It is the part of PromQL that can be answered from one scrape and the one before, with its names.

use core::{fmt, str::FromStr};

use nom::{
    IResult, Parser,
    branch::alt,
    bytes::complete::{tag, take_while},
    character::complete::{char, one_of, satisfy},
    combinator::{all_consuming, cut, peek, value, verify},
    error::{Error, ErrorKind},
    number::complete::double,
    sequence::{delimited, preceded, terminated},
};
use serde::{Deserialize, Deserializer, de};

use crate::exposition::{Selector, label_name, selector};

/// Longer than any sensible expression, and short enough that walking its tree needs little stack.
const MAX_LENGTH: usize = 2048;
/// Parentheses and signs inside each other.
const MAX_DEPTH: usize = 32;

/// How a number follows from series.
#[derive(Debug, Clone, PartialEq)]
pub enum Expression {
    /// A constant.
    Number(f64),
    /// The negative of another.
    Negative(Box<Self>),
    /// Two, with an operator between.
    Binary(Box<Self>, Operator, Box<Self>),
    /// Series to one number; `None` leaves the way to the signal that asks.
    Aggregate(Option<Aggregation>, Series),
    /// What counters grew by since the scrape before.
    Growth(Growth, Selector),
}

/// An operator between two expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are what they are called")]
pub enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// How the numbers of several series become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregation {
    /// Their sum.
    Sum,
    /// The largest.
    Max,
    /// The smallest.
    Min,
    /// Their arithmetic mean.
    Mean,
    /// The one with the latest timestamp; the first, where none has one.
    Latest,
}

/// What is asked of counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    /// The growth itself.
    Increase,
    /// The growth in a second.
    Rate,
}

/// The series that a selector takes, and which number of theirs counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// Which series.
    pub selector: Selector,
    /// The label whose value is the number; `None` for the series' own value.
    pub label: Option<Box<str>>,
}

/// A text that is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// It is not written as one.
    #[error(
        "expected an expression such as family{{label=\"value\"}}, sum(used) / sum(max) or \
         label(info, block_size), with the functions sum, max, min, mean, latest, increase, rate and \
         label, found {found:?}, which cannot be read from {rest:?} on"
    )]
    Unreadable {
        /// The text.
        found: String,
        /// What is left of it where reading stopped.
        rest: String,
    },
    /// It is longer than any may be.
    #[error("expected an expression of at most {MAX_LENGTH} bytes, found one of {length}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// It has too many parentheses and signs inside each other.
    #[error(
        "expected an expression with parentheses and signs less than {MAX_DEPTH} deep, found {found:?}"
    )]
    TooDeep {
        /// The text.
        found: String,
    },
}

impl FromStr for Expression {
    type Err = ExpressionError;

    fn from_str(text: &str) -> Result<Self, ExpressionError> {
        let found = || text.to_owned();
        let refused = |rest: &str| ExpressionError::Unreadable {
            found: found(),
            rest: rest.to_owned(),
        };
        if text.len() > MAX_LENGTH {
            let length = text.len();
            return Err(ExpressionError::TooLong { length });
        }
        let whole = terminated(|input| expression(input, MAX_DEPTH), blanks);
        match all_consuming(whole).parse(text) {
            Ok((_, expression)) => Ok(expression),
            Err(nom::Err::Failure(error)) if error.code == ErrorKind::TooLarge => {
                Err(ExpressionError::TooDeep { found: found() })
            }
            Err(nom::Err::Error(error) | nom::Err::Failure(error)) => Err(refused(error.input)),
            Err(nom::Err::Incomplete(_)) => Err(refused("")),
        }
    }
}

impl<'de> Deserialize<'de> for Expression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Negative(inner) => write!(f, "-({inner})"),
            Self::Binary(left, operator, right) => {
                let sign = match operator {
                    Operator::Add => '+',
                    Operator::Subtract => '-',
                    Operator::Multiply => '*',
                    Operator::Divide => '/',
                };
                write!(f, "({left}) {sign} ({right})")
            }
            Self::Aggregate(None, series) => series.fmt(f),
            Self::Aggregate(Some(aggregation), series) => {
                let name = AGGREGATIONS
                    .iter()
                    .find_map(|(name, of)| (of == aggregation).then_some(name));
                write!(f, "{}({series})", name.unwrap_or(&""))
            }
            Self::Growth(Growth::Increase, selector) => write!(f, "increase({selector})"),
            Self::Growth(Growth::Rate, selector) => write!(f, "rate({selector})"),
        }
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.label {
            Some(label) => write!(f, "label({}, {label})", self.selector),
            None => self.selector.fmt(f),
        }
    }
}

const AGGREGATIONS: [(&str, Aggregation); 5] = [
    ("sum", Aggregation::Sum),
    ("max", Aggregation::Max),
    ("min", Aggregation::Min),
    ("mean", Aggregation::Mean),
    ("latest", Aggregation::Latest),
];

/// `depth` is how much deeper it may go.
fn expression(input: &str, depth: usize) -> IResult<&str, Expression> {
    chain(
        input,
        |input| term(input, depth),
        |input| {
            let add = value(Operator::Add, char('+'));
            alt((add, value(Operator::Subtract, char('-')))).parse(input)
        },
    )
}

fn term(input: &str, depth: usize) -> IResult<&str, Expression> {
    chain(
        input,
        |input| factor(input, depth),
        |input| {
            let multiply = value(Operator::Multiply, char('*'));
            alt((multiply, value(Operator::Divide, char('/')))).parse(input)
        },
    )
}

/// Operands with operators between them, which bind to the left.
fn chain<'a>(
    input: &'a str,
    operand: impl Fn(&'a str) -> IResult<&'a str, Expression>,
    operator: impl Fn(&'a str) -> IResult<&'a str, Operator>,
) -> IResult<&'a str, Expression> {
    let (mut input, mut left) = operand(input)?;
    while let Ok((rest, operator)) = preceded(blanks, &operator).parse(input) {
        let (rest, right) = cut(&operand).parse(rest)?;
        left = Expression::Binary(Box::new(left), operator, Box::new(right));
        input = rest;
    }
    Ok((input, left))
}

fn factor(input: &str, depth: usize) -> IResult<&str, Expression> {
    let (input, _) = blanks(input)?;
    let Some(deeper) = depth.checked_sub(1) else {
        return Err(nom::Err::Failure(Error::new(input, ErrorKind::TooLarge)));
    };
    // A number begins with a digit: left to itself, `double` reads `inf` out of `inference`.
    let number = preceded(peek(satisfy(|c| c.is_ascii_digit() || c == '.')), double);
    let number = verify(number, |number| number.is_finite());
    let negative = preceded(char('-'), cut(|input| factor(input, deeper)));
    let group = delimited(
        char('('),
        cut(|input| expression(input, deeper)),
        cut((blanks, char(')'))),
    );
    alt((
        number.map(Expression::Number),
        negative.map(|inner| Expression::Negative(Box::new(inner))),
        group,
        growth,
        aggregate,
        series.map(|series| Expression::Aggregate(None, series)),
    ))
    .parse(input)
}

fn growth(input: &str) -> IResult<&str, Expression> {
    let increase = value(Growth::Increase, call("increase"));
    let (input, growth) = alt((increase, value(Growth::Rate, call("rate")))).parse(input)?;
    let (input, selector) = cut(delimited(blanks, selector, (blanks, char(')')))).parse(input)?;
    Ok((input, Expression::Growth(growth, selector)))
}

fn aggregate(input: &str) -> IResult<&str, Expression> {
    let by_name = AGGREGATIONS.iter().find_map(|(name, aggregation)| {
        let (rest, _) = call(name).parse(input).ok()?;
        Some((rest, *aggregation))
    });
    let Some((input, aggregation)) = by_name else {
        return Err(nom::Err::Error(Error::new(input, ErrorKind::Alt)));
    };
    let (input, series) = cut(terminated(series, (blanks, char(')')))).parse(input)?;
    Ok((input, Expression::Aggregate(Some(aggregation), series)))
}

fn series(input: &str) -> IResult<&str, Series> {
    let (input, _) = blanks(input)?;
    let of_label = |input| {
        let (input, _) = call("label").parse(input)?;
        let comma = delimited(blanks, char(','), blanks);
        let arguments = (terminated(selector, comma), label_name);
        let (input, (selector, label)) =
            cut(delimited(blanks, arguments, (blanks, char(')')))).parse(input)?;
        let label = Some(label.into());
        Ok((input, Series { selector, label }))
    };
    let own = selector.map(|selector| Series {
        selector,
        label: None,
    });
    alt((of_label, own)).parse(input)
}

/// What may stand between any two tokens; line ends too, for expressions written over several lines.
fn blanks(input: &str) -> IResult<&str, &str> {
    take_while(|c: char| c.is_ascii_whitespace())(input)
}

/// The name of a function with its opening parenthesis; a family may have that name too, and has
/// none.
fn call(name: &str) -> impl Parser<&str, Output = (), Error = Error<&str>> {
    terminated(value((), tag(name)), (blanks, one_of("(")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Expression {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn expressions_mean_what_they_say() {
        // As it is displayed, every operation in its own parentheses.
        for (text, meaning) in [
            ("a", "a"),
            (" a{b=c , d = \"e\"} ", "a{b=\"c\",d=\"e\"}"),
            ("1 - a / b", "(1) - ((a) / (b))"),
            ("a - b - c", "((a) - (b)) - (c)"),
            ("a*b+c", "((a) * (b)) + (c)"),
            ("a * (b + c)", "(a) * ((b) + (c))"),
            ("-a * 2.5e1", "(-(a)) * (25)"),
            ("- -a", "-(-(a))"),
            ("1 -\n  sum( a )\r\n\t/ b\n", "(1) - ((sum(a)) / (b))"),
            (".5*a", "(0.5) * (a)"),
            ("sum(a{x=y})/max( b )", "(sum(a{x=\"y\"})) / (max(b))"),
            ("min ( a ) + mean(b)", "(min(a)) + (mean(b))"),
            ("latest(a)", "latest(a)"),
            (
                "label( info{e=0} , block_size )",
                "label(info{e=\"0\"}, block_size)",
            ),
            ("sum(label(info, n))", "sum(label(info, n))"),
            (
                "increase(a_sum) / increase(a_count)",
                "(increase(a_sum)) / (increase(a_count))",
            ),
            ("rate(a{b=c})", "rate(a{b=\"c\"})"),
            // Families whose names begin as functions, numbers and operators do.
            ("sum", "sum"),
            ("rate{a=b} - label", "(rate{a=\"b\"}) - (label)"),
            ("summary", "summary"),
            ("inference_count", "inference_count"),
            ("nan", "nan"),
            ("a{b=c-d/e}", "a{b=\"c-d/e\"}"),
        ] {
            assert_eq!(parse(text).to_string(), meaning, "{text}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused_where_it_goes_wrong() {
        for (text, rest) in [
            ("", ""),
            ("  ", ""),
            ("a b", "b"),
            ("a -", ""),
            ("a / / b", "/ b"),
            ("(a", ""),
            ("a)", ")"),
            ("sum(a", ""),
            ("sum(a + b)", "+ b)"),
            ("sum(1)", "1)"),
            ("sum()", ")"),
            ("label(a)", ")"),
            ("label(a, 1)", "1)"),
            ("increase(label(a, b))", "(a, b))"),
            ("rate(sum(a))", "(a))"),
            ("a{b}", "{b}"),
            ("1a", "a"),
            ("1e999", "1e999"),
            ("größe", "öße"),
            ("ä", "ä"),
        ] {
            let expected = ExpressionError::Unreadable {
                found: text.to_owned(),
                rest: rest.to_owned(),
            };
            assert_eq!(text.parse::<Expression>(), Err(expected), "{text}");
        }
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let nested = |depth| format!("{}a{}", "(".repeat(depth), ")".repeat(depth));
        assert!(nested(MAX_DEPTH - 1).parse::<Expression>().is_ok());
        for found in [nested(MAX_DEPTH), "-".repeat(MAX_DEPTH)] {
            let error = found.parse::<Expression>();
            assert_eq!(error, Err(ExpressionError::TooDeep { found }));
        }
        let long = |terms| vec!["1"; terms].join("+");
        assert!(long(MAX_LENGTH / 2).parse::<Expression>().is_ok());
        let length = 2 * MAX_LENGTH - 1;
        assert_eq!(
            long(MAX_LENGTH).parse::<Expression>(),
            Err(ExpressionError::TooLong { length })
        );
    }

    fn any_expression() -> impl Strategy<Value = Expression> {
        let selector = ("[a-z_:][a-z0-9_:]{0,8}", prop::option::of("[ -~]{0,8}")).prop_map(
            |(family, value)| {
                let quoted = value.map_or_else(String::new, |value| {
                    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
                    format!("{{l=\"{value}\"}}")
                });
                format!("{family}{quoted}").parse::<Selector>().unwrap()
            },
        );
        let series =
            (selector.clone(), prop::option::of("[a-z_]{1,5}")).prop_map(|(selector, label)| {
                Series {
                    selector,
                    label: label.map(Into::into),
                }
            });
        let aggregation = prop::sample::select(AGGREGATIONS.to_vec()).prop_map(|(_, of)| of);
        let growth = prop::sample::select(vec![Growth::Increase, Growth::Rate]);
        let leaf = prop_oneof![
            (0.0..1e6).prop_map(Expression::Number),
            (prop::option::of(aggregation), series).prop_map(|(a, s)| Expression::Aggregate(a, s)),
            (growth, selector).prop_map(|(g, s)| Expression::Growth(g, s)),
        ];
        leaf.prop_recursive(6, 20, 2, |inner| {
            let operator = prop::sample::select(vec![
                Operator::Add,
                Operator::Subtract,
                Operator::Multiply,
                Operator::Divide,
            ]);
            prop_oneof![
                inner
                    .clone()
                    .prop_map(|e| Expression::Negative(Box::new(e))),
                (inner.clone(), operator, inner).prop_map(|(l, o, r)| Expression::Binary(
                    Box::new(l),
                    o,
                    Box::new(r)
                )),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_displayed_is_read_back(expression in any_expression()) {
            let text = expression.to_string();
            prop_assume!(text.len() <= MAX_LENGTH);
            prop_assert_eq!(text.parse(), Ok(expression));
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = text.parse::<Expression>();
        }
    }
}
