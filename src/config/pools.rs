//! The pools: one, written at the top, or several.

use std::{collections::BTreeSet, net::SocketAddr};

use super::{
    MetricsSettings, schema,
    settings::{ConfigError, refused},
};
use crate::{
    discovery::DiscoveredEndpoint,
    models::ModelPattern,
    scheduling::{Profile, WeightedScorer},
};

/// Names become part of keys, so they are short and plain.
const MAX_NAME: usize = 63;
/// The name of the one pool if it is given none.
const DEFAULT_NAME: &str = "default";

/// One pool: its endpoints, and how one of them is chosen.
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// Its name in shared data, metrics and messages: 1 to 63 of `a-z A-Z 0-9 . _ -`.
    pub name: String,
    /// The models it serves; `None` if it takes what no other pool names.
    pub models: Option<Vec<ModelPattern>>,
    /// The endpoints, no address twice.
    pub endpoints: Vec<DiscoveredEndpoint>,
    /// How their metrics are read.
    pub metrics: MetricsSettings,
    /// How one is chosen.
    pub profile: Profile,
}

/// The fields of one pool as they stand at the top.
#[derive(Debug)]
pub(super) struct OnePool {
    pub(super) name: Option<String>,
    pub(super) endpoints: Option<schema::Endpoints>,
    pub(super) metrics: Option<schema::Metrics>,
    pub(super) scheduling: Option<schema::Scheduling>,
}

/// The pools of a configuration, at least one.
pub(super) fn pools(
    one: OnePool,
    several: Option<Vec<schema::Pool>>,
) -> Result<Vec<PoolSettings>, ConfigError> {
    match several {
        None => Ok(vec![one.check()?]),
        Some(several) => {
            one.refuse_any()?;
            check_several(several)
        }
    }
}

impl OnePool {
    fn check(self) -> Result<PoolSettings, ConfigError> {
        let missing = |field: &str| {
            let expected = format!("`{field}`, or `pools`");
            move || refused(".", expected, "neither")
        };
        let pool = schema::Pool {
            name: self.name.unwrap_or_else(|| DEFAULT_NAME.to_owned()),
            models: None,
            endpoints: self.endpoints.ok_or_else(missing("endpoints"))?,
            metrics: self.metrics.ok_or_else(missing("metrics"))?,
            scheduling: self.scheduling.unwrap_or_default(),
        };
        check("pool", pool)
    }

    /// Refuses them beside `pools`, where each pool has its own.
    fn refuse_any(&self) -> Result<(), ConfigError> {
        let given = [
            ("pool", self.name.is_some()),
            ("endpoints", self.endpoints.is_some()),
            ("metrics", self.metrics.is_some()),
            ("scheduling", self.scheduling.is_some()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            None => Ok(()),
            Some((field, _)) => Err(refused(
                field,
                "none beside `pools`, each of which has its own",
                "both",
            )),
        }
    }
}

fn check_several(pools: Vec<schema::Pool>) -> Result<Vec<PoolSettings>, ConfigError> {
    if pools.is_empty() {
        return Err(refused("pools", "at least one pool", "none"));
    }
    let mut names = BTreeSet::new();
    (0_usize..)
        .zip(pools)
        .map(|(index, pool)| {
            let found = format!("{:?}", pool.name);
            let is_first = names.insert(pool.name.clone());
            let checked = check("name", pool).and_then(|pool| {
                is_first
                    .then_some(pool)
                    .ok_or_else(|| refused("name", "each name once", found))
            });
            checked.map_err(|error| error.in_pool(index))
        })
        .collect()
}

/// Checks one pool, whose name stands in `name_field`.
fn check(name_field: &str, pool: schema::Pool) -> Result<PoolSettings, ConfigError> {
    let metrics = MetricsSettings::try_from(pool.metrics)?;
    Ok(PoolSettings {
        name: name(name_field, pool.name)?,
        models: pool.models.map(models).transpose()?,
        endpoints: endpoints(pool.endpoints.r#static, &metrics)?,
        metrics,
        profile: profile(pool.scheduling)?,
    })
}

fn name(field: &str, name: String) -> Result<String, ConfigError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=MAX_NAME).contains(&name.len()) && name.chars().all(plain) {
        Ok(name)
    } else {
        Err(refused(
            field,
            "a name of 1 to 63 letters, digits, '.', '_' or '-'",
            format_args!("{name:?}"),
        ))
    }
}

fn models(patterns: Vec<String>) -> Result<Vec<ModelPattern>, ConfigError> {
    if patterns.is_empty() {
        return Err(refused(
            "models",
            "at least one model; a pool that takes what no other names has no `models`",
            "none",
        ));
    }
    (0_usize..)
        .zip(patterns)
        .map(|(index, pattern)| {
            ModelPattern::parse(&pattern).ok_or_else(|| {
                refused(
                    format!("models[{index}]"),
                    ModelPattern::EXPECTED,
                    format_args!("{pattern:?}"),
                )
            })
        })
        .collect()
}

fn endpoints(
    entries: Vec<schema::StaticEndpoint>,
    metrics: &MetricsSettings,
) -> Result<Vec<DiscoveredEndpoint>, ConfigError> {
    let mut seen = BTreeSet::new();
    (0_usize..)
        .zip(entries)
        .map(|(index, entry)| {
            let path = format!("endpoints.static[{index}]");
            let refused = |expected: &'static str| {
                let field = if entry.is_object { ".address" } else { "" };
                let path = format!("{path}{field}");
                refused(path, expected, format_args!("{:?}", entry.address))
            };
            let address = entry
                .address
                .parse::<SocketAddr>()
                .ok()
                .filter(|address| address.port() != 0)
                .ok_or_else(|| {
                    refused("an IP address and port such as 10.0.0.1:8000 or [fd00::1]:8000")
                })?;
            if !seen.insert(address) {
                return Err(refused("each address once"));
            }
            let endpoint = DiscoveredEndpoint {
                address,
                labels: entry.labels,
                engine: entry.engine,
                scrape: entry.scrape,
            };
            metrics.check_endpoint(&path, &endpoint)?;
            Ok(endpoint)
        })
        .collect()
}

fn profile(scheduling: schema::Scheduling) -> Result<Profile, ConfigError> {
    let Some(entries) = scheduling.scorers else {
        return Ok(Profile {
            picker: scheduling.picker,
            ..Profile::default()
        });
    };
    let scorers = (0_usize..)
        .zip(entries)
        .map(|(index, entry)| {
            if entry.weight.is_finite() && entry.weight >= 0.0 {
                Ok(WeightedScorer {
                    scorer: entry.r#type,
                    weight: entry.weight,
                })
            } else {
                Err(refused(
                    format!("scheduling.scorers[{index}].weight"),
                    "a number of at least 0",
                    entry.weight,
                ))
            }
        })
        .collect::<Result<_, _>>()?;
    Ok(Profile {
        scorers,
        picker: scheduling.picker,
    })
}
