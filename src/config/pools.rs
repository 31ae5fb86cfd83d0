//! The pools: one, written at the top, or several.

use std::{collections::BTreeSet, net::SocketAddr};

use super::{
    DisaggregationHeaders, MetricsSettings,
    epp::PluginMetrics,
    prefix_cache::{self, PrefixCache},
    scheduling::{self, Form, PoolEngines, Scope},
    schema::{self, HandOver},
    settings::{ConfigError, refused},
};
use crate::{
    discovery::DiscoveredEndpoint,
    models::ModelPattern,
    scheduling::{Scheduling, WatchedHeaders},
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
    pub scheduling: Scheduling,
    /// How model servers are told who prefills and who decodes.
    pub disaggregation_headers: DisaggregationHeaders,
    /// Bytes of each worker that what is remembered of prompts takes at most.
    pub prefix_cache_bytes: usize,
}

/// The fields of one pool as they stand at the top.
#[derive(Debug)]
pub(super) struct OnePool {
    pub(super) name: Option<String>,
    pub(super) endpoints: Option<schema::Endpoints>,
    pub(super) metrics: Option<schema::Metrics>,
    pub(super) scheduling: Option<scheduling::Scheduling>,
    pub(super) prefix_cache: Option<PrefixCache>,
}

/// The pools of a configuration, at least one.
pub(super) fn pools(
    one: OnePool,
    several: Option<Vec<schema::Pool>>,
    hand_over: HandOver,
    watched: &mut WatchedHeaders,
) -> Result<Vec<PoolSettings>, ConfigError> {
    match several {
        None => Ok(vec![check("pool", one.pool()?, hand_over, watched)?]),
        Some(several) => {
            one.refuse_any()?;
            check_several(several, hand_over, watched)
        }
    }
}

impl OnePool {
    fn pool(self) -> Result<schema::Pool, ConfigError> {
        let missing = |field: &str| {
            let expected = format!("`{field}`, or `pools`");
            move || refused(".", expected, "neither")
        };
        Ok(schema::Pool {
            name: self.name.unwrap_or_else(|| DEFAULT_NAME.to_owned()),
            models: None,
            endpoints: self.endpoints.ok_or_else(missing("endpoints"))?,
            metrics: self.metrics.ok_or_else(missing("metrics"))?,
            scheduling: self.scheduling.unwrap_or_default(),
            prefix_cache: self.prefix_cache.unwrap_or_default(),
        })
    }

    /// Refuses them beside `pools`, where each pool has its own.
    fn refuse_any(&self) -> Result<(), ConfigError> {
        let given = [
            ("pool", self.name.is_some()),
            ("endpoints", self.endpoints.is_some()),
            ("metrics", self.metrics.is_some()),
            ("scheduling", self.scheduling.is_some()),
            ("prefixCache", self.prefix_cache.is_some()),
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

fn check_several(
    pools: Vec<schema::Pool>,
    hand_over: HandOver,
    watched: &mut WatchedHeaders,
) -> Result<Vec<PoolSettings>, ConfigError> {
    if pools.is_empty() {
        return Err(refused("pools", "at least one pool", "none"));
    }
    let mut names = BTreeSet::new();
    let mut prefix_cache_bytes = 0;
    (0_usize..)
        .zip(pools)
        .map(|(index, pool)| {
            let found = format!("{:?}", pool.name);
            let is_first = names.insert(pool.name.clone());
            let checked = check("name", pool, hand_over, watched).and_then(|pool| {
                if !is_first {
                    return Err(refused("name", "each name once", found));
                }
                prefix_cache_bytes =
                    prefix_cache::with_others(prefix_cache_bytes, pool.prefix_cache_bytes)?;
                Ok(pool)
            });
            checked.map_err(|error| error.in_pool(index))
        })
        .collect()
}

/// Checks one pool, whose name stands in `name_field`.
fn check(
    name_field: &str,
    pool: schema::Pool,
    hand_over: HandOver,
    watched: &mut WatchedHeaders,
) -> Result<PoolSettings, ConfigError> {
    let form = pool.scheduling.form()?;
    let of_plugins = match &form {
        Form::Own(_) => PluginMetrics::default(),
        Form::EndpointPicker(theirs) => theirs.metrics()?,
    };
    let metrics = MetricsSettings::new(pool.metrics, of_plugins)?;
    let endpoints = endpoints(pool.endpoints.r#static, &metrics)?;
    let scheduled = form.check(&mut Scope {
        engines: PoolEngines::new(&metrics, &endpoints),
        watched,
        hand_over,
    })?;
    Ok(PoolSettings {
        name: name(name_field, pool.name)?,
        models: pool.models.map(models).transpose()?,
        endpoints,
        metrics,
        scheduling: scheduled.scheduling,
        disaggregation_headers: scheduled.headers,
        prefix_cache_bytes: pool.prefix_cache.max_bytes()?,
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
