//! From the model that a request names to the one that will answer, and the pool that has it.

use fastrand::Rng;

use super::{InferenceRequest, Rejection};
use crate::{
    config::PoolChooser,
    models::{ModelCatalog, Resolved},
    prefix::Scope,
};

/// Where a request goes by its model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelRoute<'a> {
    /// The model that the request names.
    pub requested: &'a str,
    /// The model that the server is asked for.
    pub target: &'a str,
    /// What that is a variant of, itself if nothing is said of it.
    pub base: &'a str,
    /// The index of the pool.
    pub pool: usize,
}

impl<'a> ModelRoute<'a> {
    /// The route of a request that names `requested`. A gateway in front may have renamed it, which
    /// counts where the catalog says nothing of the name in the request, as in the Endpoint Picker.
    ///
    /// # Errors
    /// When the catalog or the pools know no such model.
    pub fn new(
        requested: &'a str,
        renamed: Option<&'a str>,
        models: &'a ModelCatalog,
        pools: &PoolChooser,
        rng: &mut Rng,
    ) -> Result<Self, Rejection> {
        let (target, base) = match (models.resolve(requested, rng), renamed) {
            (Resolved::Listed(target), _) => (target.model, target.base),
            (_, Some(renamed)) => match models.resolve(renamed, rng) {
                Resolved::Listed(target) => (target.model, target.base),
                Resolved::Unlisted | Resolved::NotFound => (renamed, renamed),
            },
            (Resolved::Unlisted, None) => (requested, requested),
            (Resolved::NotFound, None) => return Err(not_found(requested)),
        };
        let pool = pools.of_model([base, target, requested]);
        Ok(Self {
            requested,
            target,
            base,
            pool: pool.ok_or_else(|| not_found(requested))?,
        })
    }

    /// Whether the server is asked for another model than the request names.
    #[must_use]
    pub fn is_renamed(&self) -> bool {
        self.target != self.requested
    }
}

impl InferenceRequest {
    /// Which prompts may share a cache with this one, if it goes by `route`: those to the same weights,
    /// of the same tenant.
    #[must_use]
    pub fn scope<'a>(&'a self, route: Option<&ModelRoute<'a>>) -> Scope<'a> {
        let adapter = route.filter(|route| route.target != route.base);
        Scope {
            model: route.map(|route| route.base),
            adapter: adapter.map(|route| route.target),
            cache_salt: self.cache_salt.as_deref(),
        }
    }
}

fn not_found(model: &str) -> Rejection {
    Rejection::ModelNotFound {
        model: model.to_owned(),
    }
}

/// A model's name as the value of a header; `None` of a name that would be read as something else,
/// or as another header.
#[must_use]
pub fn model_header(name: &str) -> Option<&str> {
    let is_plain = !name.contains(char::is_control) && name.trim() == name;
    (is_plain && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::Settings;

    fn settings(models: &Value) -> Settings {
        let pool = |name: &str, models: Value| {
            json!({
                "name": name,
                "models": models,
                "endpoints": { "static": [] },
                "metrics": { "cluster": "scrapes" },
            })
        };
        let pools = [
            pool("large", json!(["llama-70b*"])),
            pool("small", json!(["llama-8b", "phi-4"])),
        ];
        let config = json!({ "pools": pools, "models": models });
        Settings::from_json(config.to_string().as_bytes()).unwrap()
    }

    fn route(
        models: &Value,
        requested: &str,
        renamed: Option<&str>,
    ) -> Result<(String, String, usize), Rejection> {
        let Settings {
            models,
            pool_chooser,
            ..
        } = settings(models);
        let mut rng = Rng::with_seed(1);
        let route = ModelRoute::new(requested, renamed, &models, &pool_chooser, &mut rng)?;
        assert_eq!(route.is_renamed(), route.target != requested);
        Ok((route.target.to_owned(), route.base.to_owned(), route.pool))
    }

    #[test]
    fn the_catalog_goes_before_a_renaming_gateway() {
        let models = json!({ "names": {
            "gpt-4o": { "targets": [{ "model": "llama-70b" }] },
            "sql": { "base": "llama-8b" },
        } });
        let is = |target: &str, base: &str, pool| Ok((target.to_owned(), base.to_owned(), pool));
        assert_eq!(
            route(&models, "gpt-4o", None),
            is("llama-70b", "llama-70b", 0)
        );
        assert_eq!(route(&models, "sql", None), is("sql", "llama-8b", 1));
        assert_eq!(route(&models, "phi-4", None), is("phi-4", "phi-4", 1));
        assert_eq!(
            route(&models, "gpt-4o", Some("phi-4")),
            is("llama-70b", "llama-70b", 0)
        );
        assert_eq!(
            route(&models, "any", Some("phi-4")),
            is("phi-4", "phi-4", 1)
        );
        // What it is renamed to may be listed itself.
        assert_eq!(
            route(&models, "any", Some("gpt-4o")),
            is("llama-70b", "llama-70b", 0)
        );
        assert_eq!(route(&models, "any", Some("sql")), is("sql", "llama-8b", 1));
    }

    #[test]
    fn a_model_that_nothing_knows_is_not_found() {
        let not_found = |name| Err(super::not_found(name));
        assert_eq!(route(&json!({}), "gpt-4o", None), not_found("gpt-4o"));
        let models = json!({ "unknown": "not-found", "names": { "sql": { "base": "llama-8b" } } });
        assert_eq!(route(&models, "phi-4", None), not_found("phi-4"));
        // A gateway that is trusted knows what there is.
        assert!(route(&models, "any", Some("phi-4")).is_ok());
    }

    #[test]
    fn names_that_are_no_header_value_are_none() {
        for name in ["llama", "org/llama 70b:v1", "模型"] {
            assert_eq!(model_header(name), Some(name));
        }
        for name in [
            "",
            " llama",
            "llama\t",
            "a\r\nx-evil: 1",
            "a\0b",
            "a\u{7f}",
            "a\u{85}b",
        ] {
            assert_eq!(model_header(name), None, "{name:?}");
        }
    }
}
