//! The configuration checked, with its defaults in place.

use core::{ops::RangeInclusive, time::Duration};
use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
};

use super::schema::{self, Config, HandOver};
use crate::{
    discovery::DiscoveredEndpoint,
    exposition::Selector,
    model_server::SignalSelectors,
    pool::Signal,
    scheduling::{Profile, WeightedScorer},
};

/// The Endpoint Picker's users complain of what its 50 ms cost their model servers; 200 ms is a
/// quarter of that and still shorter than most prefills.
const DEFAULT_INTERVAL: Duration = Duration::from_millis(200);
/// Below this, scraping is a load of its own; above, a metric says nothing of the present.
const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(20)..=Duration::from_secs(3600);
/// A busy model server answers late; slower than this it tells of another time.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
/// A few lost scrapes in a row are no reason to distrust an endpoint.
const DEFAULT_STALE_AFTER_INTERVALS: u32 = 10;
/// Names become part of keys, so they are short and plain.
const MAX_POOL_NAME: usize = 63;

/// What the configuration means. Every value has been checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The pool's name: 1 to 63 of `a-z A-Z 0-9 . _ -`.
    pub pool: String,
    /// The endpoints, no address twice.
    pub endpoints: Vec<DiscoveredEndpoint>,
    /// How their metrics are read.
    pub metrics: MetricsSettings,
    /// How one is chosen.
    pub profile: Profile,
    /// How Envoy is told.
    pub hand_over: HandOver,
    /// Tells this configuration from another; equal for equal texts.
    pub digest: u64,
}

/// How metrics are read.
#[derive(Debug, Clone)]
pub struct MetricsSettings {
    /// The Envoy cluster that scrapes go through.
    pub cluster: String,
    /// The path of the exposition, starting with `/`.
    pub path: String,
    /// Time between two scrapes of one endpoint, 20 ms to 1 h.
    pub interval: Duration,
    /// Time after which a scrape has failed, more than zero.
    pub timeout: Duration,
    /// Age past which a metric says nothing any more, longer than the interval.
    pub stale_after: Duration,
    /// The series of each signal.
    pub selectors: SignalSelectors,
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No object at all.
    #[error(
        "expected a JSON object; Envoy hands over a google.protobuf.StringValue as its text, and \
         any other type as protobuf bytes"
    )]
    NotAnObject,
    /// Not JSON, or not of the schema's shape.
    #[error("{path}: {source}")]
    Shape {
        /// The JSON path.
        path: String,
        /// What serde says of it.
        source: serde_json::Error,
    },
    /// Of the right shape with a value that cannot be.
    #[error("{path}: expected {expected}, found {found}")]
    Value {
        /// The JSON path.
        path: String,
        /// What is accepted.
        expected: &'static str,
        /// What was there.
        found: String,
    },
}

fn refused(path: impl Into<String>, expected: &'static str, found: impl ToString) -> ConfigError {
    ConfigError::Value {
        path: path.into(),
        expected,
        found: found.to_string(),
    }
}

impl Settings {
    /// Reads the plugin configuration as Envoy hands it over.
    ///
    /// # Errors
    /// When it is not JSON, has unknown or missing fields, or a value that cannot be.
    pub fn from_json(json: &[u8]) -> Result<Self, ConfigError> {
        if !json.trim_ascii_start().starts_with(b"{") {
            return Err(ConfigError::NotAnObject);
        }
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let config: Config =
            serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
                ConfigError::Shape {
                    path: error.path().to_string(),
                    source: error.into_inner(),
                }
            })?;
        deserializer.end().map_err(|source| ConfigError::Shape {
            path: ".".to_owned(),
            source,
        })?;

        let mut hasher = DefaultHasher::new();
        json.hash(&mut hasher);
        Ok(Self {
            pool: pool_name(config.pool)?,
            endpoints: endpoints(config.endpoints.r#static)?,
            metrics: MetricsSettings::try_from(config.metrics)?,
            profile: profile(config.scheduling)?,
            hand_over: config.destination.hand_over,
            digest: hasher.finish(),
        })
    }
}

