//! What several workers of one Envoy do not know of each other, made visible: the same users behind
//! one worker and behind several.
//!
//! Every worker has a VM of its own, and decides by what this VM knows. Where that is not shared,
//! each worker finds only the prefixes that it has routed itself, and a burst that is spread over
//! workers meets at the one endpoint that all of them take for idle.
//!
//! - [`hits`]: how much of the prompts is found in the servers' prefix caches.
//! - [`burst`]: how evenly requests lie on servers that come faster than metrics.
//! - [`faults`]: requests that end in every way there is, after which nothing may be left of them.

pub mod burst;
pub mod faults;
pub mod hits;

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use crate::envoy::{Configuration, Envoy, HandOver};

/// The shipped configuration by header that scrapes at this interval, also servers without traffic,
/// with this change of the filter's configuration.
fn configuration(interval: Duration, patch: &Value) -> Result<Configuration> {
    let interval = humantime::format_duration(interval).to_string();
    let metrics = json!({ "interval": interval, "idleInterval": interval });
    Configuration::shipped(HandOver::OriginalDstHeader)?
        .merge_plugin_configuration(&json!({ "metrics": metrics }))?
        .merge_plugin_configuration(patch)
}

/// How many connections each worker has accepted.
///
/// # Errors
///
/// When the admin interface does not answer.
pub async fn connections_of_workers(envoy: &Envoy) -> Result<Vec<u64>> {
    let stats = envoy.stats("listener.").await?.into_iter();
    Ok(stats
        .filter(|(name, _)| name.contains(".worker_") && name.ends_with(".downstream_cx_total"))
        .map(|(_, accepted)| accepted)
        .collect())
}
