//! Who picks the profiles of an `EndpointPickerConfig`: what becomes of that.

use endpoint_picker::scheduling::{Condition, Disaggregation, HeaderCondition, Role};
use serde_json::{Value, json};
use wasm_bindgen_test::wasm_bindgen_test;

use crate::{
    merge, only_profile, parse, parse_pool,
    picker_config::{picker_config, plugins, pool, profile, role},
};

#[wasm_bindgen_test(unsupported = test)]
fn a_header_names_the_profile() {
    let profiles =
        ["decode", "prefill", "other"].map(|name| profile(name, &[("queue-scorer", None)]));
    for (parameters, header, order) in [
        (json!({}), "epp-profile", ["prefill", "other", "decode"]),
        (
            json!({"headerName": " X-Stage ", "defaultProfile": "prefill"}),
            "x-stage",
            ["decode", "other", "prefill"],
        ),
    ] {
        let config = picker_config(json!({
            "plugins": [
                {"type": "header-profile-handler", "parameters": parameters},
                {"type": "queue-scorer"}, {"type": "random-picker"},
            ],
            "schedulingProfiles": profiles,
        }));
        let settings = parse(&config).unwrap();
        assert_eq!(settings.watched.names(), [header], "{parameters}");
        let pool = parse_pool(&config).unwrap();
        let profiles = pool.scheduling.profiles;
        let names: Vec<_> = profiles.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, order, "{parameters}");
        for (index, profile) in profiles.iter().enumerate() {
            let condition = HeaderCondition {
                header: 0,
                value: Some(profile.name.clone()),
            };
            let named = (index < 2).then_some(condition);
            assert_eq!(profile.when.headers, Vec::from_iter(named), "{parameters}");
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn one_profile_is_for_all_requests_whatever_the_handler() {
    for handler in ["single-profile-handler", "header-profile-handler"] {
        let pool = pool(json!({
            "plugins": plugins(&[handler, "queue-scorer"]),
            "schedulingProfiles": [profile("only", &[("queue-scorer", None)])],
        }))
        .unwrap();
        let profile = only_profile(&pool).unwrap();
        assert_eq!(profile.name, "only", "{handler}");
        assert_eq!(profile.when, Condition::default(), "{handler}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_decider_splits_prefill_from_decode() {
    let prefix_based = |parameters: Value| {
        let name = json!({"type": "prefix-based-pd-decider", "name": "decider"});
        let mut decider = name;
        merge(&mut decider, json!({"parameters": parameters}));
        decider
    };
    let by_name = json!({"deciders": {"prefill": "decider"}});
    for (decider, handler, split) in [
        (
            json!({"type": "always-disagg-pd-decider", "name": "decider"}),
            by_name.clone(),
            Some(0),
        ),
        // There so many tokens are enough, here it takes more.
        (
            prefix_based(json!({"nonCachedTokens": 16})),
            by_name.clone(),
            Some(15),
        ),
        (
            prefix_based(json!({"nonCachedTokens": 16, "promptTokens": 16})),
            json!({"deciders": {"prefill": "decider"}, "stageOrder": "decode-first",
                   "profiles": {"decode": "decode", "prefill": "prefill", "encode": "encode"}}),
            Some(15),
        ),
        (prefix_based(json!(null)), by_name.clone(), None),
        (
            prefix_based(json!({"nonCachedTokens": 0})),
            by_name.clone(),
            None,
        ),
        (
            prefix_based(json!({"nonCachedTokens": 16})),
            json!({"deciders": {"prefill": ""}}),
            None,
        ),
        (
            prefix_based(json!({"nonCachedTokens": 16})),
            json!({}),
            None,
        ),
    ] {
        let pool = pool(json!({
            "plugins": [
                decider, {"type": "disagg-profile-handler", "parameters": handler},
                {"type": "disagg-headers-handler"}, {"type": "prefill-filter"},
                {"type": "decode-filter"}, {"type": "queue-scorer"},
            ],
            "schedulingProfiles": [
                profile("prefill", &[("prefill-filter", None), ("queue-scorer", None)]),
                profile("decode", &[("decode-filter", None), ("queue-scorer", Some(2.0))]),
            ],
        }))
        .unwrap();
        let expected = split.map(|min_uncached_tokens| Disaggregation {
            prefill: 1,
            min_uncached_tokens,
        });
        let found = pool.scheduling.disaggregation;
        assert_eq!(found, expected, "{decider} {handler}");
        let filters = pool.scheduling.profiles.iter().map(|it| it.filters.clone());
        let mut roles = vec![vec![role(Role::Decode)]];
        roles.extend(split.map(|_| vec![role(Role::Prefill)]));
        assert_eq!(filters.collect::<Vec<_>>(), roles, "{decider} {handler}");
        assert_eq!(
            pool.disaggregation_headers.prefiller,
            "x-prefiller-host-port"
        );
    }
}
