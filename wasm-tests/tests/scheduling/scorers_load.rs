//! Scores by what servers have to do.

use endpoint_picker::{
    pool::Signal,
    scheduling::{ActiveRequest, LoadAware, Scorer, TokenLoad},
};
use wasm_bindgen_test::wasm_bindgen_test;

use crate::support::{Server, assert_scores, prompt, scores, unknown};

const COUNTS: [(Scorer, Signal); 2] = [
    (Scorer::Queue, Signal::WaitingRequests),
    (Scorer::RunningRequests, Signal::RunningRequests),
];

#[wasm_bindgen_test(unsupported = test)]
fn the_fewest_requests_score_by_their_place_between_the_fewest_and_the_most() {
    for (scorer, signal) in COUNTS {
        for (counts, expected) in [
            (&[0.0, 5.0, 10.0][..], &[1.0, 0.5, 0.0][..]),
            (&[3.0, 4.0], &[1.0, 0.0]),
            (&[10.0, 2.0, 6.0, 2.0], &[0.0, 1.0, 0.5, 1.0]),
            (&[0.0, 0.0], &[1.0, 1.0]),
            (&[7.0, 7.0, 7.0], &[1.0, 1.0, 1.0]),
            (&[7.0], &[1.0]),
            (&[], &[]),
            // No count, but told.
            (&[0.0, f64::MAX, f64::MAX / 2.0], &[1.0, 0.0, 0.5]),
            (&[f64::MAX, f64::MAX], &[1.0, 1.0]),
            (&[-4.0, 0.0, 4.0], &[1.0, 1.0, 0.0]),
        ] {
            let servers: Vec<_> = counts.iter().map(|&c| Server::told(signal, c)).collect();
            assert_eq!(
                scores(&scorer, &servers, unknown()),
                expected,
                "{} {counts:?}",
                scorer.name()
            );
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn what_set_out_and_ended_since_the_scrape_counts() {
    // Requests told, in flight, and in flight at the scrape.
    let server = |signal, (told, in_flight, at_scrape)| {
        Server::told(signal, told)
            .in_flight(in_flight, 0)
            .at_scrape(at_scrape)
    };
    for (scorer, signal) in COUNTS {
        for (servers, expected) in [
            // A burst makes an idle endpoint the busiest.
            (
                &[(0.0, 10, 0), (5.0, 0, 0), (10.0, 0, 0)][..],
                &[0.0, 1.0, 0.0][..],
            ),
            // What was there at the scrape is told already.
            (&[(4.0, 4, 4), (0.0, 0, 0)], &[0.0, 1.0]),
            (&[(4.0, 4, 4), (4.0, 0, 0)], &[1.0, 1.0]),
            // What has ended is told still.
            (&[(4.0, 0, 4), (2.0, 0, 0)], &[1.0, 0.0]),
            // More ended than was waiting: it was running.
            (&[(1.0, 0, 9), (0.0, 0, 0), (2.0, 0, 0)], &[1.0, 1.0, 0.0]),
        ] {
            let servers: Vec<_> = servers.iter().map(|&it| server(signal, it)).collect();
            let found = scores(&scorer, &servers, unknown());
            assert_eq!(found, expected, "{} {servers:?}", scorer.name());
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn kv_cache_utilization_scores_what_is_free() {
    for (usage, expected) in [
        (0.0, 1.0),
        (0.25, 0.75),
        (1.0, 0.0),
        // Rounded past its range the signal is clamped to it.
        (1.005, 0.0),
        (-0.005, 1.0),
        // Out of its range it is none, and scores worst.
        (1.5, 0.0),
        (-0.5, 0.0),
        (f64::MAX, 0.0),
        (f64::MIN, 0.0),
    ] {
        let servers = [Server::told(Signal::KvCacheUsage, usage).in_flight(7, 7)];
        let found = scores(&Scorer::KvCacheUtilization, &servers, unknown());
        assert_eq!(found, [expected], "{usage}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn what_is_not_known_scores_worst() {
    for (scorer, signal, [busy, busier], expected) in [
        (
            Scorer::Queue,
            Signal::WaitingRequests,
            [50.0, 60.0],
            [1.0, 0.0],
        ),
        (
            Scorer::RunningRequests,
            Signal::RunningRequests,
            [50.0, 60.0],
            [1.0, 0.0],
        ),
        (
            Scorer::KvCacheUtilization,
            Signal::KvCacheUsage,
            [0.75, 1.0],
            [0.25, 0.0],
        ),
        (
            Scorer::LoadAware(LoadAware { threshold: 100 }),
            Signal::WaitingRequests,
            [50.0, 60.0],
            [0.25, 0.2],
        ),
    ] {
        for (case, unknown_one) in [
            ("missing", Server::silent()),
            ("NaN", Server::told(signal, f64::NAN)),
            ("infinite", Server::told(signal, f64::NEG_INFINITY)),
            ("stale", Server::silent().told_long_ago(signal, 0.0)),
            ("unmeasured", Server::silent().unmeasured(signal)),
            ("missing, with requests", Server::silent().in_flight(1, 1)),
        ] {
            let servers = [
                unknown_one,
                Server::told(signal, busy),
                Server::told(signal, busier),
            ];
            let found = scores(&scorer, &servers, unknown());
            let case = format!("{} {case}", scorer.name());
            assert_scores(&found, &[&[0.0], &expected[..]].concat(), &case);
            // Alone it is no better.
            assert_eq!(scores(&scorer, &servers[..1], unknown()), [0.0], "{case}");
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn active_request_scores_by_what_is_in_flight() {
    for (idle_threshold, max_busy_score, in_flight, expected) in [
        (0, 1.0, &[0, 5, 10][..], &[1.0, 0.5, 0.0][..]),
        (0, 1.0, &[0, 0], &[1.0, 1.0]),
        (0, 1.0, &[10, 5], &[0.0, 0.5]),
        (0, 1.0, &[3], &[0.0]),
        (0, 1.0, &[], &[]),
        // Up to the threshold it is idle, whoever is there; beyond it the busiest measures the rest.
        (2, 0.5, &[0, 2, 3, 12], &[1.0, 1.0, 0.375, 0.0]),
        (2, 0.5, &[1, 2], &[1.0, 1.0]),
        (0, 0.0, &[0, 1, 2], &[1.0, 0.0, 0.0]),
        (0, 1.0, &[u32::MAX, 0], &[0.0, 1.0]),
        (u32::MAX, 1.0, &[u32::MAX, 0], &[1.0, 1.0]),
    ] {
        let scorer = Scorer::ActiveRequest(ActiveRequest {
            idle_threshold,
            max_busy_score,
        });
        let server = |&requests: &u32| Server::silent().in_flight(requests, 9).at_scrape(requests);
        let servers: Vec<_> = in_flight.iter().map(server).collect();
        let case = format!("{scorer:?} {in_flight:?}");
        assert_scores(&scores(&scorer, &servers, unknown()), expected, &case);
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn token_load_scores_by_the_tokens_to_read() {
    let scorer = |queue_threshold_tokens| {
        Scorer::TokenLoad(TokenLoad {
            queue_threshold_tokens,
        })
    };
    // Of a prompt of ten blocks of 64 tokens: blocks that are cached, and tokens in flight.
    for (threshold, servers, expected) in [
        (
            1000,
            &[(0, 0), (0, 360), (0, 1000)][..],
            &[0.36, 0.0, 0.0][..],
        ),
        (1280, &[(10, 0), (5, 0), (0, 0)], &[1.0, 0.75, 0.5]),
        (1280, &[(10, 640), (0, 640)], &[0.5, 0.0]),
        (1280, &[(99, 320)], &[0.75]),
        (u64::MAX, &[(0, u64::MAX), (10, 0)], &[0.0, 1.0]),
        (1, &[(10, 0), (10, 1), (0, 0)], &[1.0, 0.0, 0.0]),
    ] {
        let server =
            |&(holds, tokens): &(u32, u64)| Server::silent().holds(holds).in_flight(1, tokens);
        let servers: Vec<_> = servers.iter().map(server).collect();
        let found = scores(&scorer(threshold), &servers, prompt(10));
        assert_scores(&found, expected, &format!("{threshold} {servers:?}"));
    }
    // Nothing to read, and no token in flight.
    let idle = [Server::silent().in_flight(3, 0), Server::silent()];
    assert_eq!(scores(&scorer(4_194_304), &idle, unknown()), [1.0, 1.0]);
}

#[wasm_bindgen_test(unsupported = test)]
fn load_aware_scores_by_its_threshold() {
    for (threshold, waiting, since, expected) in [
        (128, 0.0, 0, 0.5),
        (128, 64.0, 0, 0.25),
        (128, 128.0, 0, 0.0),
        (128, 1000.0, 0, 0.0),
        (128, f64::MAX, 0, 0.0),
        (128, -3.0, 0, 0.5),
        (128, 32.0, 32, 0.25),
        (1, 1.0, 0, 0.0),
        (u32::MAX, 0.0, 0, 0.5),
    ] {
        let scorer = Scorer::LoadAware(LoadAware { threshold });
        let servers = [Server::told(Signal::WaitingRequests, waiting).in_flight(since, 0)];
        assert_eq!(
            scores(&scorer, &servers, unknown()),
            [expected],
            "{threshold} {waiting}"
        );
    }
}
