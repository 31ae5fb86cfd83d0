//! The Endpoint Picker's own configuration, as it stands there.
//!
//! An `EndpointPickerConfig` has profiles of plugins in the place of `scheduling`. Of metrics, its
//! `core-metrics-extractor` has `engineConfigs`, `defaultEngine` and `engineLabelKey`; its first
//! generation had one engine, which flags described. Both name series by `family{label=value}`, and
//! the empty text is none. All of it is put into this configuration's own fields and checked with
//! them; what is written in both forms is refused, since one of them would have no effect.

mod engine;
mod picker_config;

pub use engine::{CustomMetric, EngineConfig, Spec};
pub(super) use picker_config::{PickerConfig, PluginMetrics};
pub use picker_config::{PluginSpec, ProfilePlugin, SchedulingProfile};

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, de};

use self::engine::MetricFlags;
use super::{
    metrics::{AUTO, CUSTOM_METRIC, LABEL, is_custom_metric},
    schema::Metrics,
    settings::{ConfigError, refused},
};
use crate::{
    exposition::is_label_name,
    model_server::{EngineSpec, PRESETS},
};

/// The engine that the Endpoint Picker takes where nothing says which.
const DEFAULT_ENGINE: &str = "vllm";
/// What it calls no engine in particular, and refuses as the name of one.
const RESERVED_ENGINE: &str = "default";
/// The label that it reads where `engineLabelKey` does not say which.
const DEFAULT_ENGINE_LABEL: &str = "llm-d.ai/engine-type";
/// The label that it reads where the other is not there.
const LEGACY_ENGINE_LABEL: &str = "inference.networking.k8s.io/engine-type";

/// The parameters of a `core-metrics-extractor`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Parameters {
    /// Engines besides the presets, and in the place of those.
    pub engine_configs: Option<Vec<EngineConfig>>,
    /// The engine of endpoints whose labels name none.
    pub default_engine: Option<String>,
    /// The label that names an endpoint's engine.
    pub engine_label_key: Option<String>,
}

/// The one scheme that a scrape is written with. Whether it is encrypted is its cluster's to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpScheme;

impl<'de> Deserialize<'de> for HttpScheme {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "http" {
            return Ok(Self);
        }
        Err(de::Error::custom(format_args!(
            "expected \"http\", also for a cluster whose transport_socket encrypts, found {text:?}"
        )))
    }
}

/// Under which names the values stand in the file that came from the Endpoint Picker's fields.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) engine: String,
    pub(super) path: String,
    pub(super) port: String,
    pub(super) interval: String,
}

/// Puts what the Endpoint Picker's fields say into this configuration's own: those of `metrics`, and
/// what its plugins say `of_plugins`.
pub(super) fn adopt(
    metrics: &mut Metrics,
    of_plugins: PluginMetrics,
) -> Result<Written, ConfigError> {
    let (place, parameters) = parameters(metrics, of_plugins.extractor)?;
    let place = place.as_str();
    let flags = metric_flags(metrics)?;
    let names_engines = parameters.is_given() || flags != MetricFlags::default();
    let mut written = Written {
        engine: "metrics.engine".to_owned(),
        path: "metrics.path".to_owned(),
        port: "metrics.port".to_owned(),
        interval: "metrics.interval".to_owned(),
    };

    let flag = metrics.model_server_metrics_path.take();
    for (place, field, path) in [
        ("metrics", "modelServerMetricsPath", flag),
        (&of_plugins.source, "path", of_plugins.path),
    ] {
        if let Some(path) = path {
            only_one(place, field, "path", metrics.path.is_some())?;
            written.path = format!("{place}.{field}");
            metrics.path = Some(path);
        }
    }
    let flag = metrics.model_server_metrics_port.take();
    for (place, field, port) in [
        ("metrics", "modelServerMetricsPort", flag),
        (&of_plugins.source, "port", of_plugins.port),
    ] {
        if let Some(port) = port {
            only_one(place, field, "port", metrics.port.is_some())?;
            written.port = format!("{place}.{field}");
            metrics.port = (port != 0).then_some(port);
        }
    }
    if let Some(interval) = of_plugins.interval {
        let place = &of_plugins.source;
        only_one(place, "interval", "interval", metrics.interval.is_some())?;
        written.interval = format!("{place}.interval");
        metrics.interval = Some(interval);
    }
    if let Some(label) = parameters.engine_label_key {
        only_one(
            place,
            "engineLabelKey",
            "engineLabels",
            metrics.engine_labels.is_some(),
        )?;
        let label = if label.is_empty() {
            DEFAULT_ENGINE_LABEL.to_owned()
        } else {
            label
        };
        metrics.engine_labels = Some(vec![label, LEGACY_ENGINE_LABEL.to_owned()]);
    }
    if let Some(engine) = parameters.default_engine {
        only_one(place, "defaultEngine", "engine", metrics.engine.is_some())?;
        written.engine = format!("{place}.defaultEngine");
        metrics.engine = (!engine.is_empty()).then_some(engine);
    }
    if names_engines && metrics.engine.is_none() {
        metrics.engine = Some(DEFAULT_ENGINE.to_owned());
    }
    let configs = parameters.engine_configs.unwrap_or_default();
    adopt_engine_configs(&mut metrics.engines, place, configs)?;
    adopt_flags(metrics, flags)?;
    Ok(written)
}

