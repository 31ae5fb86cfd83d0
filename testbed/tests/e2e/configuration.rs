//! A configuration is taken as a whole, or refused as a whole with the place of what is wrong.

use anyhow::Result;
use serde_json::{Value, json};
use testbed::envoy::{Configuration, Envoy, HandOver};

#[tokio::test]
async fn shipped_configurations_are_valid() -> Result<()> {
    for hand_over in HandOver::ALL {
        let (valid, output) = validate(hand_over, &json!({})).await?;
        assert!(valid, "{output}");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_invalid_is_refused_with_its_json_path() -> Result<()> {
    let patches_and_paths: [(Value, &str); 14] = [
        (
            json!({ "endpoints": { "static": ["127.0.0.1:8001", "model-server:8000"] } }),
            "endpoints.static[1]",
        ),
        (
            json!({ "endpoints": { "static": [{ "address": "127.0.0.1" }] } }),
            "endpoints.static[0]",
        ),
        (
            json!({ "endpoints": { "static": [{ "address": "127.0.0.1:1", "engine": "magic" }] } }),
            "endpoints.static[0].engine",
        ),
        (
            json!({ "endpoints": { "static": [
                { "address": "127.0.0.1:1", "scrape": { "path": "metrics" } },
            ] } }),
            "endpoints.static[0].scrape.path",
        ),
        (json!({ "endpoints": { "statik": [] } }), "endpoints.statik"),
        (
            json!({ "metrics": { "interval": "soon" } }),
            "metrics.interval",
        ),
        (
            json!({ "metrics": { "interval": "200ms", "idleInterval": "100ms" } }),
            "metrics.idleInterval",
        ),
        (json!({ "metrics": { "cluster": null } }), "metrics"),
        (
            json!({ "metrics": { "engine": "magic" } }),
            "metrics.engine",
        ),
        (
            json!({ "scheduling": { "scorers": [{ "type": "queue" }, { "type": "magic" }] } }),
            "scheduling.scorers[1]",
        ),
        (
            json!({ "destination": { "handOver": "by-foot" } }),
            "destination.handOver",
        ),
        (
            json!({ "metrics": { "engines": { "vllm": { "signals": { "waitingRequests": "{" } } } } }),
            "metrics.engines.vllm.signals.waitingRequests",
        ),
        (
            json!({ "metrics": { "engines": { "ours": { "signals": { "luck": "family" } } } } }),
            "metrics.engines.ours.signals",
        ),
        (
            json!({ "metrics": { "engines": { "ours": { "extends": "theirs" } } } }),
            "metrics.engines.ours.extends",
        ),
    ];
    for (patch, path) in patches_and_paths {
        let (valid, output) = validate(HandOver::OriginalDstHeader, &patch).await?;
        assert!(!valid, "{patch} was taken");
        assert!(output.contains(path), "{path} is not named:\n{output}");
    }
    Ok(())
}

/// Whether Envoy finds a shipped configuration with this change valid, and what it says.
async fn validate(hand_over: HandOver, patch: &Value) -> Result<(bool, String)> {
    let configuration = Configuration::shipped(hand_over)?.merge_plugin_configuration(patch)?;
    let output = Envoy::validate(&configuration).await?;
    let said = [output.stdout, output.stderr].concat();
    Ok((
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    ))
}
