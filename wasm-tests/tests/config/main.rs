//! Configurations that are taken, and the messages of those that are refused.

use endpoint_picker::{
    config::{PoolSettings, Settings, schema::HandOver},
    request::Watched,
    scheduling::{Profile, Scheduling, Scorer},
};
use serde_json::{Value, json};
use wasm_bindgen_test::wasm_bindgen_test;

mod epp;
mod epp_refused;
mod explanation;
mod filters;
mod metrics;
mod metrics_refused;
mod picker_config;
mod picker_config_handlers;
mod picker_config_refused;
mod pools;
mod requests;
mod scheduling;
mod scheduling_refused;
mod scorers;

/// The smallest configuration, with `change` merged into it.
fn with(change: Value) -> Value {
    let mut config = json!({
        "endpoints": {"static": ["10.0.0.1:8000"]},
        "metrics": {"cluster": "scrapes"},
    });
    merge(&mut config, change);
    config
}

/// The header `name`, watched.
fn header(name: &str) -> Watched {
    Watched::Header(name.to_owned())
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

fn parse(config: &Value) -> Result<Settings, String> {
    Settings::from_json(config.to_string().as_bytes()).map_err(|error| error.to_string())
}

/// The one pool of `config`.
fn parse_pool(config: &Value) -> Result<PoolSettings, String> {
    let mut pools = parse(config)?.pools;
    let pool = pools.pop().ok_or("no pool")?;
    assert!(pools.is_empty(), "several pools");
    Ok(pool)
}

/// The one profile of `pool`.
fn only_profile(pool: &PoolSettings) -> Result<&Profile, String> {
    match pool.scheduling.profiles.as_slice() {
        [profile] => Ok(profile),
        profiles => Err(format!("one profile, not {}", profiles.len())),
    }
}

/// The message that refuses `config`; empty if it is taken.
fn refusal(config: &Value) -> String {
    parse(config).err().unwrap_or_default()
}

#[wasm_bindgen_test(unsupported = test)]
fn endpoints_and_the_metrics_cluster_are_enough() {
    let config = with(json!({}));
    let settings = parse(&config).unwrap();
    assert_eq!(settings.destination.hand_over, HandOver::OriginalDstHeader);
    let pool = parse_pool(&config).unwrap();
    assert_eq!(pool.name, "default");
    assert!(pool.models.is_none());
    assert_eq!(pool.endpoints.len(), 1);
    assert_eq!(pool.scheduling, Scheduling::default());
    assert_eq!(pool.prefix_cache_bytes, 8 << 20);
    assert!(settings.watched.all().is_empty());
    assert!(settings.explanation.is_none());
}

#[wasm_bindgen_test(unsupported = test)]
fn every_setting_is_taken() {
    let config = json!({
        "pool": "llama-70b",
        "endpoints": {"static": [
            "10.0.0.1:8000",
            {"address": "[fd00::1]:8000", "labels": {"gpu": "l4"}},
        ]},
        "metrics": {"cluster": "scrapes"},
        "scheduling": {
            "scorers": [{"type": "queue", "weight": 3}, {"type": "kv-cache-utilization"}],
            "picker": "max-score",
        },
        "destination": {"handOver": "original-dst-filter-state"},
    });
    let settings = parse(&config).unwrap();
    assert_eq!(
        settings.destination.hand_over,
        HandOver::OriginalDstFilterState
    );
    let pool = parse_pool(&config).unwrap();
    assert_eq!(pool.name, "llama-70b");
    let last = pool.endpoints.last();
    assert_eq!(
        last.map(|endpoint| endpoint.address.to_string()).as_deref(),
        Some("[fd00::1]:8000")
    );
    assert_eq!(
        last.and_then(|endpoint| endpoint.labels.get("gpu"))
            .map(String::as_str),
        Some("l4")
    );
    let scorers = &only_profile(&pool).unwrap().scorers;
    let weights: Vec<_> = scorers.iter().map(|w| (&w.scorer, w.weight)).collect();
    let expected = [(&Scorer::Queue, 3.0), (&Scorer::KvCacheUtilization, 1.0)];
    assert_eq!(weights, expected);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_pool_may_be_empty() {
    let pool = parse_pool(&with(json!({"endpoints": {"static": []}}))).unwrap();
    assert!(pool.endpoints.is_empty());
}

#[wasm_bindgen_test(unsupported = test)]
fn refusals_name_the_place_and_what_is_accepted() {
    for (change, expected) in [
        (
            json!({"pol": "a"}),
            "pol: unknown field `pol`, expected one of `pool`, `endpoints`, `metrics`, `scheduling`, `prefixCache`, `pools`",
        ),
        (
            json!({"pool": ""}),
            "pool: expected a name of 1 to 63 letters, digits, '.', '_' or '-', found \"\"",
        ),
        (json!({"pool": "a/b"}), "pool: expected a name"),
        (
            json!({"pool": 5}),
            "pool: invalid type: integer `5`, expected a string",
        ),
        (
            json!({"endpoints": ["10.0.0.1:8000"]}),
            "endpoints: invalid type: list, expected {\"static\": [\"ip:port\", …]}",
        ),
        (
            json!({"endpoints": {"static": "10.0.0.1:8000"}}),
            "endpoints.static: invalid type: string \"10.0.0.1:8000\", expected a list",
        ),
        (
            json!({"endpoints": {"static": [5]}}),
            "endpoints.static[0]: invalid type: integer `5`, expected \"ip:port\" or {\"address\": \"ip:port\", …}",
        ),
        (
            json!({"endpoints": {"static": ["a:1"]}}),
            "endpoints.static[0]: expected an IP address and port such as 10.0.0.1:8000 or [fd00::1]:8000, found \"a:1\"",
        ),
        (
            json!({"endpoints": {"static": ["10.0.0.1:0"]}}),
            "endpoints.static[0]: expected an IP address and port",
        ),
        (
            json!({"endpoints": {"static": ["10.0.0.1"]}}),
            "endpoints.static[0]: expected an IP address and port",
        ),
        (
            json!({"endpoints": {"static": ["10.0.0.1:8000", {"address": "x"}]}}),
            "endpoints.static[1].address: expected an IP address and port",
        ),
        (
            json!({"endpoints": {"static": ["10.0.0.1:8000", {"address": "10.0.0.1:8000"}]}}),
            "endpoints.static[1].address: expected each address once, found \"10.0.0.1:8000\"",
        ),
        (
            json!({"endpoints": {"static": [{"adress": "x"}]}}),
            "endpoints.static[0].adress: unknown field `adress`, expected one of `address`, `labels`, `engine`, `scrape`",
        ),
        (
            json!({"endpoints": {"static": [{"address": "10.0.0.1:1", "labels": {"a": 1}}]}}),
            "endpoints.static[0].labels.a: invalid type: integer `1`, expected a string",
        ),
        (
            json!({"destination": {"handOver": "header"}}),
            "destination.handOver: unknown variant `header`, expected one of `original-dst-header`, `original-dst-filter-state`, `override-host`",
        ),
    ] {
        let config = with(change);
        let error = refusal(&config);
        assert!(error.starts_with(expected), "{config}: {error}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn what_is_no_configuration_is_refused() {
    for (text, expected) in [
        (
            "",
            "expected a JSON object; Envoy hands over a google.protobuf.StringValue as its text",
        ),
        ("[]", "expected a JSON object"),
        ("\n\x04\x08", "expected a JSON object"),
        ("{", "?: EOF while parsing"),
        ("{}", ".: expected `endpoints`, or `pools`, found neither"),
        (
            r#"{"endpoints": {"static": []}}"#,
            ".: expected `metrics`, or `pools`, found neither",
        ),
        (
            r#"{"endpoints": {"static": []}, "metrics": {"cluster": "a"}} {}"#,
            ".: trailing characters",
        ),
        (
            r#"{"endpoints": {"static": []}, "metrics": {}}"#,
            "metrics: missing field `cluster`",
        ),
    ] {
        match Settings::from_json(text.as_bytes()) {
            Ok(_) => panic!("taken: {text}"),
            Err(error) => {
                let error = error.to_string();
                assert!(error.starts_with(expected), "{text}: {error}");
            }
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_key_given_twice_is_refused() {
    let pool = |fields: &str| {
        format!(r#"{{"endpoints": {{"static": []}}, "metrics": {{"cluster": "a", {fields}}}}}"#)
    };
    let mine = r#"{"signals": {"waitingRequests": "a"}}"#;
    for (text, expected) in [
        (
            r#"{"pool": "a", "pool": "a"}"#.to_owned(),
            ".: \"pool\" is given twice at line 1 column ",
        ),
        (
            pool(&format!(r#""engines": {{"mine": {mine}, "mine": {mine}}}"#)),
            "metrics.engines: \"mine\" is given twice",
        ),
        (
            pool(r#""engines": {"mine": {"signals": {"kvBlocks": "a", "kvBlocks": "b"}}}"#),
            "metrics.engines.mine.signals: \"kvBlocks\" is given twice",
        ),
        (
            pool(r#""engines": {"mine": {"customMetrics": {"a": "b", "\u0061": null}}}"#),
            "metrics.engines.mine.customMetrics: \"a\" is given twice",
        ),
        (
            pool(r#""headers": {"x-key": "s3cret", "x-key": "s3cret"}"#),
            "metrics.headers: \"x-key\" is given twice",
        ),
        (
            r#"{"endpoints": {"static": [{"address": "a", "labels": {"b": "", "b": ""}}]}}"#
                .to_owned(),
            "endpoints.static[0].labels: \"b\" is given twice",
        ),
        (
            r#"{"models": {"names": {"a": {}, "b": {}, "a": {}}}}"#.to_owned(),
            "models.names: \"a\" is given twice",
        ),
    ] {
        let error = Settings::from_json(text.as_bytes())
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(expected), "{text}: {error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn the_examples_of_the_documents_are_taken() {
    let documents = concat!(
        include_str!("../../../README.md"),
        include_str!("../../../docs/configuration.md"),
        include_str!("../../../docs/scheduling.md"),
    );
    let examples: Vec<_> = documents
        .split("```json\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(!examples.is_empty());
    for example in examples {
        let example = example.trim();
        let fields = if example.starts_with('{') {
            example.to_owned()
        } else {
            format!("{{{example}}}")
        };
        let fields: Value = serde_json::from_str(&fields).unwrap();
        // Several pools have fields of their own, and one is shown in parts.
        let is_whole = fields.get("pools").is_some();
        let config = if is_whole { fields } else { with(fields) };
        if let Err(error) = parse(&config) {
            panic!("{error}: {example}");
        }
    }
}
