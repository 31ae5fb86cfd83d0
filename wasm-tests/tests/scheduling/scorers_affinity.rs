//! Scores by what servers are loaded with and meant for.

use endpoint_picker::scheduling::{ContextLengthAware, Request, Scorer};
use wasm_bindgen_test::wasm_bindgen_test;

use crate::support::{LONG_AGO, Server, assert_scores, scores};

fn for_model(model: &str) -> Request<'_> {
    Request {
        model: Some(model),
        ..Request::default()
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn lora_affinity_scores_by_its_classes() {
    let lora =
        |max, running: &[&str], waiting: &[&str]| Server::silent().lora(max, running, waiting);
    for (case, server, expected) in [
        ("it runs", lora(2, &["a", "b"], &[]), 1.0),
        (
            "it runs, and others wait",
            lora(2, &["b", "c"], &["a", "d"]),
            1.0,
        ),
        ("it runs and waits", lora(1, &["b"], &["b"]), 1.0),
        ("room", lora(2, &["a"], &[]), 0.8),
        ("room for all", lora(4, &[], &[]), 0.8),
        ("room, and it waits", lora(3, &["a"], &["b"]), 0.8),
        ("full, and it waits", lora(2, &["a", "c"], &["b"]), 0.6),
        ("full, and others wait", lora(2, &["a"], &["c"]), 0.0),
        ("full", lora(1, &["a"], &[]), 0.0),
        ("no adapters", lora(0, &[], &[]), 0.0),
        ("part of a name", lora(1, &["bb"], &["a"]), 0.0),
        ("not told", Server::silent(), 0.0),
        (
            "stale",
            Server::silent().lora_at(2, &["b"], &[], LONG_AGO),
            0.0,
        ),
    ] {
        let found = scores(&Scorer::LoraAffinity, &[server], for_model("b"));
        assert_eq!(found, [expected], "{case}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn without_a_model_there_is_room_or_not() {
    let servers = [
        Server::silent().lora(1, &[], &[]),
        Server::silent().lora(2, &["a"], &[]),
        Server::silent().lora(1, &["a"], &[]),
        Server::silent(),
    ];
    let found = scores(&Scorer::LoraAffinity, &servers, Request::default());
    assert_eq!(found, [0.8, 0.8, 0.0, 0.0]);
}

#[wasm_bindgen_test(unsupported = test)]
fn one_of_those_with_room_comes_before_the_others() {
    let room = || Server::silent().lora(2, &["other"], &[]);
    let full = || Server::silent().lora(1, &["other"], &[]);
    let home = |servers: &[Server], model: &str| {
        let found = scores(&Scorer::LoraAffinity, servers, for_model(model));
        let first = found.iter().position(|&score| score == 0.8).unwrap();
        let others = found
            .iter()
            .enumerate()
            .filter(|&(index, _)| index != first);
        assert!(
            others
                .into_iter()
                .all(|(_, &score)| score == 0.75 || score == 0.0),
            "{found:?}"
        );
        first
    };
    let mut homes = [0; 4];
    for adapter in 0..400 {
        let adapter = format!("adapter-{adapter}");
        let mut servers = [room(), room(), room(), room()];
        let at = home(&servers, &adapter);
        homes[at] += 1;
        // Whoever else is full, it stays; where that is full, it has a second home.
        servers[(at + 1) % 4] = full();
        assert_eq!(home(&servers, &adapter), at);
        servers[at] = full();
        assert_ne!(home(&servers, &adapter), at);
    }
    assert!(
        homes.iter().all(|&count| (60..140).contains(&count)),
        "{homes:?}"
    );
    // Where it runs is before all with room.
    let servers = [room(), Server::silent().lora(2, &["a"], &[]), room()];
    let found = scores(&Scorer::LoraAffinity, &servers, for_model("a"));
    assert_eq!(found[1], 1.0);
    assert_eq!(found[0] + found[2], 0.8 + 0.75);
}

#[wasm_bindgen_test(unsupported = test)]
fn context_length_aware_scores_by_its_formula() {
    let label = "llm-d.ai/context-length-range";
    let scorer = Scorer::ContextLengthAware(ContextLengthAware::default());
    for (range, tokens, expected) in [
        // In range: 0.3 + 0.7 * (0.7 / (1 + width / 10000) + 0.3 * room / width).
        (Some("0-10000"), 0, 0.3 + 0.7 * (0.35 + 0.3)),
        (Some("0-10000"), 5000, 0.3 + 0.7 * (0.35 + 0.15)),
        (Some("0-10000"), 10000, 0.3 + 0.7 * 0.35),
        (Some("2000-4000"), 3000, 0.3 + 0.7 * (0.7 / 1.2 + 0.15)),
        (Some(" 2000 - 4000 "), 3000, 0.3 + 0.7 * (0.7 / 1.2 + 0.15)),
        (Some("512-512"), 512, 1.0),
        (Some("0-1"), 0, 0.3 + 0.7 * (0.7 / 1.0001 + 0.3)),
        // Out of it: 0.3 / (1 + distance / 1000).
        (Some("2000-4000"), 5000, 0.15),
        (Some("2000-4000"), 1000, 0.15),
        (Some("2000-4000"), 4001, 0.3 / 1.001),
        (Some("512-512"), 1512, 0.15),
        (Some("0-1"), u64::MAX, 0.0),
        (Some("0-18446744073709551615"), u64::MAX, 0.3),
        (None, 5000, 0.5),
        (Some(""), 5000, 0.0),
        (Some("4000"), 4000, 0.0),
        (Some("4000-2000"), 3000, 0.0),
        (Some("1-2-3"), 2, 0.0),
        (Some("-5-10"), 2, 0.0),
        (Some("a-b"), 2, 0.0),
        (Some("1.5-9"), 2, 0.0),
        (Some("0-18446744073709551616"), 2, 0.0),
    ] {
        let server =
            range.map_or_else(Server::silent, |range| Server::silent().label(label, range));
        let request = Request {
            prompt_tokens: tokens,
            ..Request::default()
        };
        let found = scores(&scorer, &[server], request);
        assert_scores(&found, &[expected], &format!("{range:?} {tokens}"));
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn context_lengths_stand_in_the_label_that_is_configured() {
    let scorer = Scorer::ContextLengthAware(ContextLengthAware {
        label: "tokens".to_owned(),
    });
    let servers = [
        Server::silent().label("tokens", "7-7"),
        Server::silent().label("llm-d.ai/context-length-range", "7-7"),
    ];
    let request = Request {
        prompt_tokens: 7,
        ..Request::default()
    };
    assert_eq!(scores(&scorer, &servers, request), [1.0, 0.5]);
}
