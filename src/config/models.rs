//! Names of models: the table of the configuration, checked.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::settings::{ConfigError, refused};
use crate::models::{ModelCatalog, ModelEntry, ModelPattern, WeightedTarget};

/// Names of models: what clients ask for, what is served.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Models {
    /// What becomes of requests for models that `names` does not have.
    #[serde(default)]
    pub unknown: Unknown,
    /// Whether answers get the requested name back.
    #[serde(default)]
    pub restore_names: bool,
    /// What is said of names, or of all that begin alike, by a `*` at the end.
    #[serde(default)]
    pub names: BTreeMap<String, Model>,
}

/// What becomes of requests for models of which nothing is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unknown {
    /// They pass as they are.
    #[default]
    Pass,
    /// They are answered with 404.
    NotFound,
}

/// What is said of a name: nothing but that it is served, or one of these.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Model {
    /// What it stands for.
    pub targets: Option<Vec<Target>>,
    /// The base model of an adapter.
    pub base: Option<String>,
}

/// One of what a name stands for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Target {
    /// The name that the server knows.
    pub model: String,
    /// How much of the requests it gets, in proportion to the others.
    #[serde(default = "default_weight")]
    pub weight: f64,
}

const fn default_weight() -> f64 {
    1.0
}

impl TryFrom<Models> for ModelCatalog {
    type Error = ConfigError;

    fn try_from(models: Models) -> Result<Self, ConfigError> {
        let refuses_unknown = models.unknown == Unknown::NotFound;
        if refuses_unknown && models.names.is_empty() {
            return Err(refused(
                "models.unknown",
                "names beside \"not-found\", which leaves no others",
                "none",
            ));
        }
        let bases = bases(&models.names);
        let entries = models.names.into_iter().map(|(name, model)| {
            let pattern = ModelPattern::parse(&name).ok_or_else(|| {
                refused(
                    "models.names",
                    ModelPattern::EXPECTED,
                    format_args!("{name:?}"),
                )
            })?;
            Ok((pattern, entry(&format!("models.names.{name}"), model)?))
        });
        let catalog = Self::new(entries.collect::<Result<Vec<_>, _>>()?)
            .refusing_unknown(refuses_unknown)
            .restoring_names(models.restore_names);
        for (name, base) in bases {
            if name == base || catalog.base_of(&base) != base {
                return Err(refused(
                    format!("models.names.{name}.base"),
                    "the name of a base model, which is no adapter itself",
                    format_args!("{base:?}"),
                ));
            }
        }
        Ok(catalog)
    }
}

fn bases(names: &BTreeMap<String, Model>) -> Vec<(String, String)> {
    let base_of = |(name, model): (&String, &Model)| Some((name.clone(), model.base.clone()?));
    names.iter().filter_map(base_of).collect()
}

/// What is said at `path`.
fn entry(path: &str, model: Model) -> Result<ModelEntry, ConfigError> {
    match (model.targets, model.base) {
        (Some(_), Some(base)) => Err(refused(
            format!("{path}.base"),
            "none beside targets; an adapter among them has its base in an entry of its own",
            format_args!("{base:?}"),
        )),
        (Some(targets), None) => {
            check_targets(&format!("{path}.targets"), &targets)?;
            let weighted = |Target { model, weight }| WeightedTarget { model, weight };
            Ok(ModelEntry::StandsFor(
                targets.into_iter().map(weighted).collect(),
            ))
        }
        (None, base) => {
            if let Some(base) = &base {
                check_name(format!("{path}.base"), base)?;
            }
            Ok(ModelEntry::Served { base })
        }
    }
}

fn check_targets(path: &str, targets: &[Target]) -> Result<(), ConfigError> {
    if targets.is_empty() {
        return Err(refused(path, "at least one target", "none"));
    }
    let mut seen = BTreeSet::new();
    for (index, target) in targets.iter().enumerate() {
        let at = |field: &str| format!("{path}[{index}].{field}");
        check_name(at("model"), &target.model)?;
        if !seen.insert(&target.model) {
            let found = format_args!("{:?}", target.model);
            return Err(refused(at("model"), "each model once", found));
        }
        if !target.weight.is_finite() || target.weight < 0.0 {
            let found = target.weight;
            return Err(refused(at("weight"), "a number of at least 0", found));
        }
    }
    let sum: f64 = targets.iter().map(|target| target.weight).sum();
    if sum > 0.0 && sum.is_finite() {
        return Ok(());
    }
    Err(refused(
        path,
        "weights whose sum is a number of more than 0",
        sum,
    ))
}

fn check_name(path: String, name: &str) -> Result<(), ConfigError> {
    // A prefix is no name that a server knows.
    match ModelPattern::parse(name) {
        Some(ModelPattern::Name(_)) => Ok(()),
        Some(ModelPattern::Prefix(_)) | None => Err(refused(
            path,
            "a model's name of 1 to 512 bytes without control characters and '*'",
            format_args!("{name:?}"),
        )),
    }
}
