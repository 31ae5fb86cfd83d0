//! Scorers and their parameters, checked.

use serde::Deserialize;

use super::{
    attribute::endpoint_attribute, filter::context_length_aware, plugin::Plugin, session::session,
};
use crate::{
    config::settings::ConfigError,
    model_server::Engines,
    scheduling::{
        ActiveRequest, Latency, LoadAware, LoadBand, PrefixCache, Scorer, TokenLoad, WatchedHeaders,
    },
};

/// The names of all of them. Each is the Endpoint Picker's without its `-scorer`, and known by that
/// too.
pub(in crate::config) const SCORERS: [&str; 13] = [
    "queue",
    "running-requests",
    "kv-cache-utilization",
    "lora-affinity",
    "prefix-cache",
    "no-hit-lru",
    "active-request",
    "token-load",
    "load-aware",
    "session-affinity",
    "context-length-aware",
    "endpoint-attribute",
    "latency",
];

/// The scorer that `plugin` is.
pub(in crate::config) fn scorer(
    plugin: Plugin<'_>,
    engines: &Engines,
    watched: &mut WatchedHeaders,
) -> Result<Scorer, ConfigError> {
    Ok(match plugin.kind {
        "queue" | "queue-scorer" => plugin.without_parameters(Scorer::Queue)?,
        "running-requests" | "running-requests-size-scorer" => {
            plugin.without_parameters(Scorer::RunningRequests)?
        }
        "kv-cache-utilization" | "kv-cache-utilization-scorer" => {
            plugin.without_parameters(Scorer::KvCacheUtilization)?
        }
        "lora-affinity" | "lora-affinity-scorer" => {
            plugin.without_parameters(Scorer::LoraAffinity)?
        }
        "prefix-cache" | "prefix-cache-scorer" => Scorer::PrefixCache(prefix_cache(plugin)?),
        "no-hit-lru" | "no-hit-lru-scorer" => plugin.without_parameters(Scorer::NoHitLru)?,
        "active-request" | "active-request-scorer" => {
            Scorer::ActiveRequest(active_request(plugin)?)
        }
        "token-load" | "token-load-scorer" => Scorer::TokenLoad(token_load(plugin)?),
        "load-aware" | "load-aware-scorer" => Scorer::LoadAware(load_aware(plugin)?),
        "session-affinity" | "session-affinity-scorer" => {
            Scorer::SessionAffinity(session(plugin, watched)?)
        }
        "context-length-aware" => Scorer::ContextLengthAware(context_length_aware(plugin)?),
        "endpoint-attribute" | "endpoint-attribute-scorer" => {
            Scorer::EndpointAttribute(endpoint_attribute(plugin, engines)?)
        }
        "latency" | "latency-scorer" => Scorer::Latency(latency(plugin)?),
        _ => return Err(plugin.unknown(&SCORERS)),
    })
}

fn prefix_cache(plugin: Plugin<'_>) -> Result<PrefixCache, ConfigError> {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase", deny_unknown_fields)]
    struct Parameters {
        match_length_weight: Option<f64>,
        match_length_scale_tokens: Option<u32>,
        max_load_gap: Gap,
    }

    #[derive(Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Gap {
        requests: Option<u32>,
        ratio: Option<f64>,
    }

    let (given, default): (Parameters, _) = (plugin.parameters()?, PrefixCache::default());
    let weight = given.match_length_weight;
    let scale = given.match_length_scale_tokens;
    let Gap { requests, ratio } = given.max_load_gap;
    let ratio = ratio.unwrap_or(default.band.ratio);
    Ok(PrefixCache {
        match_length_weight: plugin.share(
            "matchLengthWeight",
            weight.unwrap_or(default.match_length_weight),
        )?,
        match_length_scale_tokens: plugin.positive(
            "matchLengthScaleTokens",
            scale.unwrap_or(default.match_length_scale_tokens),
        )?,
        band: LoadBand {
            requests: requests.unwrap_or(default.band.requests),
            ratio: plugin.at_least("maxLoadGap.ratio", 1.0, ratio)?,
        },
    })
}

fn active_request(plugin: Plugin<'_>) -> Result<ActiveRequest, ConfigError> {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase", deny_unknown_fields)]
    struct Parameters {
        idle_threshold: Option<u32>,
        max_busy_score: Option<f64>,
    }

    let (given, default): (Parameters, _) = (plugin.parameters()?, ActiveRequest::default());
    let max_busy_score = given.max_busy_score.unwrap_or(default.max_busy_score);
    Ok(ActiveRequest {
        idle_threshold: given.idle_threshold.unwrap_or(default.idle_threshold),
        max_busy_score: plugin.share("maxBusyScore", max_busy_score)?,
    })
}

fn token_load(plugin: Plugin<'_>) -> Result<TokenLoad, ConfigError> {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase", deny_unknown_fields)]
    struct Parameters {
        queue_threshold_tokens: Option<u64>,
    }

    let (given, default): (Parameters, _) = (plugin.parameters()?, TokenLoad::default());
    let tokens = given.queue_threshold_tokens;
    let tokens = tokens.unwrap_or(default.queue_threshold_tokens);
    Ok(TokenLoad {
        queue_threshold_tokens: plugin.positive("queueThresholdTokens", tokens)?,
    })
}

fn load_aware(plugin: Plugin<'_>) -> Result<LoadAware, ConfigError> {
    #[derive(Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Parameters {
        threshold: Option<u32>,
    }

    let (given, default): (Parameters, _) = (plugin.parameters()?, LoadAware::default());
    let threshold = given.threshold.unwrap_or(default.threshold);
    Ok(LoadAware {
        threshold: plugin.positive("threshold", threshold)?,
    })
}

fn latency(plugin: Plugin<'_>) -> Result<Latency, ConfigError> {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase", deny_unknown_fields)]
    struct Parameters {
        ttft_weight: Option<f64>,
        tpot_weight: Option<f64>,
    }

    let (given, default): (Parameters, _) = (plugin.parameters()?, Latency::default());
    let ttft = given.ttft_weight.unwrap_or(default.ttft_weight);
    let tpot = given.tpot_weight.unwrap_or(default.tpot_weight);
    let latency = Latency {
        ttft_weight: plugin.at_least("ttftWeight", 0.0, ttft)?,
        tpot_weight: plugin.at_least("tpotWeight", 0.0, tpot)?,
    };
    if ttft + tpot > 0.0 {
        return Ok(latency);
    }
    Err(plugin.refused("ttftWeight", "more than 0 beside a tpotWeight of 0", 0))
}
