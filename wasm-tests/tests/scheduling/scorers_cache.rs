//! Scores by what servers have read.

use endpoint_picker::{
    pool::Signal::{RunningRequests, WaitingRequests},
    scheduling::{LoadBand, PrefixCache, Request, Scorer},
};
use wasm_bindgen_test::wasm_bindgen_test;

use crate::support::{Server, assert_scores, prompt, scores, scores_after, unknown};

/// No load is beyond it.
const ANY_LOAD: LoadBand = LoadBand {
    requests: u32::MAX,
    ratio: 1.0,
};

fn holding(blocks: &[u32]) -> Vec<Server> {
    blocks
        .iter()
        .map(|&blocks| Server::silent().holds(blocks))
        .collect()
}

#[wasm_bindgen_test(unsupported = test)]
fn prefix_cache_scores_by_the_share_and_the_length_of_the_match() {
    // In blocks of 64 tokens.
    for (weight, scale, total, matched, expected) in [
        (0.0, 8192, 10, &[0, 5, 10][..], &[0.0, 0.5, 1.0][..]),
        (0.0, 8192, 3, &[1], &[1.0 / 3.0]),
        // L is 0.5, 1 and, of twice the scale, 1.
        (1.0, 1280, 40, &[10, 20, 40], &[0.25, 1.0, 1.0]),
        (0.25, 1280, 40, &[10, 20, 40, 0], &[0.25, 0.625, 1.0, 0.0]),
        (0.25, 1280, 80, &[40], &[0.625]),
        (0.0, 8192, 0, &[0, 0], &[0.0, 0.0]),
        (0.5, 8192, 10, &[0, 0], &[0.0, 0.0]),
        (0.0, 8192, 10, &[], &[]),
        // More than it can be, and the least scale.
        (0.5, 1, 2, &[u32::MAX], &[1.0]),
        (1.0, 0, 2, &[1], &[1.0]),
        (0.5, u32::MAX, 4096, &[4096], &[0.5]),
    ] {
        let scorer = Scorer::PrefixCache(PrefixCache {
            match_length_weight: weight,
            match_length_scale_tokens: scale,
            band: ANY_LOAD,
        });
        let found = scores(&scorer, &holding(matched), prompt(total));
        let found: Vec<_> = found
            .iter()
            .map(|score| (score * 1e6).round() / 1e6)
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|score| (score * 1e6_f64).round() / 1e6)
            .collect();
        assert_eq!(found, expected, "{weight} {scale} {total} {matched:?}");
    }
    // It has matched, and is no prompt.
    let scorer = Scorer::PrefixCache(PrefixCache::default());
    assert_eq!(scores(&scorer, &holding(&[3, 0]), unknown()), [0.0, 0.0]);
}

