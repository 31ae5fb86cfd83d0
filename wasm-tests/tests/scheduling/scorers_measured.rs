//! Scores by signals of any kind, and by times.

use endpoint_picker::{
    pool::Signal::{
        self, Custom, KvCacheUsage, RunningRequests, TimePerOutputToken, TimeToFirstToken,
        WaitingRequests,
    },
    scheduling::{EndpointAttribute, Latency, Scorer},
};
use wasm_bindgen_test::wasm_bindgen_test;

use crate::support::{Server, assert_scores, prompt, scores, unknown};

#[wasm_bindgen_test(unsupported = test)]
fn endpoint_attribute_scores_by_its_place_in_the_range() {
    let (higher, lower) = (true, false);
    let unit = Some((0.0, 1.0));
    let all = Some((f64::MIN, f64::MAX));
    for (range, prefer, values, expected) in [
        (None, lower, &[2.0, 4.0, 10.0][..], &[1.0, 0.75, 0.0][..]),
        (None, higher, &[2.0, 4.0, 10.0], &[0.0, 0.25, 1.0]),
        (None, higher, &[-1.0, 0.0, 1.0], &[0.0, 0.5, 1.0]),
        // All alike, and one alone.
        (None, lower, &[3.0, 3.0], &[1.0, 1.0]),
        (None, higher, &[3.0], &[1.0]),
        (None, higher, &[], &[]),
        (
            Some((0.0, 20.0)),
            lower,
            &[2.0, 4.0, 10.0],
            &[0.9, 0.8, 0.5],
        ),
        (
            Some((0.0, 20.0)),
            higher,
            &[2.0, 4.0, 10.0],
            &[0.1, 0.2, 0.5],
        ),
        // Beyond the range it is at its end.
        (unit, higher, &[-3.0, 0.5, 3.0], &[0.0, 0.5, 1.0]),
        (unit, lower, &[-3.0, 0.5, 3.0], &[1.0, 0.5, 0.0]),
        (unit, lower, &[0.25], &[0.75]),
        // What is not told scores 0 and is not of the range.
        (None, lower, &[f64::NAN, 2.0, 4.0], &[0.0, 1.0, 0.0]),
        (None, higher, &[f64::INFINITY, 2.0, 4.0], &[0.0, 0.0, 1.0]),
        (unit, lower, &[f64::NAN, 0.0], &[0.0, 1.0]),
        (None, lower, &[f64::NAN, f64::NAN], &[0.0, 0.0]),
        (None, higher, &[f64::MIN, 0.0, f64::MAX], &[0.0, 0.5, 1.0]),
        (all, lower, &[f64::MIN, 0.0, f64::MAX], &[1.0, 0.5, 0.0]),
    ] {
        let scorer = Scorer::EndpointAttribute(EndpointAttribute {
            name: "x".to_owned(),
            signal: Custom(3),
            range,
            higher_is_better: prefer,
        });
        let servers: Vec<_> = values.iter().map(|&v| Server::told(Custom(3), v)).collect();
        let found = scores(&scorer, &servers, unknown());
        assert_scores(&found, expected, &format!("{range:?} {prefer} {values:?}"));
    }
}

fn times(ttft: f64, tpot: f64) -> Server {
    Server::told(TimeToFirstToken, ttft).tells(TimePerOutputToken, tpot)
}

fn latency(ttft_weight: f64, tpot_weight: f64) -> Scorer {
    Scorer::Latency(Latency {
        ttft_weight,
        tpot_weight,
    })
}

