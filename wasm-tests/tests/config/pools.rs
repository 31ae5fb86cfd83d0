//! Several pools: what they may say, and which of them a request goes to.

use endpoint_picker::scheduling::{Profile, Scorer};
use serde_json::{Value, json};
use wasm_bindgen_test::wasm_bindgen_test;

use crate::{merge, only_profile, parse, refusal};

/// A pool with `fields` merged into the smallest one.
fn pool(name: &str, fields: Value) -> Value {
    let mut pool = json!({
        "name": name,
        "endpoints": {"static": ["10.0.0.1:8000"]},
        "metrics": {"cluster": "scrapes"},
    });
    merge(&mut pool, fields);
    pool
}

/// Pools called a, b, … by the patterns of each; the one of no patterns names no models.
fn pools_of(models: &[&[&str]]) -> Value {
    let pools: Vec<_> = ["a", "b", "c"]
        .iter()
        .zip(models)
        .map(|(name, models)| match models {
            [] => pool(name, json!({})),
            models => pool(name, json!({"models": models})),
        })
        .collect();
    json!({ "pools": pools })
}

#[wasm_bindgen_test(unsupported = test)]
fn each_pool_has_its_own_endpoints_metrics_and_profile() {
    let settings = parse(&json!({
        "pools": [
            pool("large", json!({
                "models": ["llama-70b*", "qwen"],
                "endpoints": {"static": ["10.0.0.1:8000", "10.0.0.2:8000"]},
                "metrics": {"interval": "50ms", "engine": "mine",
                            "engines": {"mine": {"extends": "vllm"}}},
                "scheduling": {"scorers": [{"type": "queue", "weight": 3}]},
                "prefixCache": {"maxBytes": 1_048_576},
            })),
            pool("small", json!({"endpoints": {"static": ["10.0.0.2:8000"]}})),
        ],
        "destination": {"handOver": "original-dst-filter-state"},
    }))
    .unwrap();
    let [large, small] = settings.pools.as_slice() else {
        panic!("two pools, not {}", settings.pools.len());
    };

    assert_eq!(large.name, "large");
    let patterns = large.models.iter().flatten().map(ToString::to_string);
    assert_eq!(patterns.collect::<Vec<_>>(), ["llama-70b*", "qwen"]);
    assert_eq!(large.endpoints.len(), 2);
    assert_eq!(large.metrics.scrape.interval.as_millis(), 50);
    assert!(large.metrics.engines.find("mine").is_some());
    let scorers = only_profile(large).unwrap().scorers.iter();
    let scorers: Vec<_> = scorers.map(|w| &w.scorer).collect();
    assert_eq!(scorers, [&Scorer::Queue]);
    assert_eq!(large.prefix_cache_bytes, 1 << 20);

    assert_eq!(small.name, "small");
    assert!(small.models.is_none());
    assert_eq!(small.endpoints.len(), 1, "an address may be in two pools");
    assert_eq!(small.metrics.scrape.interval.as_millis(), 200);
    assert!(small.metrics.engines.find("mine").is_none());
    assert_eq!(*only_profile(small).unwrap(), Profile::default());
    assert_eq!(small.prefix_cache_bytes, 8 << 20);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_model_goes_to_the_pool_that_names_it() {
    let names = ["llama-70b"];
    let adapter = ["llama-70b", "sql-v2", "sql"];
    type Case<'a> = (&'a [&'a [&'a str]], &'a [&'a str], Option<usize>);
    let cases: [Case<'_>; 15] = [
        // One pool that names no models takes all.
        (&[&[]], &names, Some(0)),
        (&[&["qwen"], &[]], &names, Some(1)),
        (&[&[], &["qwen"]], &names, Some(0)),
        // Without such a pool there are models without a pool.
        (&[&["qwen"]], &names, None),
        (&[&["llama"]], &names, None),
        (&[&["llama-70b-next"]], &names, None),
        // A name goes before a prefix, and a longer prefix before a shorter one.
        (&[&["llama-*"], &["llama-70b"]], &names, Some(1)),
        (&[&["llama-*"], &["llama-7*"]], &names, Some(1)),
        (&[&["llama-7*"], &["llama-*"]], &names, Some(0)),
        (&[&["qwen"], &["*"], &["llama-70b*"]], &names, Some(2)),
        (&[&["qwen"], &["*"], &["llama-8b*"]], &names, Some(1)),
        // The base model goes before the target, and that before the requested name.
        (&[&["sql"], &["sql-v2"], &["llama*"]], &adapter, Some(2)),
        (&[&["sql"], &["sql-v2"], &[]], &adapter, Some(1)),
        (&[&["sql"], &[]], &adapter, Some(0)),
        (&[&["qwen"], &[]], &adapter, Some(1)),
    ];
    for (models, names, expected) in cases {
        let settings = parse(&pools_of(models)).unwrap();
        let chosen = settings.pool_chooser.of_model(names.iter().copied());
        assert_eq!(chosen, expected, "{models:?}: {names:?}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_request_without_a_model_goes_to_the_pool_without_models_or_to_the_first() {
    let cases: [(&[&[&str]], usize); 4] = [
        (&[&[]], 0),
        (&[&["qwen"], &[], &["llama"]], 1),
        (&[&["qwen"], &["llama"]], 0),
        (&[&["qwen"], &["*"]], 0),
    ];
    for (models, expected) in cases {
        let settings = parse(&pools_of(models)).unwrap();
        let chosen = settings.pool_chooser.of_no_model();
        assert_eq!(chosen, expected, "{models:?}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn refusals_name_the_place_and_what_is_accepted() {
    let first = || pool("a", json!({"models": ["llama"]}));
    let second = |fields: Value| json!({"pools": [first(), pool("b", fields)]});
    let beside = |fields: Value| {
        let mut config = json!({"pools": [first()]});
        merge(&mut config, fields);
        config
    };
    for (config, expected) in [
        (
            json!({"pools": []}),
            "pools: expected at least one pool, found none",
        ),
        (
            json!({"pools": {"a": {}}}),
            "pools: invalid type: object, expected a list",
        ),
        (
            beside(json!({"pool": "a"})),
            "pool: expected none beside `pools`, each of which has its own, found both",
        ),
        (
            beside(json!({"endpoints": {"static": []}})),
            "endpoints: expected none beside `pools`",
        ),
        (
            beside(json!({"metrics": {"cluster": "scrapes"}})),
            "metrics: expected none beside `pools`",
        ),
        (
            beside(json!({"scheduling": {}})),
            "scheduling: expected none beside `pools`",
        ),
        (
            beside(json!({"prefixCache": {}})),
            "prefixCache: expected none beside `pools`",
        ),
        (
            json!({"pools": [{"name": "a"}]}),
            "pools[0]: missing field `endpoints`",
        ),
        (
            json!({"pools": [{"name": "a", "endpoints": {"static": []}}]}),
            "pools[0]: missing field `metrics`",
        ),
        (
            json!({"pools": [{"endpoints": {"static": []}, "metrics": {"cluster": "scrapes"}}]}),
            "pools[0]: missing field `name`",
        ),
        (
            second(json!({"destination": {}})),
            "pools[1].destination: unknown field `destination`, expected one of `name`, `models`, \
             `endpoints`, `metrics`, `scheduling`, `prefixCache`",
        ),
        (
            second(json!({"headers": {}})),
            "pools[1].headers: unknown field `headers`, expected one of `name`",
        ),
        (
            second(json!({"name": "b/c"})),
            "pools[1].name: expected a name of 1 to 63 letters, digits, '.', '_' or '-', found \
             \"b/c\"",
        ),
        (
            second(json!({"name": "a"})),
            "pools[1].name: expected each name once, found \"a\"",
        ),
        (
            second(json!({"models": []})),
            "pools[1].models: expected at least one model; a pool that takes what no other names \
             has no `models`, found none",
        ),
        (
            second(json!({"models": ["qwen", ""]})),
            "pools[1].models[1]: expected a model's name of 1 to 512 bytes without control \
             characters, '*' at its end alone, found \"\"",
        ),
        (
            second(json!({"models": ["*-70b"]})),
            "pools[1].models[0]: expected a model's name",
        ),
        (
            second(json!({"models": ["llama-**"]})),
            "pools[1].models[0]: expected a model's name",
        ),
        (
            second(json!({"models": ["qwen", "llama"]})),
            "pools[1].models[1]: expected each model once, and pools[0].models[0] has it, found \
             \"llama\"",
        ),
        (
            second(json!({"models": ["qwen*", "phi", "qwen*"]})),
            "pools[1].models[2]: expected each model once, and pools[1].models[0] has it, found \
             \"qwen*\"",
        ),
        (
            // With the 8 MiB of the first.
            second(json!({"prefixCache": {"maxBytes": 402_653_184}})),
            "pools[1].prefixCache.maxBytes: expected at most 402653184 in all pools together, found \
             411041792",
        ),
        (
            pools_of(&[&[], &["qwen"], &[]]),
            "pools[2].models: expected models, since pools[0] takes what no pool names, found none",
        ),
        (
            second(json!({"endpoints": {"static": ["10.0.0.1:8000", "b:1"]}})),
            "pools[1].endpoints.static[1]: expected an IP address and port",
        ),
        (
            second(json!({"metrics": {"interval": "fast"}})),
            "pools[1].metrics.interval: expected a duration",
        ),
        (
            second(json!({"metrics": {"interval": "19ms"}})),
            "pools[1].metrics.interval: expected 20ms to 1h, found 19ms",
        ),
        (
            second(json!({"metrics": {"headers": "secret"}})),
            "pools[1].metrics.headers: expected an object of texts, found something else",
        ),
        (
            second(json!({"metrics": {"engines": {"mine": {"extends": "yours"}}}})),
            "pools[1].metrics.engines.mine.extends: expected one of",
        ),
        (
            second(json!({"metrics": {"engine": "vllm", "defaultEngine": "vllm"}})),
            "pools[1].metrics.defaultEngine: expected only one of it and metrics.engine",
        ),
        (
            second(json!({"scheduling": {"scorers": [{"type": "queue", "weight": -1}]}})),
            "pools[1].scheduling.scorers[0].weight: expected a number from 0 to 1000000, found -1",
        ),
    ] {
        let error = refusal(&config);
        assert!(error.starts_with(expected), "{config}: {error}");
    }
}
