//! The objects `explanation` and `prefixCache`.

use serde_json::json;
use wasm_bindgen_test::wasm_bindgen_test;

use crate::{parse, parse_pool, refusal, with};

const SECRET: &str = "correct-horse-battery";

#[wasm_bindgen_test(unsupported = test)]
fn a_secret_is_enough() {
    let settings = parse(&with(json!({"explanation": {"secret": SECRET}}))).unwrap();
    let explanation = settings.explanation.unwrap();
    assert_eq!(explanation.request_header, "x-endpoint-picker-explain");
    assert_eq!(explanation.response_header, "x-endpoint-picker-explanation");
    assert_eq!(explanation.max_bytes, 8192);
    let shown = format!("{explanation:?}");
    assert!(!shown.contains(SECRET), "{shown}");
}

#[wasm_bindgen_test(unsupported = test)]
fn every_field_is_taken() {
    let settings = parse(&with(json!({"explanation": {
        "secret": SECRET, "requestHeader": "X-Why", "responseHeader": "X-Because", "maxBytes": 256,
    }})))
    .unwrap();
    let explanation = settings.explanation.unwrap();
    assert_eq!(explanation.request_header, "x-why");
    assert_eq!(explanation.response_header, "x-because");
    assert_eq!(explanation.max_bytes, 256);
}

#[wasm_bindgen_test(unsupported = test)]
fn only_the_secret_is_admitted() {
    let settings = parse(&with(json!({"explanation": {"secret": SECRET}}))).unwrap();
    let explanation = settings.explanation.unwrap();
    for (value, admitted) in [
        (SECRET, true),
        ("", false),
        ("correct-horse-batter", false),
        ("correct-horse-battery ", false),
        ("correct-horse-batterY", false),
        ("Correct-horse-battery", false),
    ] {
        assert_eq!(explanation.admits(value.as_bytes()), admitted, "{value:?}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn what_is_remembered_of_prompts_is_bounded() {
    for bytes in [64 << 10, 1 << 20, 384 << 20] {
        let pool = parse_pool(&with(json!({"prefixCache": {"maxBytes": bytes}}))).unwrap();
        assert_eq!(pool.prefix_cache_bytes, bytes);
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn refusals_name_the_place_and_no_secret() {
    for (change, expected) in [
        (
            json!({"explanation": {}}),
            "explanation.secret: expected 16 to 256 visible ASCII characters, found none",
        ),
        (
            json!({"explanation": "correct-horse-battery"}),
            "explanation: expected an object, found something else",
        ),
        (
            json!({"explanation": {"secret": ["correct-horse-battery"]}}),
            "explanation.secret: expected a text",
        ),
        (
            json!({"explanation": {"secret": "correct-horse"}}),
            "explanation.secret: expected 16 to 256 visible ASCII characters, found a text of 13 bytes",
        ),
        (
            json!({"explanation": {"secret": "correct horse battery"}}),
            "explanation.secret: expected 16 to 256 visible ASCII characters, found a text of 21 bytes",
        ),
        (
            json!({"explanation": {"secret": "c".repeat(257)}}),
            "explanation.secret: expected 16 to 256 visible ASCII characters, found a text of 257",
        ),
        (
            json!({"explanation": {"secret": SECRET, "header": "x-why"}}),
            "explanation.header: unknown field `header`, expected one of `requestHeader`, `secret`, \
             `responseHeader`, `maxBytes`",
        ),
        (
            json!({"explanation": {"secret": SECRET, "requestHeader": "why"}}),
            "explanation.requestHeader: expected the name of a header that begins with \"x-\" and has \
             no other use, found \"why\"",
        ),
        (
            json!({"explanation": {"secret": SECRET, "responseHeader": "x-request-id"}}),
            "explanation.responseHeader: expected the name of a header",
        ),
        (
            json!({"explanation": {"secret": SECRET, "maxBytes": 255}}),
            "explanation.maxBytes: expected 256 to 49152, found 255",
        ),
        (
            json!({"explanation": {"secret": SECRET, "maxBytes": 49_153}}),
            "explanation.maxBytes: expected 256 to 49152, found 49153",
        ),
        (
            json!({"prefixCache": {"maxBytes": 65_535}}),
            "prefixCache.maxBytes: expected 65536 to 402653184, found 65535",
        ),
        (
            json!({"prefixCache": {"maxBytes": 402_653_185}}),
            "prefixCache.maxBytes: expected 65536 to 402653184, found 402653185",
        ),
        (
            json!({"prefixCache": {"maxBytes": "8MiB"}}),
            "prefixCache.maxBytes: invalid type: string \"8MiB\", expected a whole number from 0 to",
        ),
        (
            json!({"prefixCache": {"bytes": 1}}),
            "prefixCache.bytes: unknown field `bytes`, expected `maxBytes`",
        ),
    ] {
        let config = with(change);
        let error = refusal(&config);
        assert!(error.starts_with(expected), "{config}: {error}");
        assert!(!error.contains(SECRET), "{error}");
    }
}
