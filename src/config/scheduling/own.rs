//! Profiles as this configuration writes them.

use std::collections::BTreeSet;

use super::{Checked, FilterEntry, Plugin, ProfileEntry, Scope, ScorerEntry, picker};
use crate::{
    config::{
        disaggregation::{self, DisaggregationHeaders},
        settings::{ConfigError, refused},
    },
    scheduling::{Disaggregation, Picker, Profile, Scheduling, WeightedScorer},
};

/// What is this configuration's own of `scheduling`.
#[derive(Debug)]
pub(in crate::config) struct OwnScheduling {
    pub(super) filters: Option<Vec<FilterEntry>>,
    pub(super) scorers: Option<Vec<ScorerEntry>>,
    pub(super) picker: Option<String>,
    pub(super) profiles: Option<Vec<ProfileEntry>>,
    pub(super) disaggregation: Option<disaggregation::Disaggregation>,
}

impl OwnScheduling {
    /// Which of its fields is given, if any is.
    pub(super) fn given(&self) -> Option<&'static str> {
        self.given_of_one().or_else(|| {
            let several = self.profiles.as_ref().map(|_| "profiles");
            several.or_else(|| self.disaggregation.as_ref().map(|_| "disaggregation"))
        })
    }

    /// Which field of the one profile is given, if any is.
    fn given_of_one(&self) -> Option<&'static str> {
        let filters = self.filters.as_ref().map(|_| "filters");
        let scorers = self.scorers.as_ref().map(|_| "scorers");
        let picker = self.picker.as_ref().map(|_| "picker");
        filters.or(scorers).or(picker)
    }

    pub(super) fn check(self, scope: &mut Scope<'_>) -> Result<Checked, ConfigError> {
        let beside = self.given_of_one();
        match (self.profiles, self.disaggregation) {
            (None, None) => {
                let one = ProfileEntry {
                    name: Profile::default().name,
                    when: None,
                    filters: self.filters,
                    scorers: self.scorers,
                    picker: self.picker,
                };
                Ok(Checked {
                    scheduling: one.check("scheduling", scope)?.into(),
                    headers: DisaggregationHeaders::default(),
                })
            }
            (None, Some(_)) => Err(refused(
                "scheduling.disaggregation",
                "profiles beside it, of which one chooses who prefills",
                "none",
            )),
            (Some(profiles), disaggregation) => match beside {
                None => several(profiles, disaggregation, scope),
                Some(field) => Err(refused(
                    format!("scheduling.{field}"),
                    "none beside profiles, each of which has its own",
                    "both",
                )),
            },
        }
    }
}

fn several(
    entries: Vec<ProfileEntry>,
    disaggregation: Option<disaggregation::Disaggregation>,
    scope: &mut Scope<'_>,
) -> Result<Checked, ConfigError> {
    if entries.is_empty() {
        let expected = "at least one profile";
        return Err(refused("scheduling.profiles", expected, "none"));
    }
    check_names(&entries)?;
    let prefill = disaggregation
        .as_ref()
        .map(|disaggregation| prefill(&entries, disaggregation))
        .transpose()?;
    check_conditions(&entries, prefill)?;
    let profiles = (0_usize..)
        .zip(entries)
        .map(|(index, entry)| entry.check(&format!("scheduling.profiles[{index}]"), scope))
        .collect::<Result<_, _>>()?;
    let (split, headers) = match disaggregation.zip(prefill) {
        None => (None, DisaggregationHeaders::default()),
        Some((disaggregation, prefill)) => {
            scope.check_headers_can_be_set("scheduling.disaggregation")?;
            let split = Disaggregation {
                prefill,
                min_uncached_tokens: disaggregation.min_uncached_tokens(),
            };
            (Some(split), disaggregation.try_into()?)
        }
    };
    Ok(Checked {
        scheduling: Scheduling {
            profiles,
            disaggregation: split,
        },
        headers,
    })
}

fn check_names(entries: &[ProfileEntry]) -> Result<(), ConfigError> {
    let mut names = BTreeSet::new();
    for (index, ProfileEntry { name, .. }) in entries.iter().enumerate() {
        if name.is_empty() || !names.insert(name) {
            return Err(refused(
                format!("scheduling.profiles[{index}].name"),
                "a name, and each only once",
                format_args!("{name:?}"),
            ));
        }
    }
    Ok(())
}

