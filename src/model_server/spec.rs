//! What is written of an engine, in a preset or in the configuration; both have one shape.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::Expression;
use crate::{exposition::Selector, pool::Signal, scraping::ScrapeSpec};

/// An engine as it is written: what it leaves out it takes from the engine it extends.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EngineSpec {
    /// The engine that this one begins as. One with the name of a preset begins as that preset.
    pub extends: Option<String>,
    /// Families of which each tells that this engine wrote an exposition. Not taken from an engine
    /// of another name, which would then be taken for this one.
    pub recognized_by: Option<Vec<String>>,
    /// Each signal's expressions; `null` for none.
    #[serde(default)]
    pub signals: BTreeMap<Signal, Option<Alternatives>>,
    /// Scalars by names of the configuration's own; `null` for none.
    #[serde(default)]
    pub custom_metrics: BTreeMap<String, Option<Alternatives>>,
    /// How it tells of LoRA adapters; `null` for not at all.
    #[serde(default, deserialize_with = "present")]
    pub lora: Option<Option<LoraSpec>>,
    /// How its servers are scraped, where that differs.
    #[serde(default)]
    pub scrape: ScrapeSpec,
}

impl EngineSpec {
    /// This on top of `base`, field by field and signal by signal.
    #[must_use]
    pub(super) fn over(self, base: Self) -> Self {
        let mut signals = base.signals;
        signals.extend(self.signals);
        let mut custom_metrics = base.custom_metrics;
        custom_metrics.extend(self.custom_metrics);
        Self {
            extends: self.extends,
            recognized_by: self.recognized_by.or(base.recognized_by),
            signals,
            custom_metrics,
            lora: self.lora.or(base.lora),
            scrape: self.scrape.over(&base.scrape),
        }
    }
}

/// Expressions of which the first that is not missing counts: the names of a family over the
/// releases of a server. Written as one text or as a list of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Alternatives(pub Vec<Expression>);

impl<'de> Deserialize<'de> for Alternatives {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::{Error, SeqAccess, Visitor};

        struct TextOrList;

        impl<'de> Visitor<'de> for TextOrList {
            type Value = Alternatives;

            fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str("an expression such as \"family{label=value}\", or a list of them")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Alternatives, E> {
                let expression = text.parse().map_err(E::custom)?;
                Ok(Alternatives(vec![expression]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Alternatives, A::Error> {
                let mut expressions = Vec::new();
                while let Some(expression) = list.next_element()? {
                    expressions.push(expression);
                }
                if expressions.is_empty() {
                    return Err(A::Error::invalid_length(
                        0,
                        &"at least one expression, or null",
                    ));
                }
                Ok(Alternatives(expressions))
            }
        }

        deserializer.deserialize_any(TextOrList)
    }
}

/// How a server tells of its LoRA adapters.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "LoraFields")]
pub enum LoraSpec {
    /// The facts are labels of one series, lists separated by commas. Series of former states stay
    /// in the exposition; the value is the Unix time of each state, so the largest counts.
    Info {
        /// The series.
        info: Selector,
        /// The label with how many adapters can be held.
        max_label: String,
        /// The label with the adapters of running requests.
        running_label: String,
        /// The label with the adapters of waiting requests.
        waiting_label: String,
    },
    /// Each adapter has a series of its own, which counts while its value is more than 0.
    PerAdapter {
        /// The series of adapters with running requests.
        running: Selector,
        /// The series of adapters with waiting requests.
        waiting: Option<Selector>,
        /// The label with the adapter's name.
        adapter_label: String,
        /// How many adapters can be held.
        max: Option<Expression>,
    },
}

impl LoraSpec {
    /// The labels that it asks for, by the names of their fields.
    pub(crate) fn labels(&self) -> Vec<(&'static str, &str)> {
        match self {
            Self::Info {
                info: _,
                max_label,
                running_label,
                waiting_label,
            } => vec![
                ("maxLabel", max_label),
                ("runningLabel", running_label),
                ("waitingLabel", waiting_label),
            ],
            Self::PerAdapter { adapter_label, .. } => vec![("adapterLabel", adapter_label)],
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LoraFields {
    info: Option<Selector>,
    max_label: Option<String>,
    running_label: Option<String>,
    waiting_label: Option<String>,
    running: Option<Selector>,
    waiting: Option<Selector>,
    adapter_label: Option<String>,
    max: Option<Expression>,
}

/// Fields that belong to neither of the two forms, or to both.
#[derive(Debug, thiserror::Error)]
#[error(
    "expected either info, maxLabel, runningLabel and waitingLabel, or running and adapterLabel, \
     optionally with waiting and max"
)]
struct LoraFieldsError;

impl TryFrom<LoraFields> for LoraSpec {
    type Error = LoraFieldsError;

    fn try_from(fields: LoraFields) -> Result<Self, LoraFieldsError> {
        match fields {
            LoraFields {
                info: Some(info),
                max_label: Some(max_label),
                running_label: Some(running_label),
                waiting_label: Some(waiting_label),
                running: None,
                waiting: None,
                adapter_label: None,
                max: None,
            } => Ok(Self::Info {
                info,
                max_label,
                running_label,
                waiting_label,
            }),
            LoraFields {
                info: None,
                max_label: None,
                running_label: None,
                waiting_label: None,
                running: Some(running),
                waiting,
                adapter_label: Some(adapter_label),
                max,
            } => Ok(Self::PerAdapter {
                running,
                waiting,
                adapter_label,
                max,
            }),
            _ => Err(LoraFieldsError),
        }
    }
}

/// A field that is there is `Some`, also when it is `null`.
fn present<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}