#[wasm_bindgen_test(unsupported = test)]
fn latency_scores_by_both_times() {
    for (weights, measured, expected) in [
        // One shortest in both, one longest in both.
        (
            (0.8, 0.2),
            &[(0.1, 0.01), (0.3, 0.02), (0.5, 0.05)][..],
            &[1.0, 0.55, 0.0][..],
        ),
        // Each the shortest in one.
        ((0.8, 0.2), &[(0.1, 0.05), (0.5, 0.01)], &[0.8, 0.2]),
        ((1.0, 3.0), &[(0.1, 0.05), (0.5, 0.01)], &[0.25, 0.75]),
        ((1.0, 0.0), &[(0.1, 0.05), (0.5, 0.01)], &[1.0, 0.0]),
        ((0.0, 1.0), &[(0.1, 0.05), (0.5, 0.01)], &[0.0, 1.0]),
        // Weights whose shares round to more than 1.
        ((0.1, 4.3), &[(0.1, 0.01), (0.5, 0.05)], &[1.0, 0.0]),
        // What sets nobody apart does not count.
        (
            (0.8, 0.2),
            &[(0.1, 0.05), (0.1, 0.01), (0.1, 0.03)],
            &[0.0, 1.0, 0.5],
        ),
        ((0.8, 0.2), &[(0.1, 0.05), (0.5, 0.05)], &[1.0, 0.0]),
        ((0.8, 0.2), &[(0.1, 0.05), (0.1, 0.05)], &[1.0, 1.0]),
        ((0.8, 0.2), &[(0.1, 0.05)], &[1.0]),
        ((0.8, 0.2), &[(0.0, f64::MAX), (f64::MAX, 0.0)], &[0.8, 0.2]),
        // Not told is the worst, and not told at all is nothing.
        ((0.8, 0.2), &[(f64::NAN, 0.01), (0.1, 0.05)], &[0.2, 0.8]),
        (
            (0.8, 0.2),
            &[(f64::NAN, f64::NAN), (0.1, 0.05)],
            &[0.0, 1.0],
        ),
        ((0.8, 0.2), &[(0.1, f64::NAN), (0.5, f64::NAN)], &[1.0, 0.0]),
    ] {
        let servers: Vec<_> = measured
            .iter()
            .map(|&(ttft, tpot)| times(ttft, tpot))
            .collect();
        let found = scores(&latency(weights.0, weights.1), &servers, unknown());
        assert_scores(&found, expected, &format!("{weights:?} {measured:?}"));
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn who_has_nothing_to_do_is_taken_for_the_quickest() {
    let idle = |server: Server| {
        server
            .tells(RunningRequests, 0.0)
            .tells(WaitingRequests, 0.0)
    };
    let unmeasured = || Server::silent().unmeasured(TimeToFirstToken);
    let stale = || Server::silent().told_long_ago(TimeToFirstToken, 9.0);
    for (case, server, expected) in [
        ("unmeasured and idle", idle(unmeasured()), 1.0),
        ("stale and idle", idle(stale()), 1.0),
        (
            "measured and idle",
            idle(Server::told(TimeToFirstToken, 0.5)),
            0.0,
        ),
        ("missing and idle", idle(Server::silent()), 0.0),
        (
            "not a number and idle",
            idle(Server::told(TimeToFirstToken, f64::NAN)),
            0.0,
        ),
        ("unmeasured", unmeasured(), 0.0),
        (
            "unmeasured and sent to",
            idle(unmeasured()).in_flight(1, 0),
            0.0,
        ),
        (
            "stale and running",
            idle(stale()).tells(RunningRequests, 1.0),
            0.0,
        ),
        (
            "stale and waiting",
            idle(stale()).tells(WaitingRequests, 1.0),
            0.0,
        ),
    ] {
        let measured = |ttft| Server::told(TimeToFirstToken, ttft);
        let found = scores(
            &latency(1.0, 0.0),
            &[server, measured(0.1), measured(0.5)],
            unknown(),
        );
        assert_scores(&found, &[expected, 1.0, 0.0], case);
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn without_any_time_what_else_is_known_counts() {
    let server = |usage, waiting, holds| {
        Server::told(KvCacheUsage, usage)
            .tells(WaitingRequests, waiting)
            .holds(holds)
    };
    for (servers, expected) in [
        (
            vec![
                server(0.5, 0.0, 5),
                server(0.0, 4.0, 0),
                server(1.0, 1.0, 10),
            ],
            &[(0.5 + 1.0 + 0.5) / 3.0, 1.0 / 3.0, (0.75 + 1.0) / 3.0][..],
        ),
        // Nobody has anything waiting.
        (
            vec![server(0.0, 0.0, 0), server(1.0, 0.0, 0)],
            &[2.0 / 3.0, 1.0 / 3.0],
        ),
        // In the queue what was sent since the scrape counts too.
        (
            vec![server(1.0, 0.0, 0).in_flight(4, 0), server(1.0, 8.0, 0)],
            &[0.5 / 3.0, 0.0],
        ),
        (
            vec![Server::silent(), Server::silent().holds(10)],
            &[0.0, 1.0 / 3.0],
        ),
        (
            vec![server(f64::NAN, f64::NAN, 0), server(0.0, 0.0, 10)],
            &[0.0, 1.0],
        ),
        (vec![server(0.0, f64::MAX, u32::MAX)], &[2.0 / 3.0]),
        // No share, and nothing free.
        (vec![server(f64::MIN, f64::MAX, u32::MAX)], &[1.0 / 3.0]),
        (vec![], &[]),
        // Times that do not count are none.
        (
            vec![server(0.0, 0.0, 0).tells(TimePerOutputToken, 9.0)],
            &[2.0 / 3.0],
        ),
    ] {
        let found = scores(&latency(1.0, 0.0), &servers, prompt(10));
        assert_scores(&found, expected, &format!("{servers:?}"));
    }
    // Nor is anything of a prompt in the cache that is none.
    let found = scores(&latency(1.0, 0.0), &[server(0.0, 0.0, 0)], unknown());
    assert_scores(&found, &[2.0 / 3.0], "no prompt");
}

#[wasm_bindgen_test(unsupported = test)]
fn scorers_need_what_they_read() {
    let names = |scorer: &Scorer| scorer.signals().signals.to_vec();
    for (scorer, expected) in [
        (Scorer::Queue, &[WaitingRequests][..]),
        (Scorer::RunningRequests, &[RunningRequests]),
        (Scorer::KvCacheUtilization, &[KvCacheUsage]),
        (Scorer::NoHitLru, &[]),
        (latency(0.8, 0.2), &[TimeToFirstToken, TimePerOutputToken]),
        (latency(0.8, 0.0), &[TimeToFirstToken]),
        (latency(0.0, 0.2), &[TimePerOutputToken]),
        (
            Scorer::EndpointAttribute(EndpointAttribute {
                name: "x".to_owned(),
                signal: Signal::Custom(7),
                range: None,
                higher_is_better: false,
            }),
            &[Custom(7)],
        ),
    ] {
        assert_eq!(names(&scorer), expected, "{}", scorer.name());
        assert!(!scorer.signals().lora, "{}", scorer.name());
    }
    assert!(Scorer::LoraAffinity.signals().lora);
}
