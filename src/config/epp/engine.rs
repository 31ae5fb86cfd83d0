//! The engines that `engineConfigs` and flags describe.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de};

use crate::{
    exposition::Selector,
    model_server::{Aggregation, Alternatives, EngineSpec, Expression, LoraSpec, Operator, Series},
    pool::Signal,
};

const DEFAULT_BLOCK_SIZE_LABEL: &str = "block_size";
const DEFAULT_NUM_BLOCKS_LABEL: &str = "num_gpu_blocks";

/// One of the `engineConfigs`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EngineConfig {
    /// The engine's name.
    pub name: String,
    /// Requests accepted and not started.
    #[serde(default)]
    pub queued_requests_spec: Spec,
    /// Requests in the engine's batch.
    #[serde(default)]
    pub running_requests_spec: Spec,
    /// Share of the KV cache in use.
    #[serde(default)]
    pub kv_usage_spec: Spec,
    /// LoRA adapters, as vLLM's labels.
    #[serde(default)]
    pub lora_spec: Spec,
    /// The KV cache's size, as labels.
    #[serde(default)]
    pub cache_info_spec: Spec,
    /// The label with the tokens of one block.
    pub cache_block_size_label_name: Option<String>,
    /// The label with the number of blocks.
    pub cache_num_blocks_label_name: Option<String>,
    /// Tokens of one block, as a value.
    #[serde(default)]
    pub cache_block_size_spec: Spec,
    /// The number of blocks, as a value.
    #[serde(default)]
    pub cache_num_blocks_spec: Spec,
    /// Scalars by names of the configuration's own.
    pub custom_metrics: Option<Vec<CustomMetric>>,
    /// Scalars as well, of where KV blocks are kept.
    pub tiered_offloading_specs: Option<Vec<CustomMetric>>,
    /// Where LoRA adapters are kept, of which nothing is read.
    #[serde(default, rename = "loraLoadedSpec")]
    _lora_loaded_spec: Spec,
    #[serde(default, rename = "loraGPULoadedSpec")]
    _lora_gpu_loaded_spec: Spec,
    #[serde(default, rename = "loraGPUSlotsSpec")]
    _lora_gpu_slots_spec: Spec,
}

impl EngineConfig {
    /// Whether it names any series at all.
    pub(super) fn maps_anything(&self) -> bool {
        let specs = [
            &self.queued_requests_spec,
            &self.running_requests_spec,
            &self.kv_usage_spec,
            &self.lora_spec,
            &self.cache_info_spec,
            &self.cache_block_size_spec,
            &self.cache_num_blocks_spec,
        ];
        let custom = self.scalars().map(|(_, metric)| &metric.metric_spec);
        let mut specs = specs.into_iter().chain(custom);
        specs.any(|Spec(selector)| selector.is_some())
    }

    /// Its custom metrics, with their places in it.
    pub(super) fn scalars(&self) -> impl Iterator<Item = (String, &CustomMetric)> {
        let lists = [
            ("customMetrics", &self.custom_metrics),
            ("tieredOffloadingSpecs", &self.tiered_offloading_specs),
        ];
        lists.into_iter().flat_map(|(field, list)| {
            let list = list.iter().flatten().enumerate();
            list.map(move |(index, metric)| (format!("{field}[{index}]"), metric))
        })
    }
}

/// One of the `customMetrics` of an engine.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CustomMetric {
    /// The scalar's name.
    pub attribute_key: String,
    /// Its series.
    #[serde(default)]
    pub metric_spec: Spec,
    /// Whether scrapes may lack it. They always may.
    #[serde(default)]
    pub optional: bool,
}

/// Series as the Endpoint Picker names them; none if the text is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spec(pub Option<Selector>);

impl<'de> Deserialize<'de> for Spec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Option::<String>::deserialize(deserializer)? {
            Some(text) if !text.is_empty() => {
                let selector = text.parse().map_err(de::Error::custom)?;
                Ok(Self(Some(selector)))
            }
            _ => Ok(Self(None)),
        }
    }
}

/// The flags that name metrics: `None` where one is not given, an empty [`Spec`] where it disables.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::config) struct MetricFlags {
    pub(in crate::config) queued_requests: Option<Spec>,
    pub(in crate::config) running_requests: Option<Spec>,
    pub(in crate::config) kv_usage: Option<Spec>,
    pub(in crate::config) used_blocks: Option<Selector>,
    pub(in crate::config) max_blocks: Option<Selector>,
    pub(in crate::config) lora_info: Option<Spec>,
    pub(in crate::config) cache_info: Option<Spec>,
}

