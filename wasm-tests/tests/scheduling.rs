//! Scores by their formulas, and the decisions that follow.

use core::time::Duration;
use std::net::SocketAddr;

use endpoint_picker::{
    discovery::DiscoveredEndpoint,
    pool::{EndpointMetrics, Freshness, Pool, Signal},
    scheduling::{Decision, Profile, Scheduler, Scorer, Terms, WeightedScorer},
    time::Timestamp,
};
use fastrand::Rng;
use wasm_bindgen_test::wasm_bindgen_test;

const NOW: Timestamp = Timestamp::from_millis(100_000);
const FRESHNESS: Freshness = Freshness {
    now: NOW,
    stale_after: Duration::from_secs(2),
};
const LONG_AGO: Timestamp = Timestamp::from_millis(90_000);

/// What a scrape of one endpoint found: waiting requests and KV-cache usage, and when.
#[derive(Debug, Clone, Copy)]
struct Scrape(Option<f64>, Option<f64>, Timestamp);

const fn scrape(waiting: f64, kv_cache_usage: f64) -> Option<Scrape> {
    Some(Scrape(Some(waiting), Some(kv_cache_usage), NOW))
}

fn address(index: usize) -> SocketAddr {
    let port = u16::try_from(8001 + index).unwrap_or(u16::MAX);
    SocketAddr::from(([10, 0, 0, 1], port))
}

fn pool(scrapes: &[Option<Scrape>]) -> Pool {
    let endpoints: Vec<_> = (0..scrapes.len())
        .map(|index| DiscoveredEndpoint::at(address(index)))
        .collect();
    let mut pool = Pool::new(&endpoints);
    for (index, scrape) in scrapes.iter().enumerate() {
        let Some(Scrape(waiting, kv_cache_usage, at)) = *scrape else {
            continue;
        };
        let mut metrics = EndpointMetrics::default();
        for (signal, value) in [
            (Signal::WaitingRequests, waiting),
            (Signal::KvCacheUsage, kv_cache_usage),
        ] {
            if let Some(value) = value {
                metrics.observe(signal, value, at);
            }
        }
        pool.record(address(index), metrics, at);
    }
    pool
}

