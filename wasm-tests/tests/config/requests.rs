//! The objects `request`, `headers` and `destination`.

use core::time::Duration;

use endpoint_picker::{
    config::{DestinationSettings, HeaderSettings, RequestSettings, schema::HandOver},
    request::Trusted,
};
use serde_json::{Value, json};
use wasm_bindgen_test::wasm_bindgen_test;

use crate::{parse, refusal, with};

fn trusting(names: &[&str]) -> Trusted {
    let mut trusted = Trusted::default();
    for name in names {
        assert!(trusted.trust(name), "{name}");
    }
    trusted
}

#[wasm_bindgen_test(unsupported = test)]
fn nothing_need_be_said() {
    let settings = parse(&with(json!({}))).unwrap();
    let request = RequestSettings {
        max_held_bytes: 512 * 1024,
        prefix_bytes: 32 * 1024,
        body_timeout: Duration::from_secs(10),
    };
    assert_eq!(settings.request, request);
    let headers = HeaderSettings {
        model_headers: false,
        trusted: Trusted::default(),
    };
    assert_eq!(settings.headers, headers);
    let destination = DestinationSettings {
        hand_over: HandOver::OriginalDstHeader,
        header: "x-envoy-original-dst-host".to_owned(),
        ranked: 1,
        served_header: None,
    };
    assert_eq!(settings.destination, destination);
}

#[wasm_bindgen_test(unsupported = test)]
fn every_field_is_taken() {
    let settings = parse(&with(json!({
        "request": {"maxHeldBytes": 4096, "prefixBytes": 0, "bodyTimeout": "100ms"},
        "headers": {
            "modelHeaders": true,
            "trusted": ["X-Gateway-Model-Name-Rewrite", "x-gateway-destination-endpoint-subset"],
        },
        "destination": {
            "handOver": "override-host",
            "header": "X-Chosen",
            "ranked": 16,
            "servedHeader": "X-Served-By",
        },
    })))
    .unwrap();
    let request = RequestSettings {
        max_held_bytes: 4096,
        prefix_bytes: 0,
        body_timeout: Duration::from_millis(100),
    };
    assert_eq!(settings.request, request);
    let headers = HeaderSettings {
        model_headers: true,
        trusted: trusting(&[
            "x-gateway-model-name-rewrite",
            "x-gateway-destination-endpoint-subset",
        ]),
    };
    assert_eq!(settings.headers, headers);
    let destination = DestinationSettings {
        hand_over: HandOver::OverrideHost,
        header: "x-chosen".to_owned(),
        ranked: 16,
        served_header: Some("x-served-by".to_owned()),
    };
    assert_eq!(settings.destination, destination);
}

#[wasm_bindgen_test(unsupported = test)]
fn each_hand_over_has_its_header_and_length() {
    for (hand_over, header, ranked) in [
        ("original-dst-header", "x-envoy-original-dst-host", 1),
        ("original-dst-filter-state", "x-envoy-original-dst-host", 1),
        ("override-host", "x-gateway-destination-endpoint", 3),
    ] {
        let config = with(json!({"destination": {"handOver": hand_over}}));
        let destination = parse(&config).unwrap().destination;
        assert_eq!(destination.header, header, "{hand_over}");
        assert_eq!(destination.ranked, ranked, "{hand_over}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn refusals_name_the_place_and_what_is_accepted() {
    let request = |fields: Value| json!({ "request": fields });
    let headers = |fields: Value| json!({ "headers": fields });
    let destination = |fields: Value| json!({ "destination": fields });
    for (change, expected) in [
        (
            request(json!({"maxBytes": 1})),
            "request.maxBytes: unknown field `maxBytes`, expected one of `maxHeldBytes`, \
             `prefixBytes`, `bodyTimeout`",
        ),
        (
            request(json!({"maxHeldBytes": -1})),
            "request.maxHeldBytes: invalid value: integer `-1`",
        ),
        (
            request(json!({"maxHeldBytes": 67_108_865})),
            "request.maxHeldBytes: expected at most 67108864, found 67108865",
        ),
        (
            request(json!({"prefixBytes": 16_777_217})),
            "request.prefixBytes: expected at most 16777216, found 16777217",
        ),
        (
            request(json!({"bodyTimeout": "99ms"})),
            "request.bodyTimeout: expected 100ms to 1h, found 99ms",
        ),
        (
            request(json!({"bodyTimeout": "61m"})),
            "request.bodyTimeout: expected 100ms to 1h, found 3660s",
        ),
        (
            request(json!({"bodyTimeout": 10})),
            "request.bodyTimeout: invalid type: integer `10`, expected a duration such as \"200ms\"",
        ),
        (
            headers(json!({"modelHeaders": "yes"})),
            "headers.modelHeaders: invalid type: string \"yes\", expected a boolean",
        ),
        (
            headers(json!({"trusted": ["x-llm-d-model-name-rewrite", "x-llm-d-slo-ttft-ms"]})),
            "headers.trusted[1]: expected one of x-gateway-destination-endpoint-subset, \
             x-llm-d-model-name-rewrite, x-gateway-model-name-rewrite, found \
             \"x-llm-d-slo-ttft-ms\"",
        ),
        (
            headers(json!("all")),
            "headers: invalid type: string \"all\", expected an object",
        ),
        (
            json!({"headers": {"modelHeaders": true},
                   "destination": {"handOver": "original-dst-filter-state"}}),
            "headers.modelHeaders: expected false with original-dst-filter-state",
        ),
        (
            destination(json!({"header": "host"})),
            "destination.header: expected the name of a header that begins with \"x-\" and has no other use, found \
             \"host\"",
        ),
        (
            destination(json!({"header": "x-"})),
            "destination.header: expected the name of a header",
        ),
        (
            destination(json!({"header": "x-a b"})),
            "destination.header: expected the name of a header",
        ),
        (
            destination(json!({"servedHeader": ":status"})),
            "destination.servedHeader: expected the name of a header",
        ),
        (
            destination(json!({"handOver": "original-dst-filter-state", "header": "x-a"})),
            "destination.header: expected none with original-dst-filter-state, which uses no \
             header, found \"x-a\"",
        ),
        (
            destination(json!({"ranked": 2})),
            "destination.ranked: expected 1, since only override-host takes more than one \
             endpoint, found 2",
        ),
        (
            destination(json!({"handOver": "override-host", "ranked": 0})),
            "destination.ranked: expected 1 to 16, found 0",
        ),
        (
            destination(json!({"handOver": "override-host", "ranked": 17})),
            "destination.ranked: expected 1 to 16, found 17",
        ),
    ] {
        let config = with(change);
        let error = refusal(&config);
        assert!(error.starts_with(expected), "{config}: {error}");
    }
}
