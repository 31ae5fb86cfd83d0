//! Which of several pools a request goes to.

use hashbrown::HashMap;

use super::{
    pools::PoolSettings,
    settings::{ConfigError, refused},
};
use crate::models::PatternTable;

/// Finds the pool of a model: the one with the name or the longest prefix that fits, else the pool that
/// names no models.
///
/// ```
/// use endpoint_picker::config::Settings;
///
/// let settings = Settings::from_json(
///     br#"{"pools": [
///         {"name": "large", "models": ["llama-70b*"], "endpoints": {"static": []}, "metrics": {"cluster": "scrapes"}},
///         {"name": "small", "endpoints": {"static": []}, "metrics": {"cluster": "scrapes"}}
///     ]}"#,
/// )
/// .unwrap();
/// let chooser = &settings.pool_chooser;
/// assert_eq!(chooser.of_model(["llama-70b-instruct"]), Some(0));
/// assert_eq!(chooser.of_model(["llama-8b"]), Some(1));
/// assert_eq!(chooser.of_no_model(), 1);
/// ```
#[derive(Debug, Clone)]
pub struct PoolChooser {
    by_model: PatternTable<usize>,
    /// The pool that names no models.
    rest: Option<usize>,
}

impl PoolChooser {
    /// For `pools`, each model in one of them and at most one without models.
    pub(super) fn new(pools: &[PoolSettings]) -> Result<Self, ConfigError> {
        let mut chooser = Self {
            by_model: PatternTable::default(),
            rest: None,
        };
        let mut places = HashMap::new();
        for (index, pool) in pools.iter().enumerate() {
            let Some(models) = &pool.models else {
                if let Some(other) = chooser.rest.replace(index) {
                    return Err(refused(
                        format!("pools[{index}].models"),
                        format!("models, since pools[{other}] takes what no pool names"),
                        "none",
                    ));
                }
                continue;
            };
            for (at, pattern) in models.iter().enumerate() {
                let place = format!("pools[{index}].models[{at}]");
                if let Some(other) = places.get(pattern) {
                    return Err(refused(
                        place,
                        format!("each model once, and {other} has it"),
                        format_args!("\"{pattern}\""),
                    ));
                }
                places.insert(pattern, place);
                chooser.by_model.insert(pattern.clone(), index);
            }
        }
        Ok(chooser)
    }

    /// The index of the pool for the model that goes by `names`, of which the first counts that any
    /// pool names; `None` if no pool takes it.
    #[must_use]
    pub fn of_model<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Option<usize> {
        let mut names = names.into_iter();
        names
            .find_map(|name| self.by_model.get(name).copied())
            .or(self.rest)
    }

    /// The index of the pool for requests that name no model: the one that names none either, else
    /// the first.
    #[must_use]
    pub fn of_no_model(&self) -> usize {
        self.rest.unwrap_or_default()
    }
}
