//! The shape of the configuration file, field by field.

use core::{fmt, time::Duration};
use std::collections::BTreeMap;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::{
    model_server::Engine,
    scheduling::{Picker, Scorer},
};

/// The whole configuration.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// The pool's name in shared data and in messages.
    #[serde(default = "default_pool")]
    pub pool: String,
    /// Where endpoints come from.
    pub endpoints: Endpoints,
    /// How their metrics are read.
    pub metrics: Metrics,
    /// How one is chosen.
    #[serde(default)]
    pub scheduling: Scheduling,
    /// How Envoy is told.
    #[serde(default)]
    pub destination: Destination,
}

fn default_pool() -> String {
    "default".to_owned()
}

/// Where endpoints come from.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Endpoints {
    /// A fixed list.
    pub r#static: Vec<StaticEndpoint>,
}

/// An entry of the fixed list: `"ip:port"`, or an object with labels.
#[derive(Debug)]
pub struct StaticEndpoint {
    /// `ip:port`, an IPv6 address in brackets.
    pub address: String,
    /// What is to be known of it.
    pub labels: BTreeMap<String, String>,
    /// Whether it was written as an object, for the paths in messages.
    pub is_object: bool,
}

/// How metrics are read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metrics {
    /// The Envoy cluster that scrapes go through.
    pub cluster: String,
    /// The path of the exposition.
    #[serde(default = "default_path")]
    pub path: String,
    /// Time between two scrapes of one endpoint.
    #[serde(default, deserialize_with = "duration")]
    pub interval: Option<Duration>,
    /// Time after which a scrape has failed.
    #[serde(default, deserialize_with = "duration")]
    pub timeout: Option<Duration>,
    /// Age past which a metric says nothing any more.
    #[serde(default, deserialize_with = "duration")]
    pub stale_after: Option<Duration>,
    /// Whose metric names to expect.
    #[serde(default)]
    pub engine: Engine,
    /// Selectors that replace the engine's own.
    #[serde(default)]
    pub mapping: SelectorOverrides,
}

fn default_path() -> String {
    "/metrics".to_owned()
}

/// Selectors by signal, each a text `family{label="value"}`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SelectorOverrides {
    /// Requests accepted and not started.
    pub waiting_requests: Option<String>,
    /// Requests in the engine's batch.
    pub running_requests: Option<String>,
    /// Share of the KV cache in use, 0 to 1.
    pub kv_cache_usage: Option<String>,
}

/// How one is chosen.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scheduling {
    /// What counts, and how much.
    pub scorers: Option<Vec<ScorerEntry>>,
    /// Who wins.
    #[serde(default)]
    pub picker: Picker,
}

/// A scorer with its weight.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScorerEntry {
    /// Which scorer.
    pub r#type: Scorer,
    /// How much it counts.
    #[serde(default = "default_weight")]
    pub weight: f64,
}

const fn default_weight() -> f64 {
    1.0
}

/// How Envoy is told of the choice.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Destination {
    /// By which of the ways.
    #[serde(default)]
    pub hand_over: HandOver,
}

/// The ways in which Envoy is told of the choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HandOver {
    /// The request header `x-envoy-original-dst-host`, for an `ORIGINAL_DST` cluster with
    /// `use_http_header`. Needs `allow_on_headers_stop_iteration`.
    #[default]
    OriginalDstHeader,
    /// The filter state `envoy.network.transport_socket.original_dst_address`, for an
    /// `ORIGINAL_DST` cluster. Needs the buffer filter behind this one.
    OriginalDstFilterState,
}

impl<'de> Deserialize<'de> for StaticEndpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntryVisitor;

        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct Object {
            address: String,
            #[serde(default)]
            labels: BTreeMap<String, String>,
        }

        impl<'de> Visitor<'de> for EntryVisitor {
            type Value = StaticEndpoint;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"ip:port\" or {\"address\": \"ip:port\", \"labels\": {…}}")
            }

            fn visit_str<E: Error>(self, address: &str) -> Result<Self::Value, E> {
                Ok(StaticEndpoint {
                    address: address.to_owned(),
                    labels: BTreeMap::new(),
                    is_object: false,
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let object = Object::deserialize(MapAccessDeserializer::new(map))?;
                Ok(StaticEndpoint {
                    address: object.address,
                    labels: object.labels,
                    is_object: true,
                })
            }
        }

        deserializer.deserialize_any(EntryVisitor)
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map(Some).map_err(|_| {
        D::Error::custom(format_args!(
            "expected a duration such as \"200ms\" or \"1m 30s\", found {text:?}"
        ))
    })
}
