//! The objects `metrics` and `endpoints.static`: scraping, freshness, engines.

use core::{net::SocketAddr, time::Duration};

use endpoint_picker::{
    config::{MetricsSettings, PoolSettings},
    discovery::DiscoveredEndpoint,
    model_server::EngineChoice,
    scraping::{ScrapeSettings, ScrapeTarget},
};
use serde_json::{Value, json};
use wasm_bindgen_test::wasm_bindgen_test;

use crate::{merge, parse_pool, refusal, with};

fn taken(change: Value) -> Result<PoolSettings, String> {
    parse_pool(&with(change))
}

/// The name of the engine chosen; `auto` where the expositions tell.
fn name(metrics: &MetricsSettings, choice: EngineChoice) -> &str {
    match choice {
        EngineChoice::Auto => "auto",
        EngineChoice::Named(engine) => metrics.engines.get(engine).map_or("?", |e| e.name()),
    }
}

fn headers(scrape: &ScrapeSettings) -> Vec<(&str, &str)> {
    let headers = scrape.headers.iter();
    headers
        .map(|(name, value)| (name.as_str(), value.reveal()))
        .collect()
}

#[wasm_bindgen_test(unsupported = test)]
fn a_cluster_is_enough() {
    let MetricsSettings {
        scrape,
        stale_after,
        engines,
        default_engine,
        engine_labels,
    } = taken(json!({})).unwrap().metrics;
    assert_eq!(scrape, ScrapeSettings::through("scrapes"));
    assert_eq!(scrape.path, "/metrics");
    assert_eq!(scrape.target, ScrapeTarget::Endpoint);
    assert_eq!(scrape.interval.as_millis(), 200);
    assert_eq!(scrape.idle_interval().as_millis(), 1_000);
    assert_eq!(scrape.max_back_off().as_millis(), 3_200);
    assert_eq!(scrape.timeout.as_millis(), 1_000);
    assert_eq!(stale_after.as_millis(), 2_000);
    assert!(engines.find("vllm").is_some());
    assert_eq!(default_engine, EngineChoice::Auto);
    assert_eq!(
        engine_labels,
        [
            "inference.networking.k8s.io/engine-type",
            "llm-d.ai/engine-type"
        ]
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn every_field_is_taken() {
    let settings = taken(json!({"metrics": {
        "cluster": "other",
        "path": "/v1/metrics",
        "port": 9400,
        "interval": "1s",
        "idleInterval": "3s",
        "timeout": "1m 30s",
        "maxBackOff": "1m",
        "bearerToken": "t0ken",
        "headers": {"X-Key": "k"},
        "staleAfter": "5s",
        "engine": "mine",
        "engineLabels": ["engine", "kind"],
        "engines": {
            "mine": {
                "signals": {"waitingRequests": "waiting", "kvCacheUsage": ["a", "used / max"]},
                "customMetrics": {"temperature": "mean(celsius)"},
            },
            "vllm": {"signals": {"runningRequests": null}},
        },
    }}))
    .unwrap();
    let metrics = &settings.metrics;
    let scrape = &metrics.scrape;
    assert_eq!(scrape.cluster, "other");
    assert_eq!(scrape.path, "/v1/metrics");
    assert_eq!(scrape.target, ScrapeTarget::Port(9400));
    assert_eq!(scrape.interval.as_secs(), 1);
    assert_eq!(scrape.idle_interval().as_secs(), 3);
    assert_eq!(scrape.timeout.as_secs(), 90);
    assert_eq!(scrape.max_back_off().as_secs(), 60);
    assert!(headers(scrape).contains(&("authorization", "Bearer t0ken")));
    assert!(headers(scrape).contains(&("x-key", "k")));
    assert_eq!(metrics.stale_after.as_secs(), 5);
    assert_eq!(name(metrics, metrics.default_engine), "mine");
    assert_eq!(metrics.engine_labels, ["engine", "kind"]);
    assert_eq!(metrics.engines.custom_metrics(), ["temperature"]);
}

#[wasm_bindgen_test(unsupported = test)]
fn metrics_stay_fresh_for_ten_intervals_two_idle_ones_and_a_timeout() {
    for (scrape, millis) in [
        (json!({"interval": "15s"}), 150_000),
        (json!({"interval": "120ms"}), 1_240),
        (json!({"interval": "50ms"}), 1_100),
        (json!({"interval": "100ms", "timeout": "50ms"}), 1_000),
        (
            json!({"interval": "100ms", "timeout": "50ms", "idleInterval": "400ms"}),
            1_000,
        ),
        (json!({"timeout": "5s"}), 5_400),
        (json!({"idleInterval": "3s"}), 6_000),
        (json!({"staleAfter": "1001ms"}), 1_001),
    ] {
        let settings = taken(json!({"metrics": scrape})).unwrap();
        let expected = Duration::from_millis(millis);
        assert_eq!(settings.metrics.stale_after, expected, "{scrape}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn an_endpoint_says_its_engine_itself_or_by_a_label() {
    for (metrics, endpoint, expected, unknown) in [
        (json!({}), json!({}), "auto", None),
        (json!({"engine": "vllm"}), json!({}), "vllm", None),
        (
            json!({"engine": "vllm"}),
            json!({"engine": "auto"}),
            "auto",
            None,
        ),
        (
            json!({"engine": "vllm"}),
            json!({"engine": "mine"}),
            "mine",
            None,
        ),
        (
            json!({}),
            json!({"labels": {"llm-d.ai/engine-type": "mine"}}),
            "mine",
            None,
        ),
        (
            json!({}),
            json!({"labels": {"inference.networking.k8s.io/engine-type": "mine"}}),
            "mine",
            None,
        ),
        (
            json!({}),
            json!({"engine": "mine", "labels": {"llm-d.ai/engine-type": "vllm"}}),
            "mine",
            None,
        ),
        // The first label that is carried counts, and an empty one is not carried.
        (
            json!({"engineLabels": ["a", "b"]}),
            json!({"labels": {"b": "mine", "a": "vllm"}}),
            "vllm",
            None,
        ),
        (
            json!({"engineLabels": ["a", "b"]}),
            json!({"labels": {"b": "mine", "a": ""}}),
            "mine",
            None,
        ),
        (
            json!({"engineLabels": []}),
            json!({"labels": {"llm-d.ai/engine-type": "mine"}}),
            "auto",
            None,
        ),
        // A label is not the configuration's to refuse; it is said instead.
        (
            json!({"engine": "vllm", "engineLabels": ["a", "b"]}),
            json!({"labels": {"a": "vlm", "b": "mine"}}),
            "vllm",
            Some("vlm"),
        ),
    ] {
        let mut change = json!({
            "endpoints": {"static": [{"address": "10.0.0.1:8000"}]},
            "metrics": {"engines": {"mine": {"extends": "vllm"}}},
        });
        merge(&mut change["metrics"], metrics);
        merge(&mut change["endpoints"]["static"][0], endpoint);
        let settings = taken(change.clone()).unwrap();
        let engine = settings
            .metrics
            .engine_of(settings.endpoints.first().unwrap());
        assert_eq!(name(&settings.metrics, engine.choice), expected, "{change}");
        assert_eq!(engine.unknown_label, unknown, "{change}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn scraping_is_said_for_all_by_engine_and_by_endpoint() {
    let settings = taken(json!({
        "endpoints": {"static": [{
            "address": "10.0.0.1:8000",
            "engine": "mine",
            "scrape": {"address": "10.9.9.9:9400", "headers": {"x-key": "2"}, "interval": "100ms"},
        }]},
        "metrics": {
            "path": "/a",
            "timeout": "2s",
            "idleInterval": "1500ms",
            "headers": {"x-key": "0"},
            "engines": {"mine": {"extends": "vllm", "scrape": {
                "cluster": "https", "path": "/b", "port": 9000, "bearerToken": "t", "headers": {"x-key": "1"},
            }}},
        },
    })).unwrap();
    let metrics = &settings.metrics;
    let endpoint = settings.endpoints.first().unwrap();
    let scrape = metrics.scrape_of(endpoint, metrics.engines.find("mine"));
    assert_eq!(scrape.cluster, "https");
    assert_eq!(scrape.path, "/b");
    assert_eq!(
        scrape.target_of(endpoint.address).to_string(),
        "10.9.9.9:9400"
    );
    assert_eq!(scrape.timeout.as_secs(), 2);
    assert_eq!(scrape.interval.as_millis(), 100);
    assert_eq!(scrape.idle_interval().as_millis(), 1_500);
    assert!(headers(&scrape).contains(&("authorization", "Bearer t")));
    assert!(headers(&scrape).contains(&("x-key", "2")));

    let other = DiscoveredEndpoint::at(SocketAddr::from(([10, 0, 0, 2], 8000)));
    let scrape = metrics.scrape_of(&other, metrics.engines.find("mine"));
    assert_eq!(scrape.target_of(other.address).to_string(), "10.0.0.2:9000");
    assert_eq!(metrics.scrape_of(&other, None), metrics.scrape);
}

#[wasm_bindgen_test(unsupported = test)]
fn an_idle_interval_of_the_engine_keeps_slow_endpoints_fresh() {
    taken(json!({
        "endpoints": {"static": [{
            "address": "10.0.0.1:8000", "engine": "mine", "scrape": {"interval": "500ms"},
        }]},
        "metrics": {"engines": {"mine": {"extends": "vllm", "scrape": {"idleInterval": "1500ms"}}}},
    }))
    .unwrap();
}

#[wasm_bindgen_test(unsupported = test)]
fn secrets_are_never_shown() {
    let secret = json!({"bearerToken": "s3cret", "headers": {"x-key": "s3cret"}});
    let settings = taken(json!({
        "endpoints": {"static": [{"address": "10.0.0.1:8000", "scrape": secret}]},
        "metrics": {"bearerToken": "s3cret", "headers": {"x-key": "s3cret"}, "engines": {"mine": {"extends": "vllm", "scrape": secret}}},
    })).unwrap();
    assert!(!format!("{settings:?}").contains("s3cret"));

    for bad in [
        json!({"bearerToken": "s3cret\n"}),
        json!({"bearerToken": ["s3cret"]}),
        json!({"headers": {"x-key": "s3cret\n"}}),
        json!({"headers": {"x-key": ["s3cret"]}}),
        json!({"headers": "x-key: s3cret"}),
        json!({"headers": ["x-key: s3cret"]}),
        json!({"bearerToken": "s3cret", "headers": {"authorization": "s3cret"}}),
    ] {
        for change in [
            json!({"metrics": bad}),
            json!({"metrics": {"engines": {"mine": {"extends": "vllm", "scrape": bad}}}}),
            json!({"endpoints": {"static": [{"address": "10.0.0.1:8000", "scrape": bad}]}}),
        ] {
            let error = refusal(&with(change));
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
