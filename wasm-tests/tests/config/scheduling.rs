//! Scheduling as this configuration writes it: pickers, profiles, prefill and decode.

use endpoint_picker::{
    models::ModelPattern,
    request::Watched,
    scheduling::{
        Condition, Disaggregation, HeaderCondition, Picker, Profile, Scorer, Session, SessionForm,
    },
};
use serde_json::{Value, json};
use wasm_bindgen_test::wasm_bindgen_test;

use crate::{header, only_profile, parse, parse_pool, with};

#[wasm_bindgen_test(unsupported = test)]
fn every_picker_is_taken() {
    for (names, expected) in [
        (["max-score", "max-score-picker"], Picker::MaxScore),
        (["random", "random-picker"], Picker::Random),
        (
            ["weighted-random", "weighted-random-picker"],
            Picker::WeightedRandom,
        ),
        (["power-of-two"; 2], Picker::PowerOfTwo),
    ] {
        for name in names {
            let pool = parse_pool(&with(json!({"scheduling": {"picker": name}}))).unwrap();
            assert_eq!(only_profile(&pool).unwrap().picker, expected, "{name}");
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn the_default_scorers_are_the_ones_that_the_document_spells_out() {
    let document = include_str!("../../../docs/scheduling.md");
    let (_, after) = document.split_once("Left out, the scorers are").unwrap();
    let example = after.split("```").nth(1).unwrap();
    let example = example.strip_prefix("json\n").unwrap();
    let spelt_out = parse_pool(&with(
        serde_json::from_str(&format!("{{{example}}}")).unwrap(),
    ));
    let sorted = |profile: &Profile| {
        let mut scorers = profile.scorers.clone();
        scorers.sort_by_key(|it| it.scorer.name());
        scorers
    };
    let spelt_out = sorted(only_profile(&spelt_out.unwrap()).unwrap());
    assert_eq!(spelt_out, sorted(&Profile::default()));
}

#[wasm_bindgen_test(unsupported = test)]
fn profiles_are_for_requests_by_header_model_and_path() {
    let config = with(json!({"scheduling": {"profiles": [
        {
            "name": "batch",
            "when": {
                "headers": [{"name": "X-Batch"}, {"name": "x-tier", "value": "Low"}],
                "models": ["llama*", "phi-4"],
                "paths": ["/v1/completions"],
            },
            "scorers": [{"type": "queue"}],
            "picker": "random",
        },
        {"name": "sessions", "when": {"headers": [{"name": "x-tier", "value": "high"}]},
         "scorers": [{"type": "session-affinity", "weight": 0.5, "parameters": {"header": "x-batch"}}]},
        {"name": "rest", "filters": [{"type": "decode-filter"}]},
    ]}}));
    let settings = parse(&config).unwrap();
    assert_eq!(
        settings.watched.all(),
        ["x-batch", "x-tier"].map(crate::header)
    );
    let pool = parse_pool(&config).unwrap();
    assert_eq!(pool.scheduling.disaggregation, None);
    let [batch, sessions, rest] = pool.scheduling.profiles.as_slice() else {
        panic!("three profiles");
    };

    assert_eq!(batch.name, "batch");
    let header = |header, value: Option<&str>| HeaderCondition {
        header,
        value: value.map(str::to_owned),
    };
    let condition = Condition {
        headers: vec![header(0, None), header(1, Some("Low"))],
        models: ["llama*", "phi-4"]
            .map(|model| ModelPattern::parse(model).unwrap())
            .into(),
        paths: vec!["/v1/completions".to_owned()],
    };
    assert_eq!(batch.when, condition);
    assert_eq!(batch.picker, Picker::Random);
    assert_eq!(batch.scorers.len(), 1);

    assert_eq!(sessions.when.headers, [header(1, Some("high"))]);
    let session = Session {
        place: 0,
        form: SessionForm::Token,
    };
    let scorers: Vec<_> = sessions
        .scorers
        .iter()
        .map(|w| (&w.scorer, w.weight))
        .collect();
    assert_eq!(scorers, [(&Scorer::SessionAffinity(session), 0.5)]);

    assert_eq!(rest.when, Condition::default());
    assert_eq!(rest.filters.len(), 1);
    assert_eq!(rest.scorers, Profile::default().scorers);
}

#[wasm_bindgen_test(unsupported = test)]
fn headers_are_watched_once_for_all_pools() {
    let pool = |name: &str, models: Value, header: &str| {
        json!({
            "name": name, "models": models,
            "endpoints": {"static": []}, "metrics": {"cluster": "scrapes"},
            "scheduling": {"scorers": [
                {"type": "session-affinity", "parameters": {"cookie": "route"}},
                {"type": "session-affinity", "parameters": {"keyHeader": header}},
            ]},
        })
    };
    let pools = [
        pool("a", json!(["llama"]), "x-user"),
        pool("b", json!(null), "x-tenant"),
    ];
    let settings = parse(&json!({"pools": pools})).unwrap();
    let cookie = Watched::Cookie("route".to_owned());
    let watched = [cookie, header("x-user"), header("x-tenant")];
    assert_eq!(settings.watched.all(), watched);
}

#[wasm_bindgen_test(unsupported = test)]
fn prefill_and_decode_have_a_profile_each() {
    let pool = |fields: Value| {
        let mut disaggregation = json!({"prefillProfile": "prefill"});
        crate::merge(&mut disaggregation, fields);
        parse_pool(&with(json!({"scheduling": {
            "profiles": [
                {"name": "prefill", "filters": [{"type": "role", "parameters": {"role": "prefill"}}]},
                {"name": "long", "when": {"models": ["long-*"]}},
                {"name": "decode", "filters": [{"type": "role", "parameters": {"role": "decode"}}]},
            ],
            "disaggregation": disaggregation,
        }})))
        .unwrap()
    };
    let bare = pool(json!({}));
    let expected = Disaggregation {
        prefill: 0,
        min_uncached_tokens: 512,
    };
    assert_eq!(bare.scheduling.disaggregation, Some(expected));
    assert_eq!(
        bare.disaggregation_headers.prefiller,
        "x-prefiller-host-port"
    );
    assert_eq!(bare.disaggregation_headers.instance_label, None);

    let full = pool(json!({
        "minUncachedTokens": 0, "prefillerHeader": "X-Prefiller", "instanceLabel": "instance",
    }));
    let split = full
        .scheduling
        .disaggregation
        .map(|it| it.min_uncached_tokens);
    assert_eq!(split, Some(0));
    assert_eq!(full.disaggregation_headers.prefiller, "x-prefiller");
    let label = full.disaggregation_headers.instance_label;
    assert_eq!(label.as_deref(), Some("instance"));
}
