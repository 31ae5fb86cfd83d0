//! What an `EndpointPickerConfig` says of metrics.

use core::time::Duration;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, IntoDeserializer},
};

use super::{Named, PickerConfig, kind::Kind};
use crate::{
    config::{
        epp::{HttpScheme, Parameters},
        scheduling::Plugin,
        settings::{ConfigError, refused},
    },
    time::optional_duration,
};

/// What plugins say of metrics, with the paths of their parameters.
#[derive(Debug, Default)]
pub(in crate::config) struct PluginMetrics {
    /// The parameters of the `core-metrics-extractor`.
    pub(in crate::config) extractor: Option<(String, Parameters)>,
    /// Where the parameters of the `metrics-data-source` stand.
    pub(in crate::config) source: String,
    /// The path of the exposition.
    pub(in crate::config) path: Option<String>,
    /// The port of the exposition.
    pub(in crate::config) port: Option<u16>,
    /// Time between two scrapes.
    pub(in crate::config) interval: Option<Duration>,
}

/// Of a `metrics-data-source`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Source {
    #[serde(rename = "scheme")]
    _scheme: Option<HttpScheme>,
    /// There is no certificate to verify.
    #[serde(rename = "insecureSkipVerify")]
    _insecure_skip_verify: IgnoredAny,
    /// Only what is asked for is parsed anyway.
    #[serde(rename = "families")]
    _families: IgnoredAny,
    path: Option<String>,
    port: Option<u16>,
    interval: Interval,
}

/// Time between two scrapes; the empty text leaves it open.
#[derive(Default)]
struct Interval(Option<Duration>);

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(Self(None));
        }
        optional_duration(text.into_deserializer()).map(Self)
    }
}

impl PickerConfig {
    /// What it says of metrics.
    pub(in crate::config) fn metrics(&self) -> Result<PluginMetrics, ConfigError> {
        let mut told = PluginMetrics::default();
        let plugins = self.plugins()?;
        let only = |kind| {
            let mut of_kind = plugins.values().filter(move |named| named.kind == kind);
            let first = of_kind.next();
            match of_kind.next() {
                None => Ok(first),
                Some(Named { path, spec, .. }) => Err(refused(
                    format!("{path}.type"),
                    "each source and extractor of metrics once",
                    format_args!("{:?}", spec.r#type),
                )),
            }
        };
        if let Some(named) = only(Kind::MetricsExtractor)? {
            let plugin = named.plugin(named.spec.parameters.as_ref());
            if !plugin.is_bare() {
                told.extractor = Some((plugin.at("parameters"), plugin.parameters()?));
            }
        }
        if let Some(named) = only(Kind::MetricsSource)? {
            let plugin = named.plugin(named.spec.parameters.as_ref());
            let source: Source = plugin.parameters()?;
            told.source = plugin.at("parameters");
            told.path = source.path.filter(|path| !path.is_empty());
            told.port = source.port;
            told.interval = source.interval.0;
        }
        Ok(told)
    }
}

impl<'a> Named<'a> {
    /// It with `parameters`, which are its own or most of them.
    pub(super) fn plugin<'b>(&'b self, parameters: Option<&'b serde_json::Value>) -> Plugin<'b> {
        Plugin {
            path: &self.path,
            kind: &self.spec.r#type,
            parameters,
        }
    }
}
