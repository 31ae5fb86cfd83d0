//! What is told of why.

use endpoint_picker::scheduling::{
    ActiveRequest, Disaggregation, LoadAware, Picker, Profile, Scheduler, Scheduling, Scorer, Terms,
};
use fastrand::Rng;
use serde_json::{Value, json};
use wasm_bindgen_test::wasm_bindgen_test;

use super::{
    scene::{Scene, by_total, filtered, scored, server, told, waiting, zone},
    support::address,
};

#[wasm_bindgen_test(unsupported = test)]
fn the_explanation_names_every_score() {
    let busy = told(4.0, 0.25).in_flight(1, 9).label("zone", "a");
    let scene = Scene::new(
        &[told(0.0, 0.5).label("zone", "a"), busy, told(0.0, 0.0)],
        4,
    );
    let profile = Profile {
        name: "chat".to_owned(),
        filters: vec![zone("a"), waiting(9.0, false)],
        ..scored([
            (Scorer::Queue, 2.0),
            (Scorer::KvCacheUtilization, 1.0),
            (Scorer::ActiveRequest(ActiveRequest::default()), 0.5),
        ])
    };
    let explanation = scene.decide(profile, |decision| json!(decision.unwrap().explain()));
    let expected = json!({
        "profile": "chat",
        "endpoint": "10.0.0.1:8001",
        "ranking": ["10.0.0.1:8001"],
        "leftOut": {"label-selector": 1, "utilization": 0},
        "weights": {"queue": 2.0, "kv-cache-utilization": 1.0, "active-request": 0.5},
        "candidates": [
            {
                "endpoint": "10.0.0.1:8001",
                "total": 3.0,
                "inFlight": {"requests": 0, "tokens": 0},
                "scores": {"queue": 1.0, "kv-cache-utilization": 0.5, "active-request": 1.0},
            },
            {
                "endpoint": "10.0.0.1:8002",
                "total": 0.75,
                "inFlight": {"requests": 1, "tokens": 9},
                "scores": {"queue": 0.0, "kv-cache-utilization": 0.75, "active-request": 0.0},
            },
        ],
    });
    assert_eq!(explanation, expected);
}

#[wasm_bindgen_test(unsupported = test)]
fn scorers_of_one_name_are_told_apart() {
    let scene = Scene::new(&[told(0.0, 0.5), told(4.0, 0.5)], 0);
    let short = LoadAware { threshold: 8 };
    let profile = scored([
        (Scorer::LoadAware(LoadAware::default()), 1.0),
        (Scorer::Queue, 1.0),
        (Scorer::LoadAware(short), 2.0),
        (Scorer::LoadAware(LoadAware { threshold: 4 }), 1.0),
    ]);
    let explanation = scene.decide(profile, |decision| json!(decision.unwrap().explain()));
    let candidate = &explanation["candidates"][1];
    assert_eq!(
        candidate["scores"],
        json!({"load-aware": 0.484_375, "load-aware#2": 0.25, "load-aware#3": 0.0, "queue": 0.0})
    );
    assert_eq!(candidate["total"], json!(0.984_375));
    assert_eq!(
        explanation["weights"],
        json!({"load-aware": 1.0, "load-aware#2": 2.0, "load-aware#3": 1.0, "queue": 1.0})
    );
}

/// The totals told, each of which is what the scores and the weights told come to.
fn checked_totals(explanation: &Value) -> Vec<f64> {
    let check = |candidate: &Value| {
        let scores = candidate["scores"].as_object().unwrap().iter();
        let weighted = scores
            .map(|(name, score)| Some(score.as_f64()? * explanation["weights"][name].as_f64()?));
        let sum: f64 = weighted.map(Option::unwrap).sum();
        let total = candidate["total"].as_f64().unwrap();
        assert!((total - sum).abs() < 1e-9, "{sum}: {explanation}");
        total
    };
    let candidates = explanation["candidates"].as_array().unwrap();
    candidates.iter().map(check).collect()
}

