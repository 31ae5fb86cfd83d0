//! Who may be chosen, what a decision tells, and why there is none.

use core::net::SocketAddr;

use endpoint_picker::{
    pool::Signal,
    prefix::BlockHash,
    scheduling::{
        Filter, NoCandidate, PrefixCache, PrefixCacheAffinity, Profile, Request, Role, RoleFilter,
        Scheduler, Scheduling, Scorer, Session, SessionForm, Terms,
    },
};
use fastrand::Rng;
use serde_json::json;
use wasm_bindgen_test::wasm_bindgen_test;

use super::{
    scene::{Scene, bare, by_total, filtered, indexes, scored, server, told, waiting, zone},
    support::address,
};

#[wasm_bindgen_test(unsupported = test)]
fn decisions_follow_the_weighted_scores() {
    let weighted =
        |queue, usage| scored([(Scorer::Queue, queue), (Scorer::KvCacheUtilization, usage)]);
    // The first waits least, the second has the most free cache.
    let scene = Scene::new(&[told(0.0, 0.9), told(10.0, 0.1), told(9.0, 0.5)], 0);
    for (profile, expected) in [
        (Profile::default(), 0),
        (weighted(1.0, 0.0), 0),
        (weighted(0.0, 1.0), 1),
        (weighted(1.0, 3.0), 1),
        (weighted(3.0, 1.0), 0),
    ] {
        assert_eq!(scene.choice(profile.clone()), Ok(expected), "{profile:?}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn by_default_the_cache_counts_more_than_a_short_queue() {
    let loads = [told(3.0, 0.5), told(0.0, 0.5)];
    // A queue is 1 of weight, the whole prompt 3.
    for (held, expected) in [(0, 1), (3, 1), (4, 0), (10, 0)] {
        let scene = Scene::new(&loads, 10).holds(0, held);
        assert_eq!(
            scene.choice(Profile::default()),
            Ok(expected),
            "{held} of 10"
        );
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn what_has_set_out_since_the_scrape_spreads_a_burst() {
    let servers: Vec<_> = [0, 3, 0]
        .map(|since| told(1.0, 0.5).in_flight(since, 0))
        .into();
    let scene = Scene::new(&servers, 0);
    assert_ne!(scene.choice(Profile::default()), Ok(1));
    assert_eq!(scene.ranking(Profile::default())[2], 1);
}

/// The indexes of the servers that a hundred decisions choose, inference or not.
fn chosen(scene: &Scene, profile: Profile) -> Vec<usize> {
    let mut scheduler = Scheduler::new(profile);
    let mut rng = Rng::with_seed(3);
    let mut chosen = Vec::new();
    for _ in 0..50 {
        let inference = scheduler.schedule(scene.view(), scene.terms(), &mut rng);
        chosen.extend(inference.ok().map(|it| it.position()));
        let other = scheduler.any_healthy(scene.view(), scene.terms(), &mut rng);
        chosen.extend(other.ok().map(|it| it.position()));
    }
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

#[wasm_bindgen_test(unsupported = test)]
fn the_sick_are_chosen_only_when_no_other_is_there() {
    let (idle, busy) = (told(0.0, 0.0), told(100.0, 1.0));
    for (servers, sick, expected) in [
        (&[&idle, &busy][..], &[0][..], &[1][..]),
        (&[&busy, &busy], &[], &[0, 1]),
        // A pool whose scrapes all fail still serves, and spreads what it serves.
        (&[&idle, &busy, &idle], &[0, 1, 2], &[0, 1, 2]),
        (&[], &[], &[]),
    ] {
        let servers: Vec<_> = servers.iter().copied().cloned().collect();
        let scene = Scene::new(&servers, 0).sick(sick);
        assert_eq!(chosen(&scene, Profile::default()), expected, "{servers:?}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn without_metrics_the_load_in_flight_decides() {
    let servers = |loads: [u32; 3]| loads.map(|load| told(0.0, 0.0).in_flight(load, 0));
    let choice = |scene: Scene, profile| scene.sick(&[0, 1, 2]).choice(profile);
    for (loads, held, expected) in [
        ([2, 1, 3], 0, &[1][..]),
        ([0, 0, 1], 0, &[0, 1]),
        // The weights of queue, cache and adapters count for it, which are 5 to 3.
        ([1, 1, 2], 10, &[2]),
        ([0, 0, 2], 10, &[0, 1]),
    ] {
        let scene = Scene::new(&servers(loads), 10).holds(2, held);
        let choice = choice(scene, Profile::default()).unwrap();
        assert!(expected.contains(&choice), "{loads:?}: {choice}");
    }
    // What needs no metrics counts as ever, and nothing is added to it.
    let prefixes = || scored([(Scorer::PrefixCache(PrefixCache::default()), 1.0)]);
    let scene = Scene::new(&servers([0, 0, 9]), 10).holds(2, 1);
    assert_eq!(choice(scene, prefixes()), Ok(2));
    let scene = Scene::new(&servers([0, 0, 9]), 10).sick(&[0, 1, 2]);
    scene.decide(prefixes(), |decision| {
        let explanation = decision.unwrap().explain();
        assert_eq!(
            json!(explanation.candidates[0].scores),
            json!({"prefix-cache": 0.0})
        );
    });

    let scene = Scene::new(&servers([2, 1, 4]), 0).sick(&[0, 1, 2]);
    let explained = scene.decide(Profile::default(), |it| {
        json!(it.unwrap().explain().candidates[0])
    });
    assert_eq!(
        explained,
        json!({
            "endpoint": "10.0.0.1:8001",
            "total": 6.5,
            "inFlight": {"requests": 2, "tokens": 0},
            "scores": {"active-request": 0.5, "prefix-cache": 0.0, "token-load": 1.0},
        })
    );
}

fn of_role(role: Role) -> Filter {
    let label = "role".to_owned();
    Filter::Role(RoleFilter { label, role })
}

const fn refused(filter: &'static str, saturated: bool) -> Result<usize, NoCandidate> {
    Err(NoCandidate::Filtered { filter, saturated })
}

#[wasm_bindgen_test(unsupported = test)]
fn filters_leave_out_and_refuse() {
    let servers = [
        server(0.9).label("role", "prefill").label("zone", "a"),
        server(0.5)
            .label("zone", "a")
            .tells(Signal::WaitingRequests, 9.0),
        server(0.1)
            .label("zone", "b")
            .tells(Signal::WaitingRequests, 1.0),
    ];
    let affinity = Filter::PrefixCacheAffinity(PrefixCacheAffinity::default());
    let decode = of_role(Role::Decode);
    let scene = |sick: &[usize]| Scene::new(&servers, 10).holds(2, 9).sick(sick);
    for (case, sick, profile, expected) in [
        ("none", &[][..], filtered([]), Ok(0)),
        ("one", &[], filtered([decode.clone()]), Ok(1)),
        (
            "one after the other",
            &[],
            filtered([decode.clone(), zone("b")]),
            Ok(2),
        ),
        (
            "nobody",
            &[],
            filtered([zone("c")]),
            refused("label-selector", false),
        ),
        (
            "nobody left",
            &[],
            filtered([of_role(Role::Prefill), zone("b")]),
            refused("label-selector", false),
        ),
        (
            "the first that leaves none",
            &[],
            filtered([zone("c"), decode.clone()]),
            refused("label-selector", false),
        ),
        ("who has room", &[], filtered([waiting(5.0, false)]), Ok(2)),
        (
            "all are full",
            &[],
            filtered([waiting(0.0, false)]),
            refused("utilization", true),
        ),
        (
            "all are full, and stay",
            &[],
            filtered([waiting(0.0, true)]),
            Ok(0),
        ),
        (
            "who holds the prompt",
            &[],
            filtered([affinity.clone()]),
            Ok(2),
        ),
        (
            "who holds it is no decoder",
            &[],
            filtered([zone("a"), affinity]),
            Ok(0),
        ),
        // The sick take part where none of the others may.
        ("the only one", &[2], filtered([zone("b")]), Ok(2)),
        ("not the only one", &[0], filtered([zone("a")]), Ok(1)),
        (
            "nobody, healthy or not",
            &[2],
            filtered([zone("c")]),
            refused("label-selector", false),
        ),
        (
            "the healthy are full",
            &[0],
            filtered([waiting(0.0, false)]),
            refused("utilization", true),
        ),
        // That nothing is known is no reason to refuse.
        (
            "nobody tells",
            &[0, 1, 2],
            filtered([zone("b"), waiting(0.0, false)]),
            Ok(2),
        ),
    ] {
        assert_eq!(scene(sick).choice(profile), expected, "{case}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn who_was_found_to_fail_comes_last() {
    let servers = [0.5, 1.0, 0.75].map(server);
    for (case, sick, failed, expected) in [
        ("nobody", &[][..], &[][..], &[1, 2, 0][..]),
        ("the best", &[], &[1], &[2, 0]),
        ("all but one", &[], &[1, 2], &[0]),
        ("one of the sick", &[0, 1, 2], &[0, 1], &[2]),
        ("all who are not sick", &[1], &[0, 2], &[1]),
    ] {
        let scene = || Scene::new(&servers, 0).sick(sick).failed(failed);
        assert_eq!(scene().ranking(by_total()), expected, "{case}");
    }
    let all = Scene::new(&servers, 0).failed(&[0, 1, 2]);
    assert_eq!(all.ranking(by_total()).len(), 3);
    let only = Terms {
        subset: Some(&[address(1)]),
        ..all.terms()
    };
    all.decide_on(by_total(), only, |decision| {
        assert_eq!(indexes(&all, &decision.unwrap()), [1]);
    });
}

#[wasm_bindgen_test(unsupported = test)]
fn any_healthy_endpoint_is_of_no_profile() {
    let servers = [server(1.0), server(0.5)];
    let scene = Scene::new(&servers, 0);
    assert_eq!(chosen(&scene, filtered([zone("nowhere")])), [0, 1]);
    let mut scheduler = Scheduler::new(Profile::default());
    let mut rng = Rng::with_seed(1);
    let nobody = Scene::new(&[], 0);
    let decision = scheduler.any_healthy(nobody.view(), nobody.terms(), &mut rng);
    assert_eq!(decision.err(), Some(NoCandidate::Empty));
}

#[wasm_bindgen_test(unsupported = test)]
fn a_subset_is_all_there_is_to_choose_from() {
    let servers = [0.25, 1.0, 0.5, 0.75].map(server);
    let scene = Scene::new(&servers, 0).sick(&[3]);
    let nobody = 7;
    for (subset, expected) in [
        (None, &[1, 2, 0][..]),
        (Some(&[0][..]), &[0]),
        (Some(&[2, 0]), &[2, 0]),
        (Some(&[2, 2, 0, 2]), &[2, 0]),
        (Some(&[nobody, 0]), &[0]),
        (Some(&[0, 3]), &[0]),
        // The only one allowed, healthy or not.
        (Some(&[3]), &[3]),
        (Some(&[nobody]), &[]),
        (Some(&[]), &[]),
    ] {
        let subset: Option<Vec<SocketAddr>> =
            subset.map(|indexes| indexes.iter().copied().map(address).collect());
        let terms = Terms {
            subset: subset.as_deref(),
            ranked: 4,
            ..scene.terms()
        };
        scene.decide_on(by_total(), terms, |decision| match decision {
            Ok(decision) => assert_eq!(indexes(&scene, &decision), expected, "{subset:?}"),
            Err(none) => {
                assert_eq!(none, NoCandidate::Empty);
                assert!(expected.is_empty(), "{subset:?}");
            }
        });
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_decision_tells_what_the_choice_holds() {
    let profile = || scored([(Scorer::PrefixCache(PrefixCache::default()), 1.0)]);
    let look = |scene: Scene, profile: Profile| {
        scene.decide(profile, |decision| {
            let decision = decision.unwrap();
            (decision.uncached_tokens(), decision.is_cold())
        })
    };
    let scene = || Scene::new(&[server(1.0), server(0.5)], 10);
    assert_eq!(look(scene(), profile()), (640, true));
    assert_eq!(look(scene().holds(1, 4), profile()), (640 - 4 * 64, false));
    // The choice holds nothing, another does.
    let both = Profile {
        scorers: [
            by_total().scorers,
            scored([(Scorer::NoHitLru, 0.0)]).scorers,
        ]
        .concat(),
        ..bare()
    };
    assert_eq!(look(scene().holds(1, 4), both), (640, false));
    // Nothing asks who holds what.
    assert_eq!(look(scene().holds(0, 4), by_total()), (640, true));
}

#[wasm_bindgen_test(unsupported = test)]
fn prefixes_are_looked_up_where_something_asks() {
    let affinity = Filter::PrefixCacheAffinity(PrefixCacheAffinity::default());
    for (case, scheduling, expected) in [
        ("default", Scheduling::default(), true),
        ("load alone", scored([(Scorer::Queue, 1.0)]).into(), false),
        ("a filter", filtered([affinity]).into(), true),
        (
            "a second profile",
            Scheduling {
                profiles: vec![bare(), Profile::default()],
                disaggregation: None,
            },
            true,
        ),
    ] {
        assert_eq!(
            Scheduler::new(scheduling).needs_prefixes(),
            expected,
            "{case}"
        );
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn the_client_is_given_its_session() {
    let session = |form| Scorer::SessionAffinity(Session { place: 0, form });
    let scene = Scene::new(&[server(0.5)], 0);
    let given = |profile| scene.decide(profile, |it| it.unwrap().session());
    assert_eq!(given(scored([(session(SessionForm::Token), 1.0)])), Some(0));
    assert_eq!(given(scored([(session(SessionForm::Key), 1.0)])), None);
    assert_eq!(given(Profile::default()), None);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_prompt_without_a_block_is_as_good_as_none() {
    let scene = Scene::new(&[told(0.0, 0.0), told(0.0, 0.5)], 0).asks(Vec::<BlockHash>::new());
    assert_eq!(scene.choice(Profile::default()), Ok(0));
}

#[wasm_bindgen_test(unsupported = test)]
fn a_decision_remembers_nothing_of_another() {
    let one = Scene::new(&[0.5, 0.5, 0.5].map(server), 10).holds(1, 10);
    let other = Scene::new(&[0.25, 1.0].map(server), 0);
    let profile = || Profile {
        filters: vec![waiting(0.0, true)],
        scorers: [
            by_total().scorers,
            scored([(Scorer::PrefixCache(PrefixCache::default()), 1.0)]).scorers,
        ]
        .concat(),
        ..bare()
    };
    let mut rng = Rng::with_seed(1);
    let mut scheduler = Scheduler::new(profile());
    let first = scheduler.schedule(one.view(), one.terms(), &mut rng);
    assert!(!first.unwrap().is_cold());
    let terms = Terms {
        request: Request {
            prompt_tokens: 100,
            ..Request::default()
        },
        ..other.terms()
    };
    let second = scheduler.schedule(other.view(), terms, &mut rng).unwrap();
    assert_eq!((second.uncached_tokens(), second.is_cold()), (100, true));
    let alone = other.decide(profile(), |decision| json!(decision.unwrap().explain()));
    assert_eq!(json!(second.explain()), alone);
}
