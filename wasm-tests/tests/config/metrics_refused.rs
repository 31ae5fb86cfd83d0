//! What the objects `metrics` and `endpoints.static` may not say.

use serde_json::{Value, json};
use wasm_bindgen_test::wasm_bindgen_test;

use crate::{merge, parse, refusal, with};

#[wasm_bindgen_test(unsupported = test)]
fn refusals_name_the_place_and_what_is_accepted() {
    let engine = |spec: Value| json!({"metrics": {"engines": {"mine": spec}}});
    let endpoint = |fields: Value| {
        let mut entry = json!({"address": "10.0.0.1:8000"});
        merge(&mut entry, fields);
        json!({"endpoints": {"static": ["10.0.0.2:8000", entry]}})
    };
    for (change, expected) in [
        (
            json!({"metrics": {"cluster": ""}}),
            "metrics.cluster: expected the name of a cluster, found \"\"",
        ),
        (
            json!({"metrics": {"path": "metrics"}}),
            "metrics.path: expected a path that starts with '/', without blanks, found \"metrics\"",
        ),
        (
            json!({"metrics": {"port": 0}}),
            "metrics.port: expected 1 to 65535, found 0",
        ),
        (
            json!({"metrics": {"port": 65536}}),
            "metrics.port: invalid value: integer `65536`, expected a whole number from 0 to 65535",
        ),
        (
            json!({"metrics": {"address": "10.0.0.1:9400"}}),
            "metrics.address: unknown field `address`, expected one of `cluster`, `path`, `port`",
        ),
        (
            json!({"metrics": {"interval": "fast"}}),
            "metrics.interval: expected a duration such as \"200ms\" or \"1m 30s\", found \"fast\"",
        ),
        (
            json!({"metrics": {"interval": 200}}),
            "metrics.interval: invalid type: integer `200`, expected a duration such as \"200ms\"",
        ),
        (
            json!({"metrics": {"interval": "19ms"}}),
            "metrics.interval: expected 20ms to 1h, found 19ms",
        ),
        (
            json!({"metrics": {"interval": "2h"}}),
            "metrics.interval: expected 20ms to 1h",
        ),
        (
            json!({"metrics": {"idleInterval": "2h"}}),
            "metrics.idleInterval: expected 20ms to 1h",
        ),
        (
            json!({"metrics": {"idleInterval": "100ms"}}),
            "metrics.idleInterval: expected at least the interval (200ms), found 100ms",
        ),
        (
            json!({"metrics": {"interval": "1s", "idleInterval": "500ms"}}),
            "metrics.idleInterval: expected at least the interval, found 500ms",
        ),
        (
            json!({"metrics": {"maxBackOff": "1ms"}}),
            "metrics.maxBackOff: expected 20ms to 1h, found 1ms",
        ),
        (
            json!({"metrics": {"timeout": "0s"}}),
            "metrics.timeout: expected 1ms to 1h, found 0ns",
        ),
        (
            json!({"metrics": {"headers": {"host": "a"}}}),
            "metrics.headers: expected names of headers other than host",
        ),
        (
            json!({"metrics": {"staleAfter": "1s"}}),
            "metrics.staleAfter: expected more than metrics.idleInterval (1s), found 1s",
        ),
        (
            json!({"metrics": {"staleAfter": "5s", "idleInterval": "6s"}}),
            "metrics.staleAfter: expected more than metrics.idleInterval (6s), found 5s",
        ),
        (
            json!({"metrics": {"engine": "vlm"}}),
            "metrics.engine: expected auto or one of ",
        ),
        (
            json!({"metrics": {"engineLabels": "a"}}),
            "metrics.engineLabels: invalid type: string \"a\", expected a list",
        ),
        (
            json!({"metrics": {"engineLabels": ["a", ""]}}),
            "metrics.engineLabels[1]: expected the name of a label, found \"\"",
        ),
        (
            json!({"metrics": {"engines": {"auto": {}}}}),
            "metrics.engines: expected names of engines, other than \"auto\", found \"auto\"",
        ),
        (
            json!({"metrics": {"engines": {"": {}}}}),
            "metrics.engines: expected names of engines, other than \"auto\", found \"\"",
        ),
        (
            engine(json!({"signal": {}})),
            "metrics.engines.mine.signal: unknown field `signal`, expected one of `extends`",
        ),
        (
            engine(json!({"extends": "vlm"})),
            "metrics.engines.mine.extends: expected one of ",
        ),
        (
            json!({"metrics": {"engines": {"a": {"extends": "b"}, "b": {"extends": "a"}}}}),
            "metrics.engines.a.extends: leads back to \"a\"",
        ),
        (
            engine(json!({"signals": {"waiting": "a"}})),
            "metrics.engines.mine.signals.waiting: ",
        ),
        (
            engine(json!({"signals": {"kvCacheUsage": "a{b"}})),
            "metrics.engines.mine.signals.kvCacheUsage: expected an expression such as",
        ),
        (
            engine(json!({"signals": {"kvCacheUsage": ["a", "used /"]}})),
            "metrics.engines.mine.signals.kvCacheUsage[1]: expected an expression such as",
        ),
        (
            engine(json!({"customMetrics": {"heat": 5}})),
            "metrics.engines.mine.customMetrics.heat: invalid type: integer `5`, expected an expression",
        ),
        (
            engine(json!({"extends": "mine"})),
            "metrics.engines.mine.extends: expected one of dynamo, ",
        ),
        (
            engine(json!({"recognizedBy": ["a:up", "a{b=c}"]})),
            "metrics.engines.mine.recognizedBy[1]: expected the name of a family, without labels, found \"a{b=c}\"",
        ),
        (
            engine(json!({"recognizedBy": [""]})),
            "metrics.engines.mine.recognizedBy[0]: expected the name of a family, without labels, found \"\"",
        ),
        (
            engine(json!({"customMetrics": {"": "a"}})),
            "metrics.engines.mine.customMetrics: expected a name other than those of signals, found \"\"",
        ),
        (
            engine(json!({"customMetrics": {"waitingRequests": "a"}})),
            "metrics.engines.mine.customMetrics: expected a name other than those of signals, found \"waitingRequests\"",
        ),
        (
            engine(json!({"lora": {
                "info": "a", "maxLabel": "max", "runningLabel": "is running", "waitingLabel": "b",
            }})),
            "metrics.engines.mine.lora.runningLabel: expected the name of a label, found \"is running\"",
        ),
        (
            engine(json!({"lora": {"running": "a", "adapterLabel": ""}})),
            "metrics.engines.mine.lora.adapterLabel: expected the name of a label, found \"\"",
        ),
        (
            engine(json!({"lora": {"info": "a"}})),
            "metrics.engines.mine.lora: expected either info, maxLabel",
        ),
        (
            engine(json!({"scrape": {"prot": 1}})),
            "metrics.engines.mine.scrape.prot: unknown field `prot`, expected one of `cluster`",
        ),
        (
            engine(json!({"scrape": {"path": "x"}})),
            "metrics.engines.mine.scrape.path: expected a path that starts with '/'",
        ),
        (
            engine(json!({"scrape": {"address": "10.0.0.1:9400"}})),
            "metrics.engines.mine.scrape.address: expected none, since that is one endpoint's; an engine may have a port, found 10.0.0.1:9400",
        ),
        (
            engine(json!({"scrape": {"interval": "400ms"}})),
            "metrics.engines.mine.scrape.interval: expected an idle interval, which is five intervals unless it is given, of less than metrics.staleAfter (2s), found 2s",
        ),
        (
            engine(json!({"scrape": {"interval": "400ms", "idleInterval": "3s"}})),
            "metrics.engines.mine.scrape.idleInterval: expected an idle interval, which is five intervals unless it is given, of less than metrics.staleAfter (2s), found 3s",
        ),
        (
            endpoint(json!({"engine": "vlm"})),
            "endpoints.static[1].engine: expected auto or one of ",
        ),
        (
            endpoint(json!({"scrape": {"address": "metrics:9400"}})),
            "endpoints.static[1].scrape.address: expected an IP address and port such as 10.0.0.1:9400",
        ),
        (
            endpoint(json!({"scrape": {"address": "10.0.0.1:9400", "port": 9401}})),
            "endpoints.static[1].scrape.port: expected none beside an address, which has its own, found 9401",
        ),
        (
            endpoint(json!({"scrape": {"interval": "2s"}})),
            "endpoints.static[1].scrape.interval: expected an idle interval",
        ),
        (
            endpoint(json!({"scrape": {"idleInterval": "2s"}})),
            "endpoints.static[1].scrape.idleInterval: expected an idle interval",
        ),
    ] {
        let config = with(change);
        let error = refusal(&config);
        assert!(error.starts_with(expected), "{config}: {error}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn unknown_engines_are_refused_with_those_that_are_known() {
    let change = json!({"metrics": {"engine": "vlm", "engines": {"a-mine": {}}}});
    let error = refusal(&with(change));
    for known in ["auto or one of a-mine, ", "vllm", "found \"vlm\""] {
        assert!(error.contains(known), "{error}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn an_engine_that_maps_nothing_is_refused() {
    for (engines, name) in [
        (json!({"mine": {}}), "mine"),
        (
            json!({"mine": {"signals": {"waitingRequests": null}, "lora": null}}),
            "mine",
        ),
        (
            json!({"mine": {"recognizedBy": ["up"], "scrape": {"port": 9400}}}),
            "mine",
        ),
        (
            json!({"triton": {"signals": {"waitingRequests": null}}}),
            "triton",
        ),
        (
            json!({"mine": {"extends": "triton", "signals": {"waitingRequests": null}}}),
            "mine",
        ),
    ] {
        let found = refusal(&with(json!({"metrics": {"engines": engines}})));
        let expected = format!(
            "metrics.engines.{name}: expected signals, customMetrics or lora to be read, its own or \
             those of the engine that it extends, found none"
        );
        assert_eq!(found, expected, "{engines}");
    }
    for engines in [
        json!({"vllm": {}, "mine": {"extends": "vllm"}}),
        json!({"mine": {"customMetrics": {"mine": "a"}}}),
        json!({"mine": {"lora": {"running": "a", "adapterLabel": "b"}}}),
        json!({"mine": {"signals": {"waitingRequests": "0"}}}),
    ] {
        let found = parse(&with(json!({"metrics": {"engines": engines}})));
        assert!(found.is_ok(), "{found:?}");
    }
}
