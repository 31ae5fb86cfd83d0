//! Expressions made ready to be evaluated: series by their indexes, defaults in place.

use super::{
    Expression,
    expression::{Aggregation, Growth, Operator, Series},
    series::{Anew, Collected, History, Outcome, Wanted},
};
use crate::time::Timestamp;

/// An [`Expression`] by the indexes of what it asks for.
#[derive(Debug, Clone)]
pub(super) enum Term {
    Number(f64),
    Negative(Box<Self>),
    Binary(Box<Self>, Operator, Box<Self>),
    Aggregate(Aggregation, usize),
    Growth(Growth, usize),
}

/// What terms are evaluated on.
#[derive(Debug)]
pub(super) struct Scrape<'a> {
    pub(super) wanted: &'a Wanted,
    pub(super) collected: Collected<'a>,
    pub(super) history: &'a History,
    pub(super) anew: Anew,
    pub(super) at: Timestamp,
}

impl Term {
    /// Adds what `expression` asks for to `wanted`. Series of which it does not say how they become
    /// one number do so by `aggregation`.
    pub(super) fn new(
        expression: &Expression,
        aggregation: Aggregation,
        wanted: &mut Wanted,
    ) -> Self {
        match expression {
            Expression::Number(number) => Self::Number(*number),
            Expression::Negative(inner) => {
                Self::Negative(Box::new(Self::new(inner, aggregation, wanted)))
            }
            Expression::Binary(left, operator, right) => Self::Binary(
                Box::new(Self::new(left, aggregation, wanted)),
                *operator,
                Box::new(Self::new(right, aggregation, wanted)),
            ),
            Expression::Aggregate(own, series) => {
                Self::Aggregate(own.unwrap_or(aggregation), wanted.add(series))
            }
            Expression::Growth(growth, selector) => {
                let series = Series {
                    selector: selector.clone(),
                    label: None,
                };
                Self::Growth(*growth, wanted.add_counter(&series))
            }
        }
    }

    /// Its value. What is missing makes the whole missing, and what is unmeasured the rest
    /// unmeasured.
    pub(super) fn evaluate(&self, scrape: &Scrape<'_>) -> Outcome {
        match self {
            Self::Number(number) => Outcome::Number(*number),
            Self::Negative(inner) => match inner.evaluate(scrape) {
                Outcome::Number(number) => Outcome::Number(-number),
                outcome => outcome,
            },
            Self::Binary(left, operator, right) => {
                match (left.evaluate(scrape), right.evaluate(scrape)) {
                    (Outcome::Missing, _) | (_, Outcome::Missing) => Outcome::Missing,
                    (Outcome::Unmeasured, _) | (_, Outcome::Unmeasured) => Outcome::Unmeasured,
                    // A mean over a time in which nothing was counted.
                    (_, Outcome::Number(count))
                        if *operator == Operator::Divide
                            && count == 0.0
                            && right.is_of_growth() =>
                    {
                        Outcome::Unmeasured
                    }
                    (Outcome::Number(left), Outcome::Number(right)) => {
                        Outcome::Number(match operator {
                            Operator::Add => left + right,
                            Operator::Subtract => left - right,
                            Operator::Multiply => left * right,
                            Operator::Divide => left / right,
                        })
                    }
                }
            }
            Self::Aggregate(aggregation, series) => {
                scrape.collected.aggregate(*aggregation, *series)
            }
            Self::Growth(growth, counter) => scrape.wanted.growth(*growth, *counter, scrape),
        }
    }

    /// Whether it asks for any series.
    pub(super) fn asks(&self) -> bool {
        match self {
            Self::Number(_) => false,
            Self::Negative(inner) => inner.asks(),
            Self::Binary(left, _, right) => left.asks() || right.asks(),
            Self::Aggregate(..) | Self::Growth(..) => true,
        }
    }

    /// Whether it asks what any counter grew by.
    pub(super) fn is_of_growth(&self) -> bool {
        match self {
            Self::Number(_) | Self::Aggregate(..) => false,
            Self::Negative(inner) => inner.is_of_growth(),
            Self::Binary(left, _, right) => left.is_of_growth() || right.is_of_growth(),
            Self::Growth(..) => true,
        }
    }
}
