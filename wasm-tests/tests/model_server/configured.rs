//! Presets extended and overridden, and engines of a configuration's own.

use std::collections::BTreeMap;

use endpoint_picker::{
    model_server::{EngineSpec, Engines},
    pool::Signal,
};
use wasm_bindgen_test::wasm_bindgen_test;

use super::support::{MISSING, engines, load, read_in_turn, value};

const EXPOSITION: &str = "vllm:num_requests_waiting 3\nvllm:num_requests_running 5\n\
    vllm:kv_cache_usage_perc 0.5\nvllm:num_preemptions_total 40\n\
    my_waiting 7\nmy_waiting{queue=\"b\"} 1\nmy_used 30\nmy_total 40\n";

#[wasm_bindgen_test(unsupported = test)]
fn a_preset_is_changed_signal_by_signal() {
    let kv = value(0.5, 1);
    for (changes, engine, expected) in [
        ("{}", "vllm", [value(3.0, 1), value(5.0, 1), kv]),
        (
            r#"{"vllm": {"signals": {"waitingRequests": "my_waiting"}}}"#,
            "vllm",
            [value(8.0, 1), value(5.0, 1), kv],
        ),
        (
            r#"{"vllm": {"signals": {"waitingRequests": "max(my_waiting)"}}}"#,
            "vllm",
            [value(7.0, 1), value(5.0, 1), kv],
        ),
        (
            r#"{"vllm": {"signals": {"waitingRequests": ["absent", "my_waiting{queue=b}"]}}}"#,
            "vllm",
            [value(1.0, 1), value(5.0, 1), kv],
        ),
        // A list replaces the preset's; it does not lengthen it.
        (
            r#"{"vllm": {"signals": {"kvCacheUsage": "absent"}}}"#,
            "vllm",
            [value(3.0, 1), value(5.0, 1), MISSING],
        ),
        (
            r#"{"vllm": {"signals": {"runningRequests": null}}}"#,
            "vllm",
            [value(3.0, 1), MISSING, kv],
        ),
        (
            r#"{"vllm": {"signals": {"kvCacheUsage": "my_used / my_total"}}}"#,
            "vllm",
            [value(3.0, 1), value(5.0, 1), value(0.75, 1)],
        ),
        // Under another name, with the preset as it was beside it.
        (
            r#"{"ours": {"extends": "vllm", "signals": {"waitingRequests": "my_waiting"}}}"#,
            "ours",
            [value(8.0, 1), value(5.0, 1), kv],
        ),
        (
            r#"{"ours": {"extends": "vllm", "signals": {"waitingRequests": "my_waiting"}}}"#,
            "vllm",
            [value(3.0, 1), value(5.0, 1), kv],
        ),
        // What extends a changed preset extends the change.
        (
            r#"{
                "vllm": {"signals": {"runningRequests": null}},
                "ours": {"extends": "vllm", "signals": {"waitingRequests": "my_waiting"}}
            }"#,
            "ours",
            [value(8.0, 1), MISSING, kv],
        ),
        // And an engine that extends none has what it says and nothing else.
        (
            r#"{"mine": {"signals": {"kvCacheUsage": "1 - (my_total - my_used) / my_total"}}}"#,
            "mine",
            [MISSING, MISSING, value(0.75, 1)],
        ),
    ] {
        let read = read_in_turn(&engines(changes), engine, &[EXPOSITION]).remove(0);
        assert_eq!(load(&read), expected, "{engine} of {changes}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn custom_metrics_are_read_by_their_names() {
    let engines = engines(
        r#"{
            "vllm": { "customMetrics": {
                "queuesLength": "my_waiting",
                "preemptionRate": "rate(vllm:num_preemptions_total)"
            } },
            "mine": { "customMetrics": { "share": "my_used / my_total", "queuesLength": null } }
        }"#,
    );
    let names = ["preemptionRate", "queuesLength", "share"];
    assert_eq!(engines.custom_metrics(), names);
    let later = EXPOSITION.replace("preemptions_total 40", "preemptions_total 41");
    for (engine, expected) in [
        ("vllm", [value(5.0, 2), value(8.0, 2), MISSING]),
        ("mine", [MISSING, MISSING, value(0.75, 2)]),
        ("sglang", [MISSING; 3]),
    ] {
        let read = read_in_turn(&engines, engine, &[EXPOSITION, &later]).remove(1);
        let found = [0, 1, 2].map(|index| read.observation(Signal::Custom(index)));
        assert_eq!(found, expected, "{engine}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn scraping_is_as_the_engine_has_it() {
    let path = |engines: &Engines, engine| {
        let id = engines.find(engine).expect("a preset");
        let scrape = engines.get(id).expect("its own").scrape();
        (scrape.path.clone(), scrape.port)
    };
    let presets = Engines::default();
    let text = |path: &str| Some(path.to_owned());
    assert_eq!(path(&presets, "nim"), (text("/v1/metrics"), None));
    let trtllm = path(&presets, "trtllm-serve");
    assert_eq!(trtllm, (text("/prometheus/metrics"), None));
    assert_eq!(path(&presets, "vllm"), (None, None));

    let changed = engines(
        r#"{
            "nim": { "scrape": { "port": 9400 } },
            "triton": { "scrape": { "port": 8002 } },
            "trtllm-serve": { "scrape": { "path": "/metrics" } }
        }"#,
    );
    assert_eq!(path(&changed, "nim"), (text("/v1/metrics"), Some(9400)));
    assert_eq!(path(&changed, "triton"), (None, Some(8002)));
    assert_eq!(path(&changed, "trtllm-serve"), (text("/metrics"), None));
}

#[wasm_bindgen_test(unsupported = test)]
fn what_is_no_engine_is_refused() {
    for (json, part) in [
        (
            r#"{"a": {"signals": {"waitingRequests": "sum("}}}"#,
            "expected an expression",
        ),
        (
            r#"{"a": {"signals": {"waitingRequests": ["ok", "not ok"]}}}"#,
            "found \"not ok\"",
        ),
        (
            r#"{"a": {"signals": {"waitingRequests": []}}}"#,
            "at least one expression",
        ),
        (
            r#"{"a": {"signals": {"waitingRequests": 3}}}"#,
            "an expression such as",
        ),
        (
            r#"{"a": {"signals": {"waiting": "b"}}}"#,
            "expected one of waitingRequests, runningRequests",
        ),
        (r#"{"a": {"signal": {}}}"#, "unknown field `signal`"),
        (
            r#"{"a": {"lora": {"info": "b"}}}"#,
            "expected either info, maxLabel",
        ),
    ] {
        let error = serde_json::from_str::<BTreeMap<String, EngineSpec>>(json)
            .map(|_| ())
            .expect_err(json)
            .to_string();
        assert!(error.contains(part), "{json}: {error}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn the_examples_of_the_documentation_are_taken() {
    let page = include_str!("../../../docs/engines.md");
    let blocks = page.split("```json\n").skip(1);
    let examples: Vec<_> = blocks
        .filter_map(|block| block.split("```").next())
        .collect();
    assert_eq!(examples.len(), 4);
    for example in examples {
        let json: serde_json::Value = serde_json::from_str(&format!("{{{example}}}"))
            .unwrap_or_else(|error| panic!("{example}: {error}"));
        let engines_of_it = if json.get("metrics").is_some() {
            json["metrics"]["engines"].to_string()
        } else if json.get("lora").is_some() {
            format!("{{\"a\": {json}}}")
        } else {
            format!("{{\"a\": {{\"signals\": {json}}}}}")
        };
        for engine in engines(&engines_of_it).iter() {
            assert_eq!(engine.scrape().check(), Ok(()), "{}", engine.name());
        }
    }
}
