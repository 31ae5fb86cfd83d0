//! Which model a requested name stands for.

use std::collections::BTreeMap;

use endpoint_picker::models::{ModelCatalog, Resolved, Target};
use fastrand::Rng;
use serde_json::{Value, json};
use wasm_bindgen_test::wasm_bindgen_test;

use crate::catalog;

/// Every name has one target here, so that none is left to chance.
fn names() -> Value {
    json!({
        "gpt-4o": {"targets": [{"model": "llama-70b"}]},
        "latest": {"targets": [{"model": "gpt-4o"}]},
        "off": {"targets": [{"model": "old", "weight": 0}, {"model": "young", "weight": 0.5}]},
        "llama-8b": {},
        "sql": {"base": "llama-8b"},
        "best-sql": {"targets": [{"model": "sql"}]},
        "best-lora": {"targets": [{"model": "lora-7"}]},
        "lora-*": {"base": "llama-70b"},
        "small-*": {"targets": [{"model": "llama-8b"}]},
        "small-talk*": {"targets": [{"model": "phi-4"}]},
        "small-talk": {"targets": [{"model": "gemma"}]},
        "qwen*": {},
    })
}

const CASES: &[(&str, Option<(&str, &str)>)] = &[
    ("gpt-4o", Some(("llama-70b", "llama-70b"))),
    // A target is what the server knows, whatever else has that name.
    ("latest", Some(("gpt-4o", "gpt-4o"))),
    ("off", Some(("young", "young"))),
    ("llama-8b", Some(("llama-8b", "llama-8b"))),
    ("sql", Some(("sql", "llama-8b"))),
    ("best-sql", Some(("sql", "llama-8b"))),
    ("best-lora", Some(("lora-7", "llama-70b"))),
    ("lora-a/b", Some(("lora-a/b", "llama-70b"))),
    // A name before prefixes, a longer prefix before a shorter one, and nothing may follow it.
    ("small-talk", Some(("gemma", "gemma"))),
    ("small-talk-2", Some(("phi-4", "phi-4"))),
    ("small-tal", Some(("llama-8b", "llama-8b"))),
    ("small-", Some(("llama-8b", "llama-8b"))),
    ("small-*", Some(("llama-8b", "llama-8b"))),
    ("qwen", Some(("qwen", "qwen"))),
    ("qwen3-32b", Some(("qwen3-32b", "qwen3-32b"))),
    // Names are compared as they are written.
    ("small", None),
    ("GPT-4o", None),
    ("gpt-4o ", None),
    ("llama-70b", None),
    ("", None),
];