impl Parameters {
    const fn is_given(&self) -> bool {
        self.engine_configs.is_some()
            || self.default_engine.is_some()
            || self.engine_label_key.is_some()
    }
}

/// The parameters, and where they stand; perhaps in a plugin.
fn parameters(
    metrics: &mut Metrics,
    of_plugin: Option<(String, Parameters)>,
) -> Result<(String, Parameters), ConfigError> {
    let direct = Parameters {
        engine_configs: metrics.engine_configs.take(),
        default_engine: metrics.default_engine.take(),
        engine_label_key: metrics.engine_label_key.take(),
    };
    let nested = metrics.parameters.take();
    if let Some((place, parameters)) = of_plugin {
        if nested.is_none() && !direct.is_given() {
            return Ok((place, parameters));
        }
        let expected = "the parameters of a core-metrics-extractor once, in it or in metrics";
        return Err(refused(place, expected, "both"));
    }
    match nested {
        None => Ok(("metrics".to_owned(), direct)),
        Some(nested) if !direct.is_given() => Ok(("metrics.parameters".to_owned(), nested)),
        Some(_) => Err(refused(
            "metrics.parameters",
            "engineConfigs, defaultEngine and engineLabelKey either in it or beside it",
            "both",
        )),
    }
}

/// The flags that name metrics.
fn metric_flags(metrics: &mut Metrics) -> Result<MetricFlags, ConfigError> {
    const USED: &str = "metrics.usedKvCacheBlocksMetric";
    const MAX: &str = "metrics.maxKvCacheBlocksMetric";
    let selector = |spec: Option<Spec>| spec.and_then(|Spec(selector)| selector);
    let flags = MetricFlags {
        queued_requests: metrics.total_queued_requests_metric.take(),
        running_requests: metrics.total_running_requests_metric.take(),
        kv_usage: metrics.kv_cache_usage_percentage_metric.take(),
        used_blocks: selector(metrics.used_kv_cache_blocks_metric.take()),
        max_blocks: selector(metrics.max_kv_cache_blocks_metric.take()),
        lora_info: metrics.lora_info_metric.take(),
        cache_info: metrics.cache_info_metric.take(),
    };
    match (&flags.used_blocks, &flags.max_blocks, &flags.kv_usage) {
        (Some(_), None, _) => Err(refused(USED, format!("{MAX} beside it"), "none")),
        (None, Some(_), _) => Err(refused(MAX, format!("{USED} beside it"), "none")),
        (Some(_), Some(_), Some(Spec(Some(_)))) => {
            let usage = "kvCacheUsagePercentageMetric";
            only_one("metrics", usage, "usedKvCacheBlocksMetric", true)?;
            Ok(flags)
        }
        _ => Ok(flags),
    }
}