impl From<EngineConfig> for EngineSpec {
    /// An engine with the signals of this entry alone. Of a preset of its name it keeps how that is
    /// recognised and scraped, of which the entry says nothing.
    fn from(config: EngineConfig) -> Self {
        let info = config.cache_info_spec.0;
        // Of a value and a label for the same, the Endpoint Picker reads the value last.
        let either = |direct: Spec, label: Option<String>, default: &str| {
            let label = label.filter(|label| !label.is_empty());
            let of_label = info
                .as_ref()
                .map(|info| label_value(info, label.as_deref().unwrap_or(default)));
            alternatives(direct.0.map(value).into_iter().chain(of_label))
        };
        let block_size = either(
            config.cache_block_size_spec,
            config.cache_block_size_label_name,
            DEFAULT_BLOCK_SIZE_LABEL,
        );
        let blocks = either(
            config.cache_num_blocks_spec,
            config.cache_num_blocks_label_name,
            DEFAULT_NUM_BLOCKS_LABEL,
        );
        let mut signals = BTreeMap::from(Signal::ALL.map(|signal| (signal, None)));
        signals.extend([
            (Signal::WaitingRequests, only(config.queued_requests_spec)),
            (Signal::RunningRequests, only(config.running_requests_spec)),
            (Signal::KvCacheUsage, only(config.kv_usage_spec)),
            (Signal::KvBlockSize, block_size),
            (Signal::KvBlocks, blocks),
        ]);
        let lists = [config.custom_metrics, config.tiered_offloading_specs];
        let custom_metrics = lists.into_iter().flatten().flatten();
        Self {
            signals,
            custom_metrics: custom_metrics
                .map(|metric| (metric.attribute_key, only(metric.metric_spec)))
                .collect(),
            lora: Some(config.lora_spec.0.map(lora_info)),
            ..Self::default()
        }
    }
}

impl From<MetricFlags> for EngineSpec {
    /// What the flags change of an engine.
    fn from(flags: MetricFlags) -> Self {
        let mut signals = BTreeMap::new();
        let mut set = |signal, alternatives| signals.insert(signal, alternatives);
        for (signal, flag) in [
            (Signal::WaitingRequests, flags.queued_requests),
            (Signal::RunningRequests, flags.running_requests),
            (Signal::KvCacheUsage, flags.kv_usage),
        ] {
            if let Some(spec) = flag {
                set(signal, only(spec));
            }
        }
        if let (Some(used), Some(max)) = (flags.used_blocks, flags.max_blocks) {
            let usage = Expression::Binary(sum(used), Operator::Divide, sum(max));
            set(Signal::KvCacheUsage, alternatives([usage]));
        }
        if let Some(Spec(info)) = flags.cache_info {
            for (signal, label) in [
                (Signal::KvBlockSize, DEFAULT_BLOCK_SIZE_LABEL),
                (Signal::KvBlocks, DEFAULT_NUM_BLOCKS_LABEL),
            ] {
                set(
                    signal,
                    alternatives(info.as_ref().map(|info| label_value(info, label))),
                );
            }
        }
        Self {
            signals,
            lora: flags.lora_info.map(|Spec(info)| info.map(lora_info)),
            ..Self::default()
        }
    }
}

fn only(spec: Spec) -> Option<Alternatives> {
    alternatives(spec.0.map(value))
}

fn alternatives(expressions: impl IntoIterator<Item = Expression>) -> Option<Alternatives> {
    let expressions: Vec<_> = expressions.into_iter().collect();
    (!expressions.is_empty()).then_some(Alternatives(expressions))
}

const fn value(selector: Selector) -> Expression {
    let label = None;
    Expression::Aggregate(None, Series { selector, label })
}

fn label_value(info: &Selector, label: &str) -> Expression {
    let series = Series {
        selector: info.clone(),
        label: Some(label.into()),
    };
    Expression::Aggregate(None, series)
}

fn sum(selector: Selector) -> Box<Expression> {
    let label = None;
    let series = Series { selector, label };
    Box::new(Expression::Aggregate(Some(Aggregation::Sum), series))
}

/// The labels that vLLM gives to what it says of LoRA, and the Endpoint Picker asks for.
fn lora_info(info: Selector) -> LoraSpec {
    LoraSpec::Info {
        info,
        max_label: "max_lora".to_owned(),
        running_label: "running_lora_adapters".to_owned(),
        waiting_label: "waiting_lora_adapters".to_owned(),
    }
}
