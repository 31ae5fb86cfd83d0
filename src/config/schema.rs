//! The shape of the configuration file, field by field.

use core::{fmt, time::Duration};
use std::collections::BTreeMap;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::{
    epp, explanation::Explanation, models::Models, prefix_cache::PrefixCache,
    scheduling::Scheduling,
};
use crate::{
    model_server::EngineSpec,
    scraping::{ScrapeSpec, Secret},
    time::optional_duration,
};

/// The whole configuration: the fields of one pool, or `pools`, and what all pools share.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// The one pool's name.
    pub pool: Option<String>,
    /// The one pool's endpoints.
    pub endpoints: Option<Endpoints>,
    /// How the one pool's metrics are read.
    pub metrics: Option<Metrics>,
    /// How one of the one pool's endpoints is chosen.
    pub scheduling: Option<Scheduling>,
    /// What is remembered of the one pool's prompts.
    pub prefix_cache: Option<PrefixCache>,
    /// Several pools.
    pub pools: Option<Vec<Pool>>,
    /// Names of models.
    #[serde(default)]
    pub models: Models,
    /// How requests are read.
    #[serde(default)]
    pub request: Request,
    /// Which headers count.
    #[serde(default)]
    pub headers: Headers,
    /// How Envoy is told.
    #[serde(default)]
    pub destination: Destination,
    /// Who may ask why an endpoint was chosen.
    pub explanation: Option<Explanation>,
}

/// One of several pools.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pool {
    /// Its name in shared data, metrics and messages.
    pub name: String,
    /// The models it serves, by name or with a `*` at the end; without them it takes what no other
    /// names.
    pub models: Option<Vec<String>>,
    /// Where endpoints come from.
    pub endpoints: Endpoints,
    /// How their metrics are read.
    pub metrics: Metrics,
    /// How one is chosen.
    #[serde(default)]
    pub scheduling: Scheduling,
    /// What is remembered of its prompts.
    #[serde(default)]
    pub prefix_cache: PrefixCache,
}

/// Where endpoints come from. An object alone: serde would read a list as its fields in their order.
#[derive(Debug)]
pub struct Endpoints {
    /// A fixed list.
    pub r#static: Vec<StaticEndpoint>,
}

/// An entry of the fixed list: `"ip:port"`, or an object that says more.
#[derive(Debug)]
pub struct StaticEndpoint {
    /// `ip:port`, an IPv6 address in brackets.
    pub address: String,
    /// What is to be known of it.
    pub labels: BTreeMap<String, String>,
    /// The engine it runs.
    pub engine: Option<String>,
    /// How it is scraped, where that differs from others of its engine.
    pub scrape: ScrapeSpec,
    /// Whether it was written as an object, for the paths in messages.
    pub is_object: bool,
}

/// How metrics are read: scraping for all endpoints, engines, and the Endpoint Picker's own fields
/// for both.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metrics {
    /// The Envoy cluster that scrapes go through.
    pub cluster: String,
    /// The path of the exposition.
    pub path: Option<String>,
    /// The port of the exposition, where it is not the one that serves.
    pub port: Option<u16>,
    /// Time between two scrapes of an endpoint with traffic.
    #[serde(default, deserialize_with = "optional_duration")]
    pub interval: Option<Duration>,
    /// Time between two scrapes of an endpoint without traffic.
    #[serde(default, deserialize_with = "optional_duration")]
    pub idle_interval: Option<Duration>,
    /// Time after which a scrape has failed.
    #[serde(default, deserialize_with = "optional_duration")]
    pub timeout: Option<Duration>,
    /// The longest time between two scrapes of an endpoint that fails.
    #[serde(default, deserialize_with = "optional_duration")]
    pub max_back_off: Option<Duration>,
    /// The token of an `authorization: Bearer …` header.
    pub bearer_token: Option<Secret>,
    /// Further request headers.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// Age past which a metric says nothing any more.
    #[serde(default, deserialize_with = "optional_duration")]
    pub stale_after: Option<Duration>,
    /// The engine of endpoints of which nothing says another.
    pub engine: Option<String>,
    /// Labels of which the first that an endpoint carries names its engine.
    pub engine_labels: Option<Vec<String>>,
    /// Engines besides the presets, and changes to those.
    #[serde(default)]
    pub engines: BTreeMap<String, EngineSpec>,
    /// The Endpoint Picker's engines.
    pub engine_configs: Option<Vec<epp::EngineConfig>>,
    /// The Endpoint Picker's name for `engine`.
    pub default_engine: Option<String>,
    /// The Endpoint Picker's form of `engine_labels`.
    pub engine_label_key: Option<String>,
    /// The three above as they stand in an `EndpointPickerConfig`.
    pub parameters: Option<epp::Parameters>,
    /// A flag of the Endpoint Picker: requests accepted and not started.
    #[serde(alias = "total-queued-requests-metric")]
    pub total_queued_requests_metric: Option<epp::Spec>,
    /// A flag of the Endpoint Picker: requests in the engine's batch.
    #[serde(alias = "total-running-requests-metric")]
    pub total_running_requests_metric: Option<epp::Spec>,
    /// A flag of the Endpoint Picker: share of the KV cache in use.
    #[serde(alias = "kv-cache-usage-percentage-metric")]
    pub kv_cache_usage_percentage_metric: Option<epp::Spec>,
    /// A flag of the Endpoint Picker: blocks of the KV cache in use.
    #[serde(alias = "used-kv-cache-blocks-metric")]
    pub used_kv_cache_blocks_metric: Option<epp::Spec>,
    /// A flag of the Endpoint Picker: blocks that the KV cache has.
    #[serde(alias = "max-kv-cache-blocks-metric")]
    pub max_kv_cache_blocks_metric: Option<epp::Spec>,
    /// A flag of the Endpoint Picker: LoRA adapters, as labels.
    #[serde(alias = "lora-info-metric")]
    pub lora_info_metric: Option<epp::Spec>,
    /// A flag of the Endpoint Picker: the KV cache's size, as labels.
    #[serde(alias = "cache-info-metric")]
    pub cache_info_metric: Option<epp::Spec>,
    /// A flag of the Endpoint Picker: `port`, 0 for the one that serves.
    #[serde(alias = "model-server-metrics-port")]
    pub model_server_metrics_port: Option<u16>,
    /// A flag of the Endpoint Picker: `path`.
    #[serde(alias = "model-server-metrics-path")]
    pub model_server_metrics_path: Option<String>,
    /// A flag of the Endpoint Picker, which the cluster decides here.
    #[serde(alias = "model-server-metrics-scheme")]
    pub model_server_metrics_scheme: Option<epp::HttpScheme>,
    /// A flag of the Endpoint Picker: over http there is no certificate to verify.
    #[serde(alias = "model-server-metrics-https-insecure-skip-verify")]
    pub model_server_metrics_https_insecure_skip_verify: Option<bool>,
}

