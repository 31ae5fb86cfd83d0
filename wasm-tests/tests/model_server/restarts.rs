//! Servers that have started anew, and what only looks like it.

use endpoint_picker::{
    model_server::{EngineChoice, Engines, MetricsReader},
    pool::EndpointMetrics,
};
use wasm_bindgen_test::wasm_bindgen_test;

use super::support::{at, read_in_turn};

const BUSY: &str = include_str!("../../../fixtures/metrics/vllm-0.32-busy.prom");
const STARTED: &str = "process_start_time_seconds 1.79531887216e+09";

/// The real exposition of a process that started so many seconds later.
fn later(seconds: f64) -> String {
    assert!(BUSY.contains(STARTED));
    let started = 1.795_318_872_16e9 + seconds;
    BUSY.replace(STARTED, &format!("process_start_time_seconds {started}"))
}

/// The same without a word of the process.
fn untold() -> String {
    BUSY.replace(STARTED, "")
}

fn sglang(count: u32) -> String {
    let family = "sglang:time_to_first_token_seconds";
    format!("sglang:num_queue_reqs 0\n{family}_sum {count}\n{family}_count {count}\n")
}

fn incarnations(engine: &str, scrapes: &[String]) -> Vec<u32> {
    let scrapes: Vec<_> = scrapes.iter().map(String::as_str).collect();
    let read = read_in_turn(&Engines::default(), engine, &scrapes);
    read.iter().map(|it| it.process().incarnation).collect()
}

#[wasm_bindgen_test(unsupported = test)]
fn a_server_that_starts_anew_is_another_incarnation() {
    let counted = "vllm:prefix_cache_queries_total{engine=\"0\",";
    let restarted = |text: &str| -> String {
        let lines = text.lines().map(|line| {
            if line.starts_with(counted) {
                let (series, _) = line.rsplit_once(' ').expect("a sample");
                format!("{series} 0.0\n")
            } else {
                format!("{line}\n")
            }
        });
        lines.collect()
    };
    assert!(BUSY.contains(counted));
    for (case, engine, scrapes, expected) in [
        (
            "the process tells when it started",
            "vllm",
            vec![
                later(0.0),
                later(0.0),
                later(60.0),
                later(60.0),
                later(90.0),
            ],
            vec![0, 0, 1, 1, 2],
        ),
        (
            "the clock of its machine is set",
            "vllm",
            vec![
                later(0.0),
                later(1.0),
                later(0.0),
                later(2.0),
                later(-3600.0),
            ],
            vec![0, 0, 0, 0, 0],
        ),
        (
            "two processes answer in turn",
            "vllm",
            vec![later(0.0), later(60.0), later(0.0), later(60.0), later(0.0)],
            vec![0, 1, 1, 1, 1],
        ),
        (
            "the counters of one that tells are not asked",
            "vllm",
            vec![later(0.0), restarted(BUSY), later(0.0)],
            vec![0, 0, 0],
        ),
        (
            "counters fall",
            "vllm",
            vec![untold(), untold(), restarted(&untold()), untold(), untold()],
            vec![0, 0, 1, 1, 1],
        ),
        (
            "counters fall, with a start in between that is no number",
            "sglang",
            vec![
                sglang(5),
                sglang(6) + "process_start_time_seconds NaN\n",
                sglang(2),
                String::new(),
                sglang(1),
                sglang(1),
                sglang(0),
            ],
            // What they counted before they were gone is not known any more.
            vec![0, 0, 1, 1, 1, 1, 2],
        ),
        (
            "a start that is no number hides none that follows",
            "sglang",
            ["NaN", "+Inf", "1e9", "1.1e9"]
                .map(|started| format!("{}process_start_time_seconds {started}\n", sglang(1)))
                .into(),
            vec![0, 0, 0, 1],
        ),
        (
            "a process that did not tell before does",
            "sglang",
            vec![
                sglang(5),
                sglang(6) + "process_start_time_seconds 1e9\n",
                sglang(7),
                sglang(7) + "process_start_time_seconds 1.1e9\n",
            ],
            vec![0, 0, 0, 1],
        ),
    ] {
        assert_eq!(incarnations(engine, &scrapes), expected, "{case}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn another_engine_at_the_address_is_another_incarnation() {
    let engines = Engines::default();
    let mut reader = MetricsReader::new(EngineChoice::Auto);
    let mut before: Option<EndpointMetrics> = None;
    let mut read = |reader: &mut MetricsReader, scrape: &str| {
        let metrics = reader.read(&engines, scrape.as_bytes(), at(1), before.as_ref());
        let process = metrics.process();
        before = Some(metrics);
        process.incarnation
    };
    let started = format!("{}process_start_time_seconds 1e9\n", sglang(1));
    for (scrape, expected) in [
        ("", 0),
        (BUSY, 0),
        // It says nothing that can be read, and is still the same.
        ("", 0),
        ("go_threads 3\n", 0),
        (BUSY, 0),
        // Started earlier, and another all the same.
        (&started, 1),
        (&started, 1),
        (BUSY, 2),
    ] {
        assert_eq!(read(&mut reader, scrape), expected);
    }
    // The scraper's successor knows the process by the snapshot alone.
    let mut successor = MetricsReader::new(EngineChoice::Auto);
    assert_eq!(read(&mut successor, ""), 2);
    assert_eq!(read(&mut successor, BUSY), 2);
    let mut successor = MetricsReader::new(EngineChoice::Auto);
    assert_eq!(read(&mut successor, &later(60.0)), 3);
}
