//! Detectors of saturation, where profiles use them as filters.

use serde::{Deserialize, de::IgnoredAny};

use crate::{
    config::{scheduling::Plugin, settings::ConfigError},
    scheduling::{Utilization, UtilizationCondition, UtilizationMetric},
};

/// The filter that a detector is.
pub(super) fn filter(plugin: Plugin<'_>) -> Result<Utilization, ConfigError> {
    if plugin.kind == "concurrency-detector" {
        concurrency(plugin)
    } else {
        utilization(plugin)
    }
}

/// Endpoints below the thresholds, or all where there are none.
fn utilization(plugin: Plugin<'_>) -> Result<Utilization, ConfigError> {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase", deny_unknown_fields)]
    struct Parameters {
        queue_depth_threshold: Option<f64>,
        kv_cache_util_threshold: Option<f64>,
        headroom: Option<f64>,
        /// Metrics are as fresh as `metrics.staleAfter` says.
        #[serde(rename = "metricsStalenessThreshold")]
        _staleness: IgnoredAny,
    }

    let given: Parameters = plugin.parameters()?;
    let queue = given.queue_depth_threshold.unwrap_or(5.0);
    let usage = given.kv_cache_util_threshold.unwrap_or(0.8);
    let headroom = plugin.at_least("headroom", 0.0, given.headroom.unwrap_or_default())?;
    let queue = plugin.at_least("queueDepthThreshold", 0.0, queue)?;
    let queue = plugin.positive("queueDepthThreshold", queue)?;
    let usage = plugin.share("kvCacheUtilThreshold", usage)?;
    let usage = plugin.positive("kvCacheUtilThreshold", usage)?;
    let burst = 1.0 + headroom;
    Ok(Utilization {
        conditions: vec![
            below(UtilizationMetric::WaitingQueue, queue * burst),
            below(
                UtilizationMetric::KvCacheUtilization,
                (usage * burst).min(1.0),
            ),
        ],
        fallback_on_empty: true,
    })
}

/// Endpoints with fewer requests in flight than the bound, or none where there are none.
fn concurrency(plugin: Plugin<'_>) -> Result<Utilization, ConfigError> {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase", deny_unknown_fields)]
    struct Parameters {
        #[serde(rename = "concurrencyMode")]
        _mode: Option<Mode>,
        max_concurrency: Option<f64>,
        headroom: Option<f64>,
        /// Counts in the other modes.
        #[serde(rename = "maxTokenConcurrency")]
        _max_tokens: IgnoredAny,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        Requests,
    }

    let given: Parameters = plugin.parameters()?;
    let most = given.max_concurrency.unwrap_or(100.0);
    let most = plugin.at_least("maxConcurrency", 0.0, most)?;
    let most = plugin.positive("maxConcurrency", most)?;
    let headroom = plugin.at_least("headroom", 0.0, given.headroom.unwrap_or_default())?;
    Ok(Utilization {
        conditions: vec![below(
            UtilizationMetric::ActiveRequests,
            most * (1.0 + headroom),
        )],
        fallback_on_empty: false,
    })
}

/// Less than `bound`, where a condition is about the largest value that may be.
fn below(metric: UtilizationMetric, bound: f64) -> UtilizationCondition {
    UtilizationCondition {
        metric,
        max_value: bound.next_down(),
    }
}