/// The index of the profile that chooses who prefills; another must choose who decodes.
fn prefill(
    entries: &[ProfileEntry],
    disaggregation: &disaggregation::Disaggregation,
) -> Result<usize, ConfigError> {
    let name = &disaggregation.prefill_profile;
    let index = entries.iter().position(|entry| entry.name == *name);
    index.filter(|_| entries.len() > 1).ok_or_else(|| {
        refused(
            "scheduling.disaggregation.prefillProfile",
            "the name of one of at least two profiles",
            format_args!("{name:?}"),
        )
    })
}

/// Of the profiles that decode, each but the last is for some requests, and the last for all others;
/// else one of them would never count.
fn check_conditions(entries: &[ProfileEntry], prefill: Option<usize>) -> Result<(), ConfigError> {
    let at = |index: usize| format!("scheduling.profiles[{index}].when");
    let last = (0..entries.len()).rfind(|&index| Some(index) != prefill);
    for (index, entry) in entries.iter().enumerate() {
        let is_said = entry.when.as_ref().is_some_and(|when| !when.is_empty());
        let expected = match (is_said, Some(index) == last, Some(index) == prefill) {
            (true, _, true) => "none, since disaggregation says what the profile is for",
            (true, true, false) => "none, since the last profile is for all other requests",
            (false, false, false) => "headers, models or paths, since profiles follow",
            _ => continue,
        };
        let found = if is_said { "some" } else { "none" };
        return Err(refused(at(index), expected, found));
    }
    Ok(())
}

impl ProfileEntry {
    /// Checks the profile that is written at `path`.
    fn check(self, path: &str, scope: &mut Scope<'_>) -> Result<Profile, ConfigError> {
        let when = self.when.unwrap_or_default();
        let filters = (0_usize..).zip(self.filters.unwrap_or_default());
        let filters = filters.map(|(index, entry)| {
            let path = format!("{path}.filters[{index}]");
            scope.checked_filter(entry.plugin(&path))
        });
        let filters = filters.collect::<Result<_, _>>()?;
        let scorers = match self.scorers {
            None => Profile::default().scorers,
            Some(entries) => (0_usize..)
                .zip(entries)
                .map(|(index, entry)| entry.check(&format!("{path}.scorers[{index}]"), scope))
                .collect::<Result<_, _>>()?,
        };
        let picker = match self.picker {
            None => Picker::default(),
            Some(name) => picker::picker(&name).ok_or_else(|| {
                let expected = format!("one of {}", picker::names());
                refused(format!("{path}.picker"), expected, format_args!("{name:?}"))
            })?,
        };
        Ok(Profile {
            when: when.check(&format!("{path}.when"), scope.watched)?,
            name: self.name,
            filters,
            scorers,
            picker,
        })
    }
}

impl FilterEntry {
    fn plugin<'a>(&'a self, path: &'a str) -> Plugin<'a> {
        Plugin {
            path,
            kind: &self.r#type,
            parameters: self.parameters.as_ref(),
        }
    }
}

impl ScorerEntry {
    fn check(self, path: &str, scope: &mut Scope<'_>) -> Result<WeightedScorer, ConfigError> {
        let plugin = Plugin {
            path,
            kind: &self.r#type,
            parameters: self.parameters.as_ref(),
        };
        Ok(WeightedScorer {
            scorer: scope.checked_scorer(plugin)?,
            weight: weight(&plugin.at("weight"), self.weight)?,
        })
    }
}

/// Sums of weights that are no larger are finite, and as exact as the comparison of totals.
const MAX_WEIGHT: f64 = 1e6;

/// The weight that is written at `path`.
pub(in crate::config) fn weight(path: &str, given: Option<f64>) -> Result<f64, ConfigError> {
    match given {
        None => Ok(1.0),
        Some(weight) if (0.0..=MAX_WEIGHT).contains(&weight) => Ok(weight),
        Some(weight) => {
            let expected = format!("a number from 0 to {MAX_WEIGHT}");
            Err(refused(path, expected, weight))
        }
    }
}
