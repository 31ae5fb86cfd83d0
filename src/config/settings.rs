//! The configuration checked, with its defaults in place.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
};

use super::{
    MetricsSettings,
    schema::{self, Config, HandOver},
};
use crate::{
    discovery::DiscoveredEndpoint,
    model_server::EngineError,
    scheduling::{Profile, WeightedScorer},
};

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
        expected: Cow<'static, str>,
        /// What was there; never a secret.
        found: String,
    },
    /// Engines that cannot be made of each other as they are written.
    #[error("metrics.engines.{0}")]
    Engine(EngineError),
}

pub(super) fn refused(
    path: impl Into<String>,
    expected: impl Into<Cow<'static, str>>,
    found: impl ToString,
) -> ConfigError {
    ConfigError::Value {
        path: path.into(),
        expected: expected.into(),
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
            serde_path_to_error::deserialize(&mut deserializer).map_err(of_another_shape)?;
        deserializer.end().map_err(|source| ConfigError::Shape {
            path: ".".to_owned(),
            source,
        })?;

        let mut hasher = DefaultHasher::new();
        json.hash(&mut hasher);
        let metrics = MetricsSettings::try_from(config.metrics)?;
        Ok(Self {
            pool: pool_name(config.pool)?,
            endpoints: endpoints(config.endpoints.r#static, &metrics)?,
            metrics,
            profile: profile(config.scheduling)?,
            hand_over: config.destination.hand_over,
            digest: hasher.finish(),
        })
    }
}

fn of_another_shape(error: serde_path_to_error::Error<serde_json::Error>) -> ConfigError {
    let path = error.path().to_string();
    // Serde's message would show what is there in the place of an object, which may be a secret.
    if path.ends_with(".headers") {
        return refused(path, "an object of texts", "something else");
    }
    ConfigError::Shape {
        path,
        source: error.into_inner(),
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