/// Decides on `scrapes` and looks at the decision.
fn decide<T>(
    profile: Profile,
    scrapes: &[Option<Scrape>],
    look: impl FnOnce(Option<Decision<'_>>) -> T,
) -> T {
    let pool = pool(scrapes);
    let mut scheduler = Scheduler::new(profile);
    look(scheduler.schedule(&pool, FRESHNESS, &mut Rng::with_seed(1)))
}

fn only(scorer: Scorer) -> Profile {
    Profile {
        scorers: vec![WeightedScorer {
            scorer,
            weight: 1.0,
        }],
        ..Profile::default()
    }
}

/// The scores of one scorer alone, in the endpoints' order.
fn scores(scorer: Scorer, scrapes: &[Option<Scrape>]) -> Vec<f64> {
    decide(only(scorer), scrapes, |decision| {
        decision.map_or_else(Vec::new, |decision| {
            let explanation = decision.explain();
            explanation.candidates.iter().map(|c| c.total).collect()
        })
    })
}

#[wasm_bindgen_test(unsupported = test)]
fn queue_scores_by_its_formula() {
    let queues = |waiting: &[f64]| -> Vec<_> {
        let scrapes: Vec<_> = waiting.iter().map(|&w| scrape(w, 0.0)).collect();
        scores(Scorer::Queue, &scrapes)
    };
    for (waiting, expected) in [
        (&[0.0, 5.0, 10.0][..], &[1.0, 0.5, 0.0][..]),
        (&[3.0, 4.0], &[1.0, 0.0]),
        (&[10.0, 2.0, 6.0, 2.0], &[0.0, 1.0, 0.5, 1.0]),
        (&[0.0, 0.0], &[1.0, 1.0]),
        (&[7.0, 7.0, 7.0], &[1.0, 1.0, 1.0]),
        (&[7.0], &[1.0]),
    ] {
        assert_eq!(queues(waiting), expected, "{waiting:?}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn kv_cache_utilization_scores_by_its_formula() {
    for (usage, expected) in [
        (0.0, 1.0),
        (0.25, 0.75),
        (1.0, 0.0),
        // Out of its range the signal is clamped to it.
        (1.5, 0.0),
        (-0.5, 1.0),
    ] {
        let scrapes = [scrape(0.0, usage)];
        assert_eq!(
            scores(Scorer::KvCacheUtilization, &scrapes),
            [expected],
            "{usage}"
        );
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn what_is_not_known_scores_worst() {
    let busy = Some(Scrape(Some(50.0), Some(0.9), NOW));
    let busier = Some(Scrape(Some(60.0), Some(0.99), NOW));
    for (case, unknown) in [
        ("missing", Some(Scrape(None, None, NOW))),
        ("NaN", Some(Scrape(Some(f64::NAN), Some(f64::NAN), NOW))),
        (
            "infinite",
            Some(Scrape(Some(f64::NEG_INFINITY), Some(f64::INFINITY), NOW)),
        ),
    ] {
        let scrapes = [unknown, busy, busier];
        assert_eq!(scores(Scorer::Queue, &scrapes), [0.0, 1.0, 0.0], "{case}");
        let kv = scores(Scorer::KvCacheUtilization, &scrapes);
        assert_eq!(kv.first(), Some(&0.0), "{case}");
        let picked = decide(Profile::default(), &scrapes, |decision| {
            decision.map(|decision| decision.endpoint().address())
        });
        assert_eq!(picked, Some(address(1)), "{case}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn decisions_follow_the_weighted_scores() {
    let weighted = |queue, kv_cache_utilization| Profile {
        scorers: vec![
            WeightedScorer {
                scorer: Scorer::Queue,
                weight: queue,
            },
            WeightedScorer {
                scorer: Scorer::KvCacheUtilization,
                weight: kv_cache_utilization,
            },
        ],
        ..Profile::default()
    };
    // The first waits least, the second has the most free cache.
    let scrapes = [scrape(0.0, 0.9), scrape(10.0, 0.1), scrape(9.0, 0.5)];
    for (profile, expected) in [
        (Profile::default(), 0),
        (weighted(1.0, 0.0), 0),
        (weighted(0.0, 1.0), 1),
        (weighted(1.0, 3.0), 1),
        (weighted(3.0, 1.0), 0),
    ] {
        let picked = decide(profile.clone(), &scrapes, |decision| {
            decision.map(|decision| decision.endpoint().address())
        });
        assert_eq!(picked, Some(address(expected)), "{profile:?}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn the_explanation_names_every_score() {
    let scrapes = [scrape(0.0, 0.5), scrape(4.0, 0.25)];
    let json = decide(Profile::default(), &scrapes, |decision| {
        decision.map(|decision| serde_json::json!(decision.explain()))
    });
    assert_eq!(
        json,
        Some(serde_json::json!({
            "endpoint": "10.0.0.1:8001",
            "ranking": ["10.0.0.1:8001"],
            "candidates": [
                {
                    "endpoint": "10.0.0.1:8001",
                    "total": 3.0,
                    "scores": {"queue": 1.0, "kv-cache-utilization": 0.5},
                },
                {
                    "endpoint": "10.0.0.1:8002",
                    "total": 1.5,
                    "scores": {"queue": 0.0, "kv-cache-utilization": 0.75},
                },
            ],
        }))
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn unhealthy_endpoints_are_chosen_only_when_no_other_is_there() {
    let healthy_and_busy = scrape(100.0, 1.0);
    let stale_and_idle = Some(Scrape(Some(0.0), Some(0.0), LONG_AGO));
    let picked = |scrapes: &[Option<Scrape>]| -> Vec<usize> {
        let pool = pool(scrapes);
        let mut scheduler = Scheduler::new(Profile::default());
        let mut rng = Rng::with_seed(3);
        let mut seen = Vec::new();
        for _ in 0..100 {
            let inference = scheduler
                .schedule(&pool, FRESHNESS, &mut rng)
                .map(|decision| decision.endpoint().address());
            let other = scheduler
                .any_healthy(&pool, FRESHNESS, &mut rng)
                .map(|decision| decision.endpoint().address());
            for index in 0..scrapes.len() {
                if [inference, other].contains(&Some(address(index))) && !seen.contains(&index) {
                    seen.push(index);
                }
            }
        }
        seen.sort_unstable();
        seen
    };
    for (scrapes, expected) in [
        (&[None, stale_and_idle, healthy_and_busy][..], &[2][..]),
        (&[healthy_and_busy, healthy_and_busy], &[0, 1]),
        // A pool whose scrapes all fail still serves, and spreads what it serves.
        (&[None, stale_and_idle, None], &[0, 1, 2]),
        (&[], &[]),
    ] {
        assert_eq!(picked(scrapes), expected, "{scrapes:?}");
    }
}

/// The ranking of `ranked` of `scrapes`, by their indexes, where only `subset` may be chosen.
fn ranking(scrapes: &[Option<Scrape>], subset: Option<&[usize]>, ranked: usize) -> Vec<usize> {
    let pool = pool(scrapes);
    let subset: Option<Vec<_>> =
        subset.map(|indexes| indexes.iter().copied().map(address).collect());
    let terms = Terms {
        freshness: FRESHNESS,
        subset: subset.as_deref(),
        ranked,
    };
    let mut scheduler = Scheduler::new(Profile::default());
    let decision = scheduler.schedule(&pool, terms, &mut Rng::with_seed(1));
    let Some(decision) = decision else {
        return Vec::new();
    };
    let first = decision.ranking().next().map(|endpoint| endpoint.address());
    assert_eq!(first, Some(decision.endpoint().address()));
    let index = |address| {
        pool.endpoints()
            .iter()
            .position(|it| it.address() == address)
    };
    decision
        .ranking()
        .filter_map(|endpoint| index(endpoint.address()))
        .collect()
}

#[wasm_bindgen_test(unsupported = test)]
fn the_ranking_goes_from_the_best_to_the_worst() {
    let scrapes = [9.0, 0.0, 5.0, 2.0].map(|waiting| scrape(waiting, 0.5));
    for (ranked, expected) in [
        // There is always a choice.
        (0, &[1][..]),
        (1, &[1]),
        (3, &[1, 3, 2]),
        (4, &[1, 3, 2, 0]),
        (9, &[1, 3, 2, 0]),
    ] {
        assert_eq!(ranking(&scrapes, None, ranked), expected, "{ranked}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn who_is_unhealthy_is_not_ranked_behind_the_others() {
    let stale = Some(Scrape(Some(0.0), Some(0.0), LONG_AGO));
    let scrapes = [scrape(9.0, 0.5), stale, scrape(1.0, 0.5), None];
    assert_eq!(ranking(&scrapes, None, 4), [2, 0]);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_subset_is_all_there_is_to_choose_from() {
    let stale = Some(Scrape(Some(0.0), Some(0.0), LONG_AGO));
    let scrapes = [scrape(9.0, 0.5), scrape(0.0, 0.5), scrape(5.0, 0.5), stale];
    let nobody = 7;
    for (subset, expected) in [
        (&[0][..], &[0][..]),
        (&[2, 0], &[2, 0]),
        (&[2, 2, 0, 2], &[2, 0]),
        (&[nobody, 0], &[0]),
        (&[0, 3], &[0]),
        // The only one allowed, healthy or not.
        (&[3], &[3]),
        (&[nobody], &[]),
        (&[], &[]),
    ] {
        assert_eq!(ranking(&scrapes, Some(subset), 4), expected, "{subset:?}");
    }
}
