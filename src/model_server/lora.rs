//! Which LoRA adapters a server has at work.

use super::{
    LoraSpec,
    expression::Aggregation,
    series::{Outcome, Wanted},
    term::{Scrape, Term},
};
use crate::{exposition::Sample, pool::LoraAdapters};

/// No server holds as many adapters; what lies past it in an exposition is passed over, so that a
/// broken one does not fill what the VMs share.
const MAX_ADAPTERS: usize = 512;

/// A [`LoraSpec`] by the indexes of what it asks for.
#[derive(Debug, Clone)]
pub(super) enum LoraMapping {
    Info {
        info: usize,
        max_label: String,
        running_label: String,
        waiting_label: String,
    },
    PerAdapter {
        running: usize,
        waiting: Option<usize>,
        adapter_label: String,
        max: Option<Term>,
    },
}

impl LoraMapping {
    pub(super) fn new(spec: &LoraSpec, wanted: &mut Wanted) -> Self {
        match spec {
            LoraSpec::Info {
                info,
                max_label,
                running_label,
                waiting_label,
            } => Self::Info {
                info: wanted.add_facts(info),
                max_label: max_label.clone(),
                running_label: running_label.clone(),
                waiting_label: waiting_label.clone(),
            },
            LoraSpec::PerAdapter {
                running,
                waiting,
                adapter_label,
                max,
            } => Self::PerAdapter {
                running: wanted.add_facts(running),
                waiting: waiting.as_ref().map(|waiting| wanted.add_facts(waiting)),
                adapter_label: adapter_label.clone(),
                max: max
                    .as_ref()
                    .map(|max| Term::new(max, Aggregation::Max, wanted)),
            },
        }
    }

    /// The adapters that the scrape tells of; `None` where it has no such series.
    pub(super) fn read(&self, scrape: &Scrape<'_>) -> Option<LoraAdapters> {
        match self {
            Self::Info {
                info,
                max_label,
                running_label,
                waiting_label,
            } => {
                let newest = scrape
                    .collected
                    .facts(*info)
                    .filter(|sample| !sample.value.is_nan())
                    .reduce(|a, b| if b.value >= a.value { b } else { a })?;
                let list = |label: &str| {
                    let names = newest.labels.get(label).unwrap_or_default();
                    sorted(names.split(',').map(str::trim))
                };
                let max = newest.labels.get(max_label);
                Some(LoraAdapters {
                    max: max.and_then(|max| max.parse().ok()).unwrap_or_default(),
                    running: list(running_label),
                    waiting: list(waiting_label),
                    at: scrape.at,
                })
            }
            Self::PerAdapter {
                running,
                waiting,
                adapter_label,
                max,
            } => {
                let facts = |index: usize| scrape.collected.facts(index);
                facts(*running)
                    .chain(waiting.iter().flat_map(|w| facts(*w)))
                    .next()?;
                let names = |samples: &mut dyn Iterator<Item = &Sample<'_>>| {
                    sorted(
                        samples
                            .filter(|sample| sample.value > 0.0)
                            .filter_map(|sample| sample.labels.get(adapter_label)),
                    )
                };
                let max = max.as_ref().map(|max| max.evaluate(scrape));
                Some(LoraAdapters {
                    max: match max {
                        // Saturates, and NaN is 0.
                        Some(Outcome::Number(max)) => max as u32,
                        Some(Outcome::Missing | Outcome::Unmeasured) | None => 0,
                    },
                    running: names(&mut facts(*running)),
                    waiting: names(&mut waiting.iter().flat_map(|waiting| facts(*waiting))),
                    at: scrape.at,
                })
            }
        }
    }
}

/// Names without empty ones and doubles, in their order.
fn sorted<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let names = names.filter(|name| !name.is_empty());
    let mut names: Vec<_> = names.take(MAX_ADAPTERS).map(str::to_owned).collect();
    names.sort_unstable();
    names.dedup();
    names
}