#[wasm_bindgen_test(unsupported = test)]
fn totals_are_the_scores_by_the_weights() {
    let servers = [told(0.0, 0.3), told(4.0, 0.7).in_flight(2, 900)];
    let of_one_name = || {
        let active = || Scorer::ActiveRequest(ActiveRequest::default());
        scored([(active(), 0.1), (Scorer::Queue, 0.7), (active(), 3.0)])
    };
    for (profile, sick, expected) in [
        (Profile::default(), &[][..], [5.543_75, 3.924_023_437_5]),
        (of_one_name(), &[], [3.8, 0.0]),
        // The load in flight counts in the place of what nobody tells, with the weight of all of that.
        (Profile::default(), &[0, 1], [8.843_75, 3.624_023_437_5]),
        (scored([]), &[], [0.0, 0.0]),
    ] {
        let scene = Scene::new(&servers, 10).sick(sick);
        let case = format!("{profile:?}, {sick:?}");
        let explanation = scene.decide(profile, |decision| json!(decision.unwrap().explain()));
        let totals = checked_totals(&explanation);
        assert_eq!(totals.len(), expected.len(), "{case}");
        for (total, expected) in totals.iter().zip(expected) {
            assert!((total - expected).abs() < 1e-9, "{totals:?}: {case}");
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn an_explanation_has_bounds() {
    let servers: Vec<_> = (0..100)
        .map(|index| server(f64::from(index) / 100.0))
        .collect();
    let scene = Scene::new(&servers, 0);
    scene.decide(by_total(), |decision| {
        let decision = decision.unwrap();
        let names = |count| -> Vec<_> {
            let explanation = decision.explain().with_candidates(count);
            assert_eq!(
                explanation.candidates.len() + explanation.more_candidates,
                100
            );
            explanation
                .candidates
                .iter()
                .map(|it| it.endpoint.to_owned())
                .collect()
        };
        let best = |count| -> Vec<_> {
            (100 - count..100)
                .map(|at| address(at).to_string())
                .collect()
        };
        for count in [0, 1, 3, 99, 100] {
            assert_eq!(names(count), best(count), "{count}");
        }
        assert_eq!(names(1000), best(100));

        let whole = decision.explain().to_json(usize::MAX);
        assert_eq!(whole, serde_json::to_string(&decision.explain()).unwrap());
        for max_bytes in (0..1500).step_by(7).chain([whole.len() - 1, whole.len()]) {
            let json = decision.explain().to_json(max_bytes);
            if max_bytes < 60 {
                // Not even the choice finds room.
                assert!(json.len() <= max_bytes.max(2), "{max_bytes}: {json}");
                continue;
            }
            assert!(json.len() <= max_bytes, "{max_bytes}: {json}");
            let told: serde_json::Value = serde_json::from_str(&json).unwrap();
            if max_bytes > 300 {
                // There is room for no more.
                let shown = told["candidates"].as_array().unwrap().len();
                assert!(
                    shown == 100 || json.len() + 150 > max_bytes,
                    "{max_bytes}: {json}"
                );
                assert_eq!(told["endpoint"], "10.0.0.1:8100");
                assert_eq!(told["candidates"][shown - 1]["endpoint"], "10.0.0.1:8100");
                assert_eq!(
                    shown as u64 + told["moreCandidates"].as_u64().unwrap_or(0),
                    100
                );
            }
        }
    });
}

#[wasm_bindgen_test(unsupported = test)]
fn the_choice_is_explained_even_where_others_score_more() {
    let servers = [0.5, 1.0, 0.9, 0.8].map(server);
    let scene = Scene::new(&servers, 0);
    let random = || Profile {
        picker: Picker::Random,
        ..by_total()
    };
    let mut rng = Rng::with_seed(1);
    let mut scheduler = Scheduler::new(random());
    let explained = (0..50).map(|_| {
        let decision = scheduler.schedule(scene.view(), scene.terms(), &mut rng);
        let decision = decision.unwrap();
        let explanation = decision.explain().with_candidates(2);
        let shown: Vec<_> = explanation.candidates.iter().map(|it| it.total).collect();
        (decision.position(), shown)
    });
    for (choice, shown) in explained {
        let expected = [[0.5, 1.0], [1.0, 0.9], [1.0, 0.9], [1.0, 0.8]][choice];
        assert_eq!(shown, expected, "{choice}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn an_explanation_without_room_tells_the_choice() {
    let servers: Vec<_> = (0..16).map(|_| server(0.5).label("zone", "a")).collect();
    let scene = Scene::new(&servers, 0);
    let terms = Terms {
        ranked: 16,
        ..scene.terms()
    };
    scene.decide_on(filtered([zone("a")]), terms, |decision| {
        let decision = decision.unwrap();
        let told: serde_json::Value =
            serde_json::from_str(&decision.explain().to_json(256)).unwrap();
        assert_eq!(told["endpoint"], decision.endpoint().host_port());
        assert_eq!(told["candidates"][0]["endpoint"], told["endpoint"]);
        assert!(told.get("ranking").is_none() && told.get("leftOut").is_none());
        let told = decision.explain().to_json(600);
        assert!(told.len() <= 600 && told.contains("ranking") && told.contains("leftOut"));
    });
}

/// One profile for the zone `d`, and one for the prefillers of the zone `p`.
fn split() -> Scheduling {
    let named = |name: &str, of: &'static str| Profile {
        name: name.to_owned(),
        ..filtered([zone(of)])
    };
    Scheduling {
        profiles: vec![named("decode", "d"), named("prefill", "p")],
        disaggregation: Some(Disaggregation {
            prefill: 1,
            min_uncached_tokens: 0,
        }),
    }
}

/// How many candidates are told, after a look at what is told of them: those of the highest totals, the
/// chosen one among them, and how many more there are.
fn checked_count(told: &Value, chosen: usize, total: usize) -> usize {
    assert_eq!(told["endpoint"], address(chosen).to_string(), "{told}");
    let candidates = told["candidates"].as_array().unwrap();
    let shown: Vec<_> = candidates
        .iter()
        .map(|it| it["endpoint"].as_str().unwrap())
        .collect();
    let best = (chosen + 1 - shown.len()..=chosen).map(|at| address(at).to_string());
    assert_eq!(shown, best.collect::<Vec<_>>(), "{told}");
    let more = total - shown.len();
    assert_eq!(
        told.get("moreCandidates"),
        Some(&json!(more)).filter(|_| more > 0),
        "{told}"
    );
    shown.len()
}

#[wasm_bindgen_test(unsupported = test)]
fn decoders_and_prefillers_share_the_room() {
    for (decoders, prefillers, ranked) in [(1, 1, 1), (1, 6, 1), (6, 1, 3), (4, 4, 4), (3, 12, 2)] {
        // The last of each zone is the best.
        let of = |count: u8, zone: &'static str| {
            (0..count).map(move |at| server(f64::from(at) / 16.0).label("zone", zone))
        };
        let servers: Vec<_> = of(decoders, "d").chain(of(prefillers, "p")).collect();
        let (decoders, prefillers) = (usize::from(decoders), usize::from(prefillers));
        let all = decoders + prefillers;
        let scene = Scene::new(&servers, 10);
        let terms = Terms {
            ranked,
            ..scene.terms()
        };
        let check = |told: &Value| {
            let shown = [
                checked_count(told, decoders - 1, decoders),
                checked_count(&told["prefill"], all - 1, prefillers),
            ];
            // As many of both, as long as there are.
            let most = shown[0].max(shown[1]);
            assert_eq!(shown, [decoders.min(most), prefillers.min(most)], "{told}");
            shown
        };
        scene.decide_on(split(), terms, |decision| {
            let decision = decision.unwrap();
            for count in 0..=all {
                let bounded = json!(decision.explain().with_candidates(count));
                assert_eq!(
                    check(&bounded),
                    [decoders.min(count), prefillers.min(count)]
                );
            }

            let whole = json!(decision.explain()).to_string().len();
            let beside = json!(decision.explain().with_candidates(1)).to_string();
            // What is reckoned for the next two, and no more than that may be left.
            let two = 2 * r#"{"endpoint":"10.0.0.1:8001","total":0.9375,"#.len()
                + 2 * r#""inFlight":{"requests":0,"tokens":0},"scores":{"total":0.9375}},"#.len()
                + 2 * r#","moreCandidates":1"#.len();
            let mut has_room = false;
            for max_bytes in 0..=whole + 1 {
                let json = decision.explain().to_json(max_bytes);
                assert!(json.len() <= max_bytes.max(2), "{max_bytes}: {json}");
                let told: Value = serde_json::from_str(&json).unwrap();
                if told == json!({}) {
                    assert!(!has_room && max_bytes < 190, "{max_bytes}");
                    continue;
                }
                has_room = true;
                let shown = check(&told);
                let is_all = shown == [decoders, prefillers];
                if told.get("weights").is_some() {
                    checked_totals(&told);
                    checked_totals(&told["prefill"]);
                    assert!(shown[0] > 0, "{max_bytes}: {json}");
                    assert!(
                        is_all || json.len() + two > max_bytes,
                        "{max_bytes}: {json}"
                    );
                } else {
                    // All of it gives way at once, and not before the ones chosen find no room.
                    for part in [&told, &told["prefill"]] {
                        assert!(part.get("leftOut").is_none() && part.get("ranking").is_none());
                    }
                    assert!(max_bytes < beside.len() + two, "{max_bytes}: {json}");
                }
                assert_eq!(is_all && told.get("weights").is_some(), max_bytes >= whole);
            }
        });
    }
}
