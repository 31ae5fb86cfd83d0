//! What the object `models` may not say.

use serde_json::{Value, json};
use wasm_bindgen_test::wasm_bindgen_test;

use crate::catalog;

#[wasm_bindgen_test(unsupported = test)]
fn refusals_name_the_place_and_what_is_accepted() {
    let name = |name: &str| json!({"names": {name: {}}});
    let a = |entry: Value| json!({"names": {"a": entry}});
    let targets = |targets: Value| json!({"names": {"org/a.1": {"targets": targets}}});
    for (models, expected) in [
        (
            json!({"unknwon": "pass"}),
            "models.unknwon: unknown field `unknwon`, expected one of `unknown`, `restoreNames`, `names`",
        ),
        (
            json!({"unknown": "404"}),
            "models.unknown: unknown variant `404`, expected `pass` or `not-found`",
        ),
        (
            json!({"unknown": "not-found"}),
            "models.unknown: expected names beside \"not-found\", which leaves no others, found none",
        ),
        (
            json!({"restoreNames": "yes"}),
            "models.restoreNames: invalid type: string \"yes\", expected a boolean",
        ),
        (
            json!({"names": ["a"]}),
            "models.names: invalid type: list, expected an object",
        ),
        (
            name(""),
            "models.names: expected a model's name of 1 to 512 bytes without control characters, '*' at its end alone, found \"\"",
        ),
        (name("*a"), "models.names: expected a model's name"),
        (name("a*b"), "models.names: expected a model's name"),
        (name("a**"), "models.names: expected a model's name"),
        (name("**"), "models.names: expected a model's name"),
        (name("a\r\nx-b: c"), "models.names: expected a model's name"),
        (
            name(&"a".repeat(513)),
            "models.names: expected a model's name",
        ),
        (
            a(json!("b")),
            "models.names.a: invalid type: string \"b\", expected an object",
        ),
        (
            a(json!(null)),
            "models.names.a: invalid type: null, expected an object",
        ),
        (
            a(json!({"target": []})),
            "models.names.a.target: unknown field `target`, expected `targets` or `base`",
        ),
        (
            a(json!({"targets": [{"model": "b"}], "base": "c"})),
            "models.names.a.base: expected none beside targets; an adapter among them has its base in an entry of its own, found \"c\"",
        ),
        (
            a(json!({"base": ""})),
            "models.names.a.base: expected a model's name of 1 to 512 bytes without control characters and '*', found \"\"",
        ),
        (
            a(json!({"base": "b*"})),
            "models.names.a.base: expected a model's name",
        ),
        (
            a(json!({"base": "b\n"})),
            "models.names.a.base: expected a model's name",
        ),
        (
            a(json!({"base": "a"})),
            "models.names.a.base: expected the name of a base model, which is no adapter itself, found \"a\"",
        ),
        (
            json!({"names": {"a": {"base": "b"}, "b": {"base": "c"}}}),
            "models.names.a.base: expected the name of a base model, which is no adapter itself, found \"b\"",
        ),
        (
            json!({"names": {"a": {"base": "b"}, "b": {"base": "a"}}}),
            "models.names.a.base: expected the name of a base model",
        ),
        (
            json!({"names": {"a": {"base": "b"}, "*": {"base": "c"}}}),
            "models.names.a.base: expected the name of a base model",
        ),
        (
            targets(json!({"model": "b"})),
            "models.names.org/a.1.targets: invalid type: object, expected a list",
        ),
        (
            targets(json!([])),
            "models.names.org/a.1.targets: expected at least one target, found none",
        ),
        (
            targets(json!(["b"])),
            "models.names.org/a.1.targets[0]: invalid type: string \"b\", expected an object",
        ),
        (
            targets(json!([{"weight": 1}])),
            "models.names.org/a.1.targets[0]: missing field `model`",
        ),
        (
            targets(json!([{"model": "b", "base": "c"}])),
            "models.names.org/a.1.targets[0].base: unknown field `base`, expected `model` or `weight`",
        ),
        (
            targets(json!([{"model": "b"}, {"model": ""}])),
            "models.names.org/a.1.targets[1].model: expected a model's name",
        ),
        (
            targets(json!([{"model": "b*"}])),
            "models.names.org/a.1.targets[0].model: expected a model's name",
        ),
        (
            targets(json!([{"model": "b"}, {"model": "c"}, {"model": "b"}])),
            "models.names.org/a.1.targets[2].model: expected each model once, found \"b\"",
        ),
        (
            targets(json!([{"model": "b"}, {"model": "c", "weight": -0.5}])),
            "models.names.org/a.1.targets[1].weight: expected a number of at least 0, found -0.5",
        ),
        (
            targets(json!([{"model": "b", "weight": "1"}])),
            "models.names.org/a.1.targets[0].weight: invalid type: string \"1\", expected a number",
        ),
        (
            targets(json!([{"model": "b", "weight": null}])),
            "models.names.org/a.1.targets[0].weight: invalid type: null, expected a number",
        ),
        (
            targets(json!([{"model": "b", "weight": 0}, {"model": "c", "weight": 0}])),
            "models.names.org/a.1.targets: expected weights whose sum is a number of more than 0, found 0",
        ),
        (
            targets(json!([{"model": "b", "weight": 1e308}, {"model": "c", "weight": 1e308}])),
            "models.names.org/a.1.targets: expected weights whose sum is a number of more than 0, found inf",
        ),
    ] {
        let error = catalog(&models).err().unwrap_or_default();
        assert!(error.starts_with(expected), "{models}: {error}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn what_looks_odd_and_can_be_is_taken() {
    for names in [
        // A canary of a model under its own name.
        json!({"a": {"targets": [{"model": "a", "weight": 90}, {"model": "b", "weight": 10}]}}),
        // Two names for each other.
        json!({"a": {"targets": [{"model": "b"}]}, "b": {"targets": [{"model": "a"}]}}),
        // An adapter in the place of its base model.
        json!({"a": {"targets": [{"model": "sql"}]}, "sql": {"base": "a"}}),
        // The base model among the names that begin like its adapters'.
        json!({"llama-*": {"base": "llama-8b"}}),
        json!({"a": {"targets": [{"model": "b", "weight": 0}, {"model": "c"}]}}),
        json!({"meta-llama/Llama 3.3": {}, "模型": {}, "*": {}}),
        json!({"a".repeat(512): {}}),
    ] {
        let taken = catalog(&json!({"unknown": "not-found", "names": names}));
        assert!(taken.is_ok(), "{names}: {taken:?}");
    }
}