/// How requests are read.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Bytes of a body that are held until the model is known.
    pub max_held_bytes: Option<usize>,
    /// Bytes of a prompt that are hashed.
    pub prefix_bytes: Option<usize>,
    /// Time for which a held request may wait for more of its body.
    #[serde(default, deserialize_with = "optional_duration")]
    pub body_timeout: Option<Duration>,
}

/// Which headers count.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Headers {
    /// Whether headers tell the model, for routes to match.
    #[serde(default)]
    pub model_headers: bool,
    /// Headers that a gateway in front sets, and no client can.
    #[serde(default)]
    pub trusted: Vec<String>,
}

/// How Envoy is told of the choice.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Destination {
    /// By which of the ways.
    #[serde(default)]
    pub hand_over: HandOver,
    /// The request header, where it is one.
    pub header: Option<String>,
    /// How many endpoints are handed over, the best first.
    pub ranked: Option<usize>,
    /// The response header that tells who has served.
    pub served_header: Option<String>,
}

/// The ways in which Envoy is told of the choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HandOver {
    /// A request header, for an `ORIGINAL_DST` cluster with `use_http_header`. Needs
    /// `allow_on_headers_stop_iteration`.
    #[default]
    OriginalDstHeader,
    /// The filter state `envoy.network.transport_socket.original_dst_address`, for an
    /// `ORIGINAL_DST` cluster. Needs the buffer filter behind this one.
    OriginalDstFilterState,
    /// A request header with a list, for a cluster with the load balancing policy `override_host`:
    /// each attempt goes to the next of the list. Needs `allow_on_headers_stop_iteration`.
    OverrideHost,
}

impl<'de> Deserialize<'de> for Endpoints {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor;

        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Object {
            r#static: Vec<StaticEndpoint>,
        }

        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = Endpoints;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("{\"static\": [\"ip:port\", …]}")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let Object { r#static } = Object::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Endpoints { r#static })
            }
        }

        deserializer.deserialize_any(ObjectVisitor)
    }
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
            engine: Option<String>,
            #[serde(default)]
            scrape: ScrapeSpec,
        }

        impl<'de> Visitor<'de> for EntryVisitor {
            type Value = StaticEndpoint;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"ip:port\" or {\"address\": \"ip:port\", …}")
            }

            fn visit_str<E: Error>(self, address: &str) -> Result<Self::Value, E> {
                Ok(StaticEndpoint {
                    address: address.to_owned(),
                    labels: BTreeMap::new(),
                    engine: None,
                    scrape: ScrapeSpec::default(),
                    is_object: false,
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let object = Object::deserialize(MapAccessDeserializer::new(map))?;
                Ok(StaticEndpoint {
                    address: object.address,
                    labels: object.labels,
                    engine: object.engine,
                    scrape: object.scrape,
                    is_object: true,
                })
            }
        }

        deserializer.deserialize_any(EntryVisitor)
    }
}
