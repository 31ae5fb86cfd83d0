//! What is told of why.

use endpoint_picker::scheduling::{
    ActiveRequest, LoadAware, Picker, Profile, Scheduler, Scorer, Terms,
};
use fastrand::Rng;
use serde_json::json;
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
    let candidates = scene.decide(profile, |decision| {
        json!(decision.unwrap().explain())["candidates"].clone()
    });
    assert_eq!(
        candidates[1]["scores"],
        json!({"load-aware": 0.484_375, "load-aware#2": 0.25, "load-aware#3": 0.0, "queue": 0.0})
    );
    assert_eq!(candidates[1]["total"], json!(0.984_375));
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