fn check(catalog: &ModelCatalog, otherwise: Resolved<'_>) {
    let mut rng = Rng::with_seed(1);
    for (requested, expected) in CASES {
        let target = expected.map(|(model, base)| Resolved::Listed(Target { model, base }));
        let resolved = catalog.resolve(requested, &mut rng);
        assert_eq!(resolved, target.unwrap_or(otherwise), "{requested:?}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn names_have_the_targets_that_are_listed() {
    let pass = catalog(&json!({"names": names()})).unwrap();
    check(&pass, Resolved::Unlisted);
    assert!(pass.rewrites());
    assert!(!pass.restores_names());

    let pass = catalog(&json!({"unknown": "pass", "names": names()})).unwrap();
    check(&pass, Resolved::Unlisted);

    let refuse = json!({"unknown": "not-found", "restoreNames": true, "names": names()});
    let refuse = catalog(&refuse).unwrap();
    check(&refuse, Resolved::NotFound);
    assert!(refuse.restores_names());
}

#[wasm_bindgen_test(unsupported = test)]
fn without_a_table_every_name_passes() {
    for models in [json!({}), json!({"names": {}})] {
        let catalog = catalog(&models).unwrap();
        let resolved = catalog.resolve("llama-8b", &mut Rng::with_seed(1));
        assert_eq!(resolved, Resolved::Unlisted);
        assert!(!catalog.rewrites());
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_star_alone_takes_every_other_name() {
    let names = json!({"*": {"targets": [{"model": "llama-8b"}]}, "phi-4": {}});
    let catalog = catalog(&json!({"unknown": "not-found", "names": names})).unwrap();
    let mut rng = Rng::with_seed(1);
    for (requested, model) in [("", "llama-8b"), ("gpt-4o", "llama-8b"), ("phi-4", "phi-4")] {
        let target = Target { model, base: model };
        let resolved = catalog.resolve(requested, &mut rng);
        assert_eq!(resolved, Resolved::Listed(target), "{requested:?}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn bodies_are_rewritten_only_for_targets_of_another_name() {
    for (names, rewrites) in [
        (json!({"a": {}}), false),
        (json!({"a": {"base": "b"}}), false),
        (json!({"a*": {"base": "b"}}), false),
        (json!({"a": {"targets": [{"model": "a"}]}}), false),
        (
            json!({"a": {"targets": [{"model": "a"}, {"model": "b"}]}}),
            true,
        ),
        // "ab" is asked for as "a", too.
        (json!({"a*": {"targets": [{"model": "a"}]}}), true),
        (json!({"a": {"targets": [{"model": "b"}]}, "c": {}}), true),
    ] {
        let catalog = catalog(&json!({"names": names})).unwrap();
        assert_eq!(catalog.rewrites(), rewrites, "{names}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn targets_are_drawn_by_their_weights() {
    const DRAWS: f64 = 20_000.0;
    for (targets, shares) in [
        (
            json!([{"model": "a", "weight": 90}, {"model": "b", "weight": 10}]),
            &[("a", 0.9), ("b", 0.1)][..],
        ),
        (
            json!([{"model": "a", "weight": 10}, {"model": "b", "weight": 90}]),
            &[("a", 0.1), ("b", 0.9)],
        ),
        (
            json!([{"model": "a"}, {"model": "b"}, {"model": "c", "weight": 2}]),
            &[("a", 0.25), ("b", 0.25), ("c", 0.5)],
        ),
        (
            json!([{"model": "z", "weight": 0}, {"model": "a", "weight": 0.3}, {"model": "b", "weight": 0.1}, {"model": "y", "weight": 0}]),
            &[("a", 0.75), ("b", 0.25)],
        ),
        (
            json!([{"model": "a", "weight": 1e300}, {"model": "b", "weight": 1e-300}]),
            &[("a", 1.0)],
        ),
    ] {
        let catalog = catalog(&json!({"names": {"llama": {"targets": targets}}})).unwrap();
        let mut rng = Rng::with_seed(5);
        let mut counts = BTreeMap::new();
        for _ in 0..DRAWS as u32 {
            match catalog.resolve("llama", &mut rng) {
                Resolved::Listed(target) => *counts.entry(target.model).or_insert(0.0) += 1.0,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(counts.len(), shares.len(), "{targets}: {counts:?}");
        for (model, share) in shares {
            // Five standard deviations of a binomial distribution.
            let bound = 5.0 * (DRAWS * share * (1.0 - share)).sqrt();
            let off = counts[model] - DRAWS * share;
            assert!(off.abs() <= bound, "{targets}: {counts:?}");
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn the_same_seed_draws_the_same_targets() {
    let targets = json!([{"model": "a"}, {"model": "b"}]);
    let catalog = catalog(&json!({"names": {"llama": {"targets": targets}}})).unwrap();
    let draw = |seed| {
        let mut rng = Rng::with_seed(seed);
        let draws = (0..64).map(|_| catalog.resolve("llama", &mut rng));
        draws.collect::<Vec<_>>()
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}

#[wasm_bindgen_test(unsupported = test)]
fn what_servers_know_has_a_base_of_its_own() {
    let catalog = catalog(&json!({"names": names()})).unwrap();
    for (model, base) in [
        ("sql", "llama-8b"),
        ("lora-9", "llama-70b"),
        ("llama-8b", "llama-8b"),
        ("gpt-4o", "gpt-4o"),
        ("small-1", "small-1"),
        ("unheard-of", "unheard-of"),
    ] {
        assert_eq!(catalog.base_of(model), base, "{model}");
    }
}