#[wasm_bindgen_test(unsupported = test)]
fn affinity_ends_where_the_load_is_beyond_the_band() {
    let running = |requests: f64| Server::told(RunningRequests, requests);
    let both =
        |waiting, running| Server::told(WaitingRequests, waiting).tells(RunningRequests, running);
    let sent = |requests| Server::silent().in_flight(requests, 0);
    let (inside, beyond) = (1.0, 0.0);
    for (case, requests, ratio, servers, expected) in [
        // At the band's edge, and a request beyond it.
        ("requests", 4, 1.0, vec![running(6.0), running(2.0)], inside),
        ("requests", 4, 1.0, vec![running(7.0), running(2.0)], beyond),
        ("ratio", 0, 1.5, vec![running(30.0), running(20.0)], inside),
        ("ratio", 0, 1.5, vec![running(31.0), running(20.0)], beyond),
        (
            "the wider of both",
            4,
            1.5,
            vec![running(30.0), running(20.0)],
            inside,
        ),
        (
            "the wider of both",
            20,
            1.5,
            vec![running(30.0), running(10.0)],
            inside,
        ),
        (
            "the least of all",
            4,
            1.0,
            vec![running(7.0), running(9.0), running(2.0)],
            beyond,
        ),
        ("no band", 0, 1.0, vec![running(2.0), running(2.0)], inside),
        ("no band", 0, 1.0, vec![running(3.0), running(2.0)], beyond),
        ("alone", 0, 1.0, vec![running(1000.0)], inside),
        // Load is all there is to do, as of this moment.
        (
            "waiting and running",
            4,
            1.0,
            vec![both(4.0, 3.0), both(1.0, 1.0)],
            beyond,
        ),
        (
            "waiting and running",
            4,
            1.0,
            vec![both(4.0, 2.0), both(1.0, 1.0)],
            inside,
        ),
        (
            "only waiting",
            4,
            1.0,
            vec![Server::told(WaitingRequests, 7.0), running(2.0)],
            beyond,
        ),
        (
            "sent since",
            4,
            1.0,
            vec![running(4.0).in_flight(5, 0).at_scrape(2), running(2.0)],
            beyond,
        ),
        (
            "sent once",
            4,
            1.0,
            vec![both(2.0, 3.0).in_flight(1, 0), both(1.0, 1.0)],
            inside,
        ),
        (
            "ended since",
            4,
            1.0,
            vec![running(9.0).at_scrape(3), running(2.0)],
            inside,
        ),
        (
            "not told yet",
            4,
            1.0,
            vec![running(0.0).in_flight(7, 0).at_scrape(7), running(2.0)],
            beyond,
        ),
        // Where nobody tells, what is in flight counts.
        ("in flight", 4, 1.0, vec![sent(6), sent(2)], inside),
        ("in flight", 4, 1.0, vec![sent(7), sent(2)], beyond),
        // Who tells nothing is not taken for idle.
        (
            "the other is silent",
            4,
            1.0,
            vec![running(6.0), running(2.0), sent(0)],
            inside,
        ),
        (
            "the other is silent",
            4,
            1.0,
            vec![running(6.0), sent(0)],
            inside,
        ),
        ("it is silent", 4, 1.0, vec![sent(7), running(2.0)], beyond),
        (
            "huge",
            4,
            1.5,
            vec![running(f64::MAX), running(1.0)],
            beyond,
        ),
        (
            "huge",
            4,
            1.5,
            vec![running(f64::MAX), running(f64::MAX)],
            inside,
        ),
        (
            "NaN",
            4,
            1.5,
            vec![running(f64::NAN), running(f64::NAN)],
            inside,
        ),
    ] {
        let scorer = Scorer::PrefixCache(PrefixCache {
            band: LoadBand { requests, ratio },
            ..PrefixCache::default()
        });
        let mut servers = servers;
        servers[0] = servers[0].clone().holds(8);
        let found = scores(&scorer, &servers, prompt(8));
        assert_eq!(found[0], expected, "{case}: {servers:?}");
        assert!(
            found[1..].iter().all(|&score| score == 0.0),
            "{case}: {found:?}"
        );
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn the_best_match_within_the_band_keeps_its_affinity() {
    let server = |running, holds| Server::told(RunningRequests, running).holds(holds);
    let servers = [
        server(40.0, 10),
        server(20.0, 8),
        server(18.0, 5),
        server(10.0, 0),
    ];
    let scorer = |requests| {
        Scorer::PrefixCache(PrefixCache {
            band: LoadBand {
                requests,
                ratio: 1.0,
            },
            ..PrefixCache::default()
        })
    };
    for (requests, expected) in [
        (30, [1.0, 0.8, 0.5, 0.0]),
        (16, [0.0, 0.8, 0.5, 0.0]),
        (8, [0.0, 0.0, 0.5, 0.0]),
        (0, [0.0; 4]),
    ] {
        let found = scores(&scorer(requests), &servers, prompt(10));
        assert_scores(&found, &expected, &requests.to_string());
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn cold_prompts_go_round() {
    for (servers, cold, expected) in [
        // Nobody has had any: by their order.
        (5, &[][..], &[1.0, 0.75, 0.5, 0.25, 0.0][..]),
        (2, &[], &[1.0, 0.0]),
        (1, &[], &[1.0]),
        (1, &[0], &[1.0]),
        (0, &[], &[]),
        // Who has had one comes behind those who have not.
        (5, &[0], &[0.0, 1.0, 0.75, 0.5, 0.25]),
        (5, &[2, 0], &[0.0, 1.0, 0.25, 0.75, 0.5]),
        // All have: the one of the longest ago first.
        (3, &[2, 0, 1], &[0.5, 0.0, 1.0]),
        // Only the last one of each counts.
        (3, &[2, 0, 1, 2, 2], &[1.0, 0.5, 0.0]),
    ] {
        let servers = holding(&vec![0; servers]);
        let found = scores_after(cold, &Scorer::NoHitLru, &servers, prompt(4));
        assert_eq!(found, expected, "{cold:?}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn warm_prompts_take_no_turn() {
    for (held, expected) in [
        (&[0, 1, 0][..], &[0.5, 0.5, 0.5][..]),
        (&[4], &[0.5]),
        (&[0, 0], &[0.0, 1.0]),
    ] {
        let found = scores_after(&[0], &Scorer::NoHitLru, &holding(held), prompt(4));
        assert_eq!(found, expected, "{held:?}");
    }
    // A request without a prompt is held by nobody.
    let request = Request::default();
    let found = scores_after(&[0], &Scorer::NoHitLru, &holding(&[0, 0]), request);
    assert_eq!(found, [0.0, 1.0]);
}