fn adopt_engine_configs(
    engines: &mut BTreeMap<String, EngineSpec>,
    place: &str,
    configs: Vec<EngineConfig>,
) -> Result<(), ConfigError> {
    let mut names = BTreeSet::new();
    for (index, config) in (0_usize..).zip(configs) {
        let path = format!("{place}.engineConfigs[{index}]");
        let name = config.name.clone();
        let expected = match name.as_str() {
            "" => "the name of an engine".to_owned(),
            RESERVED_ENGINE | AUTO => format!("a name other than {name:?}"),
            _ if !names.insert(name.clone()) => "each engine once".to_owned(),
            _ if engines.contains_key(&name) => {
                format!("each engine only once, here or in metrics.engines.{name}")
            }
            _ => {
                check_labels(&path, &config)?;
                check_custom_metrics(&path, &config)?;
                if !config.maps_anything() {
                    let expected = "at least one of queuedRequestsSpec, runningRequestsSpec, kvUsageSpec, \
                         loraSpec, cacheInfoSpec, cacheBlockSizeSpec, cacheNumBlocksSpec, \
                         customMetrics and tieredOffloadingSpecs, since it has nothing of a preset of its name";
                    return Err(refused(path, expected, "none"));
                }
                engines.insert(name, config.into());
                continue;
            }
        };
        return Err(refused(
            format!("{path}.name"),
            expected,
            format_args!("{name:?}"),
        ));
    }
    Ok(())
}

fn check_labels(path: &str, config: &EngineConfig) -> Result<(), ConfigError> {
    for (field, label) in [
        (
            "cacheBlockSizeLabelName",
            &config.cache_block_size_label_name,
        ),
        (
            "cacheNumBlocksLabelName",
            &config.cache_num_blocks_label_name,
        ),
    ] {
        let label = label.as_deref().filter(|label| !label.is_empty());
        if let Some(label) = label.filter(|label| !is_label_name(label)) {
            let found = format_args!("{label:?}");
            return Err(refused(format!("{path}.{field}"), LABEL, found));
        }
    }
    Ok(())
}

fn check_custom_metrics(path: &str, config: &EngineConfig) -> Result<(), ConfigError> {
    let mut names = BTreeSet::new();
    for (place, metric) in config.scalars() {
        let path = format!("{path}.{place}");
        let key = &metric.attribute_key;
        if key.is_empty() || !names.insert(key) {
            let expected = "a name, and each only once";
            return Err(refused(
                format!("{path}.attributeKey"),
                expected,
                format_args!("{key:?}"),
            ));
        }
        if !is_custom_metric(key) {
            return Err(refused(
                format!("{path}.attributeKey"),
                CUSTOM_METRIC,
                format_args!("{key:?}"),
            ));
        }
        if metric.metric_spec.0.is_none() {
            let expected = "a selector such as family{label=\"value\"}";
            return Err(refused(format!("{path}.metricSpec"), expected, "none"));
        }
    }
    Ok(())
}

/// Flags describe the default engine; where that is for the expositions to tell, the one that it
/// is in the Endpoint Picker.
fn adopt_flags(metrics: &mut Metrics, flags: MetricFlags) -> Result<(), ConfigError> {
    if flags == MetricFlags::default() {
        return Ok(());
    }
    let engine = metrics.engine.as_deref().filter(|engine| *engine != AUTO);
    let engine = engine.unwrap_or(DEFAULT_ENGINE);
    if metrics.engines.contains_key(engine) {
        return Err(refused(
            "metrics",
            format!("the metrics of engine {engine:?} once, by flags or as an engine's"),
            "both",
        ));
    }
    // An engine that is not there is refused where it is named.
    if PRESETS.iter().any(|preset| preset.name == engine) {
        metrics.engines.insert(engine.to_owned(), flags.into());
    }
    Ok(())
}

/// Refuses the Endpoint Picker's field `theirs` of `place` where `ours`, which says the same, is
/// given too.
fn only_one(place: &str, theirs: &str, ours: &str, is_given: bool) -> Result<(), ConfigError> {
    if !is_given {
        return Ok(());
    }
    Err(refused(
        format!("{place}.{theirs}"),
        format!("only one of it and metrics.{ours}, which says the same"),
        "both",
    ))
}
