//! SGLang's schedulers: each rank may have series of its own, and a request is at several of them.

use endpoint_picker::pool::Signal;
use wasm_bindgen_test::wasm_bindgen_test;

use super::support::{read, value};

#[wasm_bindgen_test(unsupported = test)]
fn every_request_is_counted_once() {
    /// What stands between the braces of each series, with its value; and the whole.
    type Case = (&'static str, &'static [(&'static str, f64)], f64);
    let cases: [Case; 10] = [
        ("without ranks", &[("model_name=\"m\"", 5.0)], 5.0),
        ("one rank", &[("tp_rank=\"0\"", 5.0)], 5.0),
        (
            "tensor parallelism: rank 0 speaks for all",
            &[
                ("tp_rank=\"1\"", 7.0),
                ("tp_rank=\"0\"", 5.0),
                ("tp_rank=\"10\"", 9.0),
            ],
            5.0,
        ),
        (
            "pipeline parallelism: every stage has the same requests",
            &[
                ("tp_rank=\"0\",pp_rank=\"0\"", 5.0),
                ("tp_rank=\"0\",pp_rank=\"1\"", 5.0),
            ],
            5.0,
        ),
        (
            "data parallelism: every replica has its own",
            &[
                ("dp_rank=\"0\",tp_rank=\"0\"", 2.0),
                ("dp_rank=\"1\",tp_rank=\"0\"", 3.0),
            ],
            5.0,
        ),
        (
            "the same with all ranks reporting",
            &[
                ("dp_rank=\"0\",tp_rank=\"0\"", 2.0),
                ("dp_rank=\"0\",tp_rank=\"1\"", 2.0),
                ("dp_rank=\"1\",tp_rank=\"0\"", 3.0),
                ("dp_rank=\"1\",tp_rank=\"1\"", 3.0),
            ],
            5.0,
        ),
        (
            "data-parallel attention: a replica's rank is its place among all",
            &[
                ("dp_rank=\"0\",tp_rank=\"0\"", 2.0),
                ("dp_rank=\"1\",tp_rank=\"1\"", 0.0),
                ("dp_rank=\"2\",tp_rank=\"2\"", 4.0),
                ("dp_rank=\"3\",tp_rank=\"3\"", 1.0),
            ],
            7.0,
        ),
        (
            "the same with all ranks reporting",
            &[
                ("dp_rank=\"0\",tp_rank=\"0\"", 3.0),
                ("dp_rank=\"0\",tp_rank=\"1\"", 3.0),
                ("dp_rank=\"1\",tp_rank=\"2\"", 1.0),
                ("dp_rank=\"1\",tp_rank=\"3\"", 1.0),
            ],
            4.0,
        ),
        (
            "priorities: beside their parts the whole, without a priority",
            &[
                ("priority=\"\",tp_rank=\"0\"", 5.0),
                ("priority=\"10\",tp_rank=\"0\"", 4.0),
                ("priority=\"20\",tp_rank=\"0\"", 1.0),
            ],
            5.0,
        ),
        (
            "priorities and replicas",
            &[
                ("dp_rank=\"0\",priority=\"\",tp_rank=\"0\"", 5.0),
                ("dp_rank=\"0\",priority=\"10\",tp_rank=\"0\"", 4.0),
                ("dp_rank=\"0\",priority=\"20\",tp_rank=\"0\"", 1.0),
                ("dp_rank=\"1\",priority=\"\",tp_rank=\"1\"", 3.0),
                ("dp_rank=\"1\",priority=\"20\",tp_rank=\"1\"", 3.0),
            ],
            8.0,
        ),
    ];
    for (case, series, expected) in cases {
        // One name for a colon, and one for servers that have no colon in a name.
        // A Dynamo worker passes them on as they are.
        for (engine, prefix, signal, family) in [
            (
                "sglang",
                "sglang:",
                Signal::WaitingRequests,
                "num_queue_reqs",
            ),
            (
                "sglang",
                "sglang_",
                Signal::WaitingRequests,
                "num_queue_reqs",
            ),
            (
                "dynamo",
                "sglang:",
                Signal::WaitingRequests,
                "num_queue_reqs",
            ),
            (
                "sglang",
                "sglang:",
                Signal::RunningRequests,
                "num_running_reqs",
            ),
            (
                "sglang",
                "sglang_",
                Signal::RunningRequests,
                "num_running_reqs",
            ),
            (
                "dynamo",
                "sglang:",
                Signal::RunningRequests,
                "num_running_reqs",
            ),
        ] {
            let lines = series
                .iter()
                .map(|(labels, value)| format!("{prefix}{family}{{{labels}}} {value}\n"));
            let found = read(engine, &lines.collect::<String>()).observation(signal);
            assert_eq!(
                found,
                value(expected, 1),
                "{case}, {prefix}{family} of {engine}"
            );
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn caches_are_as_full_as_the_fullest_and_as_large_as_all() {
    let replicas = "sglang:token_usage{dp_rank=\"0\",tp_rank=\"0\"} 0.25\n\
                    sglang:token_usage{dp_rank=\"1\",tp_rank=\"1\"} 0.75\n\
                    sglang:page_size{dp_rank=\"0\",tp_rank=\"0\"} 64\n\
                    sglang:page_size{dp_rank=\"1\",tp_rank=\"1\"} 64\n\
                    sglang:num_pages{dp_rank=\"0\",tp_rank=\"0\"} 1000\n\
                    sglang:num_pages{dp_rank=\"1\",tp_rank=\"1\"} 1000\n";
    let ranks = "sglang:token_usage{tp_rank=\"0\"} 0.5\nsglang:token_usage{tp_rank=\"1\"} 0.5\n\
                 sglang:page_size{tp_rank=\"0\"} 1\nsglang:page_size{tp_rank=\"1\"} 1\n\
                 sglang:num_pages{tp_rank=\"0\"} 900\nsglang:num_pages{tp_rank=\"1\"} 900\n";
    let info = |rank: u8, kind: &str| {
        format!(
            "sglang:cache_config_info{{{kind}_rank=\"{rank}\",page_size=\"16\",num_pages=\"70\"}} 1\n\
             sglang:token_usage{{{kind}_rank=\"{rank}\"}} 0.125\n"
        )
    };
    for (exposition, expected) in [
        (replicas.to_owned(), [0.75, 64.0, 2000.0]),
        (ranks.to_owned(), [0.5, 1.0, 900.0]),
        (
            info(0, "dp") + &info(1, "dp") + &info(2, "dp"),
            [0.125, 16.0, 210.0],
        ),
        (info(0, "tp") + &info(1, "tp"), [0.125, 16.0, 70.0]),
    ] {
        for exposition in [exposition.replace("sglang:", "sglang_"), exposition] {
            let metrics = read("sglang", &exposition);
            let signals = [Signal::KvCacheUsage, Signal::KvBlockSize, Signal::KvBlocks];
            let found = signals.map(|signal| metrics.observation(signal));
            assert_eq!(
                found,
                expected.map(|number| value(number, 1)),
                "{exposition}"
            );
        }
    }
}
