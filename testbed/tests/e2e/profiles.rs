//! A request's headers, model or path say by which profile it is routed; an Endpoint Picker's
//! configuration says the same in its own words.

use anyhow::Result;
use hyper::{Request, header::HeaderValue};
use serde_json::{Value, json};
use testbed::{
    bed::loads_known,
    client::{self, Body, Protocol},
    envoy::{Envoy, HandOver},
    model_server::{Load, ModelServer},
    poll,
};

use crate::support::{
    CHAT, INTERVAL, PATIENCE, addresses, assert_filter_never_failed, chat_as,
    connections_to_every_worker, post, scraping_every, served_by,
};

/// Each is the best by one scorer alone: queue, running requests, KV cache. The last is none's.
const LOADS: [Load; 4] = [
    load(0, 900, 0.9),
    load(900, 0, 0.5),
    load(500, 500, 0.0),
    load(900, 900, 0.9),
];

const fn load(waiting: u32, running: u32, kv_cache_usage: f64) -> Load {
    Load {
        waiting,
        running,
        kv_cache_usage,
    }
}

async fn servers() -> Result<Vec<ModelServer>> {
    let mut servers = Vec::new();
    for load in LOADS {
        let server = ModelServer::start().await?;
        server.set_load(load);
        servers.push(server);
    }
    Ok(servers)
}

/// A pool in which the last server has a label of its own.
fn pool(servers: &[ModelServer]) -> Value {
    let endpoint = |(number, server): (usize, &ModelServer)| {
        let tier = if number + 1 == servers.len() {
            "batch"
        } else {
            "online"
        };
        json!({ "address": server.address(), "labels": { "tier": tier } })
    };
    servers.iter().enumerate().map(endpoint).collect()
}

#[tokio::test]
async fn headers_models_and_paths_choose_the_profile() -> Result<()> {
    let servers = servers().await?;
    let by = |scorer: &str| json!([{ "type": scorer }]);
    let patch = json!({ "scheduling": { "profiles": [
        {
            "name": "batch",
            "when": { "headers": [{ "name": "x-tier", "value": "batch" }] },
            "filters": [{ "type": "label-selector", "parameters": { "matchLabels": { "tier": "batch" } } }],
            "scorers": by("queue"),
        },
        { "name": "llamas", "when": { "models": ["llama-*"] }, "scorers": by("kv-cache-utilization") },
        { "name": "texts", "when": { "paths": ["/v1/completions"] }, "scorers": by("running-requests") },
        { "name": "others", "scorers": by("queue") },
    ] } });
    let configuration = scraping_every(INTERVAL, HandOver::OriginalDstHeader)?
        .merge_plugin_configuration(&patch)?
        .with_pool(&pool(&servers))?;
    let envoy = Envoy::start(configuration).await?;
    loads_known(&servers).await?;
    let at = addresses(&servers);
    let cases = [
        ("batch", CHAT, "qwen", Some("batch"), at[3]),
        // The first whose condition holds.
        (
            "batch",
            "/v1/completions",
            "llama-70b",
            Some("batch"),
            at[3],
        ),
        ("others", CHAT, "qwen", Some("online"), at[0]),
        ("llamas", CHAT, "llama-70b", None, at[2]),
        ("llamas", "/v1/completions", "llama-8b", None, at[2]),
        ("others", CHAT, "llama", None, at[0]),
        ("texts", "/v1/completions", "qwen", None, at[1]),
        ("texts", "/v1/completions?of=/v1/chat", "qwen", None, at[1]),
        ("others", CHAT, "qwen", None, at[0]),
    ];
    for connection in &mut connections_to_every_worker(&envoy, Protocol::Http1).await? {
        for (number, (profile, path, model, tier, server)) in cases.into_iter().enumerate() {
            let id = format!("{number}-{}", envoy.decisions().len());
            let request = ask(path, model, tier, &id)?;
            let served = served_by(connection, request).await?;
            let decision = envoy.decision_on(&id).await?;
            assert_eq!(decision.profile.as_deref(), Some(profile), "{decision:?}");
            assert_eq!(served, server, "{decision:?}");
        }
    }
    assert_filter_never_failed(&envoy).await
}

fn ask(path: &str, model: &str, tier: Option<&str>, id: &str) -> Result<Request<Body>> {
    let body = if path == CHAT {
        json!({ "model": model, "messages": [{ "role": "user", "content": "Hello" }] })
    } else {
        json!({ "model": model, "prompt": "Hello" })
    };
    let mut request = post(path, client::whole(body.to_string()))?;
    let headers = request.headers_mut();
    headers.insert("x-request-id", HeaderValue::from_str(id)?);
    if let Some(tier) = tier {
        headers.insert("x-tier", HeaderValue::from_str(tier)?);
    }
    Ok(request)
}

#[tokio::test]
async fn an_endpoint_pickers_configuration_is_taken_as_it_is() -> Result<()> {
    for version in [
        "llm-d.ai/v1",
        "llm-d.ai/v1alpha1",
        "inference.networking.x-k8s.io/v1alpha1",
    ] {
        let servers = servers().await?;
        let scheduling = json!({
            "apiVersion": version,
            "kind": "EndpointPickerConfig",
            "plugins": [
                { "type": "running-requests-size-scorer" },
                { "name": "queues", "type": "queue-scorer" },
                { "type": "max-score-picker" },
                { "type": "single-profile-handler" },
            ],
            "schedulingProfiles": [{ "name": "default", "plugins": [
                { "pluginRef": "running-requests-size-scorer", "weight": 3 },
                { "pluginRef": "queues" },
                { "pluginRef": "max-score-picker" },
            ] }],
        });
        let configuration = scraping_every(INTERVAL, HandOver::OriginalDstHeader)?
            .merge_plugin_configuration(&json!({ "scheduling": scheduling }))?
            .with_pool(&pool(&servers))?;
        let envoy = Envoy::start(configuration).await?;
        loads_known(&servers).await?;
        let at = addresses(&servers);
        for (number, connection) in connections_to_every_worker(&envoy, Protocol::Http1)
            .await?
            .iter_mut()
            .enumerate()
        {
            // 3 for the one without running requests, 1 for the one without a queue.
            let expected = [1.0, 3.0, 3.0 * 4.0 / 9.0 + 4.0 / 9.0, 0.0];
            let mut asked = 0;
            // Until the others have told that the last of their requests is over.
            poll::until("the totals of an idle pool", PATIENCE, async || {
                let id = format!("theirs-{number}-{asked}");
                asked += 1;
                assert_eq!(served_by(connection, chat_as(&id)?).await?, at[1]);
                let decision = envoy.decision_on(&id).await?;
                let totals = at
                    .iter()
                    .filter_map(|it| Some(decision.candidate(*it)?.total));
                let mut both = totals.zip(expected);
                let equal = both.all(|(total, expected)| (total - expected).abs() < 1e-9);
                Ok(equal.then_some(()))
            })
            .await?;
        }
        assert_filter_never_failed(&envoy).await?;
    }
    Ok(())
}