fn pool_name(name: String) -> Result<String, ConfigError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=MAX_POOL_NAME).contains(&name.len()) && name.chars().all(plain) {
        Ok(name)
    } else {
        Err(refused(
            "pool",
            "a name of 1 to 63 letters, digits, '.', '_' or '-'",
            format_args!("{name:?}"),
        ))
    }
}

fn endpoints(entries: Vec<schema::StaticEndpoint>) -> Result<Vec<DiscoveredEndpoint>, ConfigError> {
    let mut seen = BTreeSet::new();
    (0_usize..)
        .zip(entries)
        .map(|(index, entry)| {
            let field = if entry.is_object { ".address" } else { "" };
            let refused = |expected| {
                let path = format!("endpoints.static[{index}]{field}");
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
            Ok(DiscoveredEndpoint {
                address,
                labels: entry.labels,
            })
        })
        .collect()
}

impl TryFrom<schema::Metrics> for MetricsSettings {
    type Error = ConfigError;

    fn try_from(metrics: schema::Metrics) -> Result<Self, ConfigError> {
        let schema::Metrics {
            cluster,
            path,
            interval,
            timeout,
            stale_after,
            engine,
            mapping,
        } = metrics;
        if cluster.is_empty() {
            return Err(refused("metrics.cluster", "the name of a cluster", "\"\""));
        }
        if !path.starts_with('/') || path.contains(|c: char| c.is_ascii_control() || c == ' ') {
            return Err(refused(
                "metrics.path",
                "a path that starts with '/', without blanks",
                format_args!("{path:?}"),
            ));
        }
        let interval = interval.unwrap_or(DEFAULT_INTERVAL);
        if !INTERVALS.contains(&interval) {
            return Err(refused(
                "metrics.interval",
                "20ms to 1h",
                format_args!("{interval:?}"),
            ));
        }
        let timeout = timeout.unwrap_or(DEFAULT_TIMEOUT);
        if !(Duration::from_millis(1)..=*INTERVALS.end()).contains(&timeout) {
            return Err(refused(
                "metrics.timeout",
                "1ms to 1h",
                format_args!("{timeout:?}"),
            ));
        }
        let stale_after = stale_after.unwrap_or(interval * DEFAULT_STALE_AFTER_INTERVALS);
        if stale_after <= interval {
            return Err(refused(
                "metrics.staleAfter",
                "more than metrics.interval",
                format_args!("{stale_after:?}"),
            ));
        }
        Ok(Self {
            cluster,
            path,
            interval,
            timeout,
            stale_after,
            selectors: selectors(engine, &mapping)?,
        })
    }
}

fn selectors(
    engine: crate::model_server::Engine,
    mapping: &schema::SelectorOverrides,
) -> Result<SignalSelectors, ConfigError> {
    let mut parsed = Vec::new();
    for signal in Signal::ALL {
        let text = match signal {
            Signal::WaitingRequests => &mapping.waiting_requests,
            Signal::RunningRequests => &mapping.running_requests,
            Signal::KvCacheUsage => &mapping.kv_cache_usage,
        };
        if let Some(text) = text {
            let selector: Selector = text.parse().map_err(|_| {
                refused(
                    format!("metrics.mapping.{signal}"),
                    "a selector such as family{label=\"value\"}",
                    format_args!("{text:?}"),
                )
            })?;
            parsed.push((signal, selector));
        }
    }
    let overrides = |signal| {
        parsed
            .iter()
            .find_map(|(of, selector)| (*of == signal).then(|| selector.clone()))
    };
    SignalSelectors::new(engine, overrides).map_err(|error| {
        refused(
            "metrics.engine",
            "an engine whose selectors are valid",
            error,
        )
    })
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
