//! Who reads a prompt for whom.

use endpoint_picker::scheduling::{
    Disaggregation, Filter, PrefixCache, Profile, Request, Role, RoleFilter, Scheduler, Scheduling,
    Scorer, Terms, WeightedScorer,
};
use fastrand::Rng;
use serde_json::json;
use wasm_bindgen_test::wasm_bindgen_test;

use super::{
    scene::{Scene, by_total, server},
    support::Server,
};

fn of_role(role: Role) -> Profile {
    let label = "role".to_owned();
    Profile {
        name: format!("{role:?}"),
        filters: vec![Filter::Role(RoleFilter { label, role })],
        ..by_total()
    }
}

fn split(min_uncached_tokens: u64) -> Scheduling {
    Scheduling {
        profiles: vec![of_role(Role::Decode), of_role(Role::Prefill)],
        disaggregation: Some(Disaggregation {
            prefill: 1,
            min_uncached_tokens,
        }),
    }
}

fn with_role(total: f64, role: &'static str) -> Server {
    server(total).label("role", role)
}

/// Who decodes and who prefills, by their indexes.
fn choice(scene: &Scene, scheduling: Scheduling) -> (usize, Option<usize>) {
    scene.decide(scheduling, |decision| {
        let decision = decision.unwrap();
        let prefill = decision.prefill().map(|it| it.address());
        let position = decision.prefill_position();
        assert_eq!(prefill, position.map(super::support::address));
        (decision.position(), position)
    })
}

