//! What of an `EndpointPickerConfig` is not supported, all of it in one message.

use serde_json::Value;

use super::{
    PickerConfig,
    kind::{Kind, PREFIX_PRODUCER, TOKEN_PRODUCER, TYPES},
};
use crate::config::settings::{ConfigError, refused};

/// Gates of which it makes no difference here whether they are open.
const GATES: [&str; 4] = [
    "haPopulateNonLeaderDatastore",
    "dataLayer",
    "enableLegacyMetrics",
    "prepareDataPlugins",
];
/// The gate that is closed unless it is named.
const FLOW_CONTROL: &str = "flowControl";

/// Where a producer of prefixes has its hashes from, and the only source that is not the prompt.
const HASH_SOURCE: &str = "prefixHashSource";
const METADATA: &str = "metadata";

/// Refuses what is not supported.
pub(super) fn check(config: &PickerConfig) -> Result<(), ConfigError> {
    let found = found(config);
    if found.is_empty() {
        return Ok(());
    }
    let types: Vec<_> = TYPES.iter().map(|(name, _)| *name).collect();
    Err(refused(
        "scheduling",
        format!(
            "an EndpointPickerConfig without flow control, discovery and synchronisation, whose plugins \
             are of the types {}",
            types.join(", ")
        ),
        found.join(", "),
    ))
}

/// Each with its path.
fn found(config: &PickerConfig) -> Vec<String> {
    let mut found = Vec::new();
    let gates = config.feature_gates.iter().flatten();
    for (index, gate) in gates.enumerate() {
        let (name, is_open) = gate.split_once('=').unwrap_or((gate, "true"));
        let is_closed = name == FLOW_CONTROL && is_open == "false";
        if !is_closed && !GATES.contains(&name) {
            found.push(format!("scheduling.featureGates[{index}] {gate:?}"));
        }
    }
    for (path, spec) in config.specs() {
        if Kind::of(&spec.r#type).is_none() {
            found.push(format!("{path}.type {:?}", spec.r#type));
        }
        if spec.r#type == TOKEN_PRODUCER {
            let tokenizers = other_fields(spec.parameters.as_ref(), &["estimate"]);
            found.extend(tokenizers.map(|field| format!("{path}.parameters.{field}")));
        }
        let source = spec.parameters.as_ref().and_then(|it| it.get(HASH_SOURCE));
        if spec.r#type == PREFIX_PRODUCER && source.is_some_and(|source| source == METADATA) {
            found.push(format!("{path}.parameters.{HASH_SOURCE} {METADATA:?}"));
        }
    }
    for (section, value, known) in [
        (
            "dataLayer",
            &config.data_layer,
            ["injectDefaults", "sources"].as_slice(),
        ),
        ("flowControl", &config.flow_control, &["saturationDetector"]),
        ("requestHandler", &config.request_handler, &["parsers"]),
        (
            "saturationDetector",
            &config.saturation_detector,
            // The thresholds are its first generation's.
            &[
                "pluginRef",
                "queueDepthThreshold",
                "kvCacheUtilThreshold",
                "metricsStalenessThreshold",
            ],
        ),
        ("parser", &config.parser, &["pluginRef"]),
    ] {
        let fields = other_fields(value.as_ref(), known);
        found.extend(fields.map(|field| format!("scheduling.{section}.{field}")));
    }
    found
}

/// The fields of an object besides those that are known, if they ask for anything.
fn other_fields<'a>(
    value: Option<&'a Value>,
    known: &'a [&str],
) -> impl Iterator<Item = &'a str> + use<'a> {
    let fields = value.and_then(Value::as_object).into_iter().flatten();
    fields
        .filter(|(_, value)| !matches!(value, Value::Null | Value::Bool(false)))
        .map(|(field, _)| field.as_str())
        .filter(|field| !known.contains(field))
}
