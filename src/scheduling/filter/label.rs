//! Endpoints with certain labels.

use std::collections::BTreeMap;

use crate::scheduling::Candidates;

/// What labels must be, as Kubernetes selects by them: all of it holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSelector {
    /// Labels with their values.
    pub match_labels: Vec<(String, String)>,
    /// More than equality.
    pub match_expressions: Vec<LabelExpression>,
}

/// One requirement of a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelExpression {
    /// The label.
    pub key: String,
    /// What must hold.
    pub operator: LabelOperator,
    /// The values for `In` and `NotIn`.
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelOperator {
    /// It is one of the values.
    In,
    /// It is none of them, or not there.
    NotIn,
    /// It is there.
    Exists,
    /// It is not.
    DoesNotExist,
}

impl LabelSelector {
    /// Whether all of it holds of `labels`.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let equal = |(key, value): &(String, String)| labels.get(key) == Some(value);
        self.match_labels.iter().all(equal)
            && self.match_expressions.iter().all(|it| it.holds(labels))
    }

    pub(super) fn keep(&self, candidates: Candidates<'_>, keep: &mut Vec<bool>) {
        keep.extend(
            candidates
                .endpoints()
                .map(|endpoint| self.matches(endpoint.labels())),
        );
    }
}

impl LabelExpression {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        let listed = || value.is_some_and(|value| self.values.contains(value));
        match self.operator {
            LabelOperator::In => listed(),
            LabelOperator::NotIn => !listed(),
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
        }
    }
}