#[wasm_bindgen_test(unsupported = test)]
fn long_prompts_that_the_decoder_does_not_hold_are_split() {
    let servers = [
        with_role(0.9, "prefill"),
        with_role(0.5, "decode"),
        with_role(1.0, "prefill"),
        with_role(0.4, "decode"),
    ];
    // Ten blocks are 640 tokens.
    for (held, min_uncached_tokens, expected) in [
        (0, 0, Some(2)),
        (0, 639, Some(2)),
        (0, 640, None),
        (4, 383, Some(2)),
        (4, 384, None),
        (10, 0, None),
    ] {
        // What others hold is not what the decoder holds.
        let scene = Scene::new(&servers, 10)
            .holds(1, held)
            .holds(0, 10)
            .holds(3, 10);
        let case = format!("{held} held, {min_uncached_tokens}");
        assert_eq!(
            choice(&scene, split(min_uncached_tokens)),
            (1, expected),
            "{case}"
        );
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn one_endpoint_may_do_both_and_then_needs_no_other() {
    for (case, servers, expected) in [
        (
            "one for each",
            &[with_role(0.5, "decode"), with_role(0.5, "prefill")][..],
            (0, Some(1)),
        ),
        (
            "nobody prefills",
            &[with_role(0.5, "decode"), server(0.1)],
            (0, None),
        ),
        (
            "who has no label decodes",
            &[server(0.5), with_role(0.9, "prefill")],
            (0, Some(1)),
        ),
        (
            "the best does both",
            &[with_role(0.9, "both"), with_role(0.5, "prefill")],
            (0, None),
        ),
        (
            "another is better at it",
            &[with_role(0.5, "both"), with_role(0.9, "prefill")],
            (0, Some(1)),
        ),
    ] {
        assert_eq!(
            choice(&Scene::new(servers, 10), split(0)),
            expected,
            "{case}"
        );
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn nobody_prefills_who_does_not_answer_unless_nobody_does() {
    let servers = [
        with_role(0.5, "decode"),
        with_role(0.9, "prefill"),
        with_role(0.1, "prefill"),
    ];
    for (sick, expected) in [
        (&[][..], (0, Some(1))),
        (&[1], (0, Some(2))),
        (&[1, 2], (0, None)),
        (&[0], (0, Some(1))),
        (&[0, 2], (0, Some(1))),
    ] {
        let scene = Scene::new(&servers, 10).sick(sick);
        assert_eq!(choice(&scene, split(0)), expected, "{sick:?}");
    }
    // Nothing is known of anybody.
    let scene = Scene::new(&servers[..2], 10).sick(&[0, 1]);
    assert_eq!(choice(&scene, split(0)), (0, Some(1)));
}

#[wasm_bindgen_test(unsupported = test)]
fn equal_prefillers_take_turns() {
    let servers = [
        with_role(0.5, "decode"),
        with_role(0.5, "prefill"),
        with_role(0.5, "prefill"),
    ];
    // A prompt without a whole block belongs to nobody.
    let scene = Scene::new(&servers, 0);
    let terms = Terms {
        request: Request {
            prompt_tokens: 50,
            ..Request::default()
        },
        ..scene.terms()
    };
    let (mut scheduler, mut rng) = (Scheduler::new(split(0)), Rng::with_seed(1));
    let mut prefiller = || {
        let decision = scheduler.schedule(scene.view(), terms, &mut rng);
        decision.unwrap().prefill_position()
    };
    let first = prefiller();
    assert_ne!(first, None);
    for _ in 0..3 {
        assert_ne!(prefiller(), first);
        assert_eq!(prefiller(), first);
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn without_a_decoder_there_is_no_decision() {
    let scene = Scene::new(&[with_role(0.5, "prefill")], 10);
    let refusal = scene.choice(split(0)).unwrap_err();
    assert_eq!(refusal.to_string(), "the filter role leaves no endpoint");
}

#[wasm_bindgen_test(unsupported = test)]
fn prefillers_are_chosen_by_what_they_hold() {
    let servers = [
        with_role(0.0, "decode"),
        with_role(0.0, "prefill"),
        with_role(0.0, "prefill"),
    ];
    let mut scheduling = split(0);
    scheduling.profiles[1].scorers.push(WeightedScorer {
        scorer: Scorer::PrefixCache(PrefixCache::default()),
        weight: 1.0,
    });
    for (holder, tokens) in [(1, 64), (2, 64)] {
        let scene = Scene::new(&servers, 10).holds(holder, 9);
        assert_eq!(choice(&scene, scheduling.clone()), (0, Some(holder)));
        let uncached = scene.decide(scheduling.clone(), |it| {
            it.unwrap().prefill_uncached_tokens()
        });
        assert_eq!(uncached, Some(tokens));
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn the_explanation_tells_why_the_prefiller_was_chosen() {
    let servers = [
        with_role(1.0, "decode"),
        with_role(0.25, "prefill").in_flight(2, 9),
        with_role(0.5, "prefill"),
    ];
    let scene = Scene::new(&servers, 10);
    let mut scheduling = split(0);
    scheduling.profiles[1].scorers[0].weight = 3.0;
    let terms = Terms {
        ranked: 3,
        ..scene.terms()
    };
    let explanation = scene.decide_on(scheduling, terms, |it| json!(it.unwrap().explain()));
    let candidate = |endpoint: &str, total: f64, score: f64, requests: u32, tokens: u32| {
        json!({
            "endpoint": endpoint,
            "total": total,
            "inFlight": {"requests": requests, "tokens": tokens},
            "scores": {"total": score},
        })
    };
    assert_eq!(
        explanation,
        json!({
            "profile": "Decode",
            "endpoint": "10.0.0.1:8001",
            "ranking": ["10.0.0.1:8001"],
            "leftOut": {"role": 2},
            "weights": {"total": 1.0},
            "candidates": [candidate("10.0.0.1:8001", 1.0, 1.0, 0, 0)],
            "prefill": {
                "profile": "Prefill",
                "endpoint": "10.0.0.1:8003",
                "leftOut": {"role": 1},
                "weights": {"total": 3.0},
                "candidates": [
                    candidate("10.0.0.1:8002", 0.75, 0.25, 2, 9),
                    candidate("10.0.0.1:8003", 1.5, 0.5, 0, 0),
                ],
            },
        })
    );
}
