//! Every dialect, as the filter's own parser reads it.

use std::{collections::HashMap, sync::Arc};

use endpoint_picker::exposition::{FamilySet, Line, MetricType, Selector, parse_line, samples};

use super::{
    super::{
        Load, SimulatorConfig,
        engine::{Engine, Request, Tokens},
    },
    Dialect, Exposition, vllm, with_load, without_families,
};

const IDLE: &str = include_str!("../../../../fixtures/metrics/vllm-0.32-idle.prom");
const LORA: &str = include_str!("../../../../fixtures/metrics/vllm-0.32-lora.prom");

/// When the exposition's engine started, and when it is written.
const STARTED: f64 = 1.8e9;
const NOW: f64 = 1.8e9 + 60.5;

/// The value of the one series that a selector selects.
fn value(text: &str, selector: &str) -> f64 {
    let selector: Selector = selector.parse().unwrap();
    let mut families = FamilySet::default();
    families.insert(selector.family());
    let found: Vec<f64> = samples(text.as_bytes(), &families)
        .map(|sample| sample.unwrap().1)
        .filter(|sample| selector.matches(&sample.labels))
        .map(|sample| sample.value)
        .collect();
    assert_eq!(found.len(), 1, "{selector:?} in {text}");
    found[0]
}

fn config(dialect: Dialect) -> SimulatorConfig {
    SimulatorConfig {
        dialect,
        model: "a \"name\"".to_owned(),
        kv_blocks: Some(1000),
        max_num_seqs: 3,
        max_loras: 1,
        max_model_len: 2048,
        ..SimulatorConfig::default()
    }
}

/// What a server tells of which two requests are done, the second one's prompt having been cached
/// but for its last block, and one was cancelled, three run and two wait, one of them for an
/// adapter.
fn exposition(dialect: Dialect) -> String {
    let config = config(dialect);
    let bounds = dialect.bounds(config.max_model_len);
    let mut engine = Engine::new(config.limits(), &bounds);
    let mut time = 0.0;
    let request = |text: &str, max_tokens, adapter: Option<&str>| {
        let mut prompt = Tokens::new("model");
        prompt.push_text(&text.repeat(160));
        Request {
            prompt,
            max_tokens,
            stops: false,
            adapter: adapter.map(Arc::from),
            client: (),
        }
    };
    let mut step = |engine: &mut Engine<()>| {
        if let Some(seconds) = engine.begin_step(time) {
            time += seconds;
            engine.end_step(time, |(), _| {});
        }
        time
    };
    for _ in 0..2 {
        let now = step(&mut engine);
        engine.submit(request("same", 10, None), now);
        for _ in 0..11 {
            step(&mut engine);
        }
    }
    let now = step(&mut engine);
    let cancelled = engine.submit(request("gone", 10, None), now);
    engine.cancel(cancelled);
    for (text, adapter) in [
        ("one ", Some("a")),
        ("two ", Some("b")),
        ("tree", None),
        ("four", None),
        ("five", None),
    ] {
        engine.submit(request(text, 100, adapter), now);
    }
    step(&mut engine);
    Exposition::new(&config, STARTED).render(&engine.gauges(), engine.statistics(), NOW)
}

/// Checks what holds of every exposition: each line is valid, each sample's family was declared
/// before it, and histograms are cumulative.
fn assert_valid(text: &str) {
    let mut types = HashMap::new();
    let mut bucket = ("", 0.0);
    for line in text.lines() {
        match parse_line(line.as_bytes()).unwrap_or_else(|error| panic!("{error}: {line}")) {
            Line::Type {
                family,
                metric_type,
            } => {
                assert!(
                    types.insert(family, metric_type).is_none(),
                    "{family} twice"
                );
            }
            Line::Sample(sample) => {
                let base = ["_bucket", "_count", "_sum"]
                    .iter()
                    .find_map(|suffix| sample.family.strip_suffix(suffix))
                    .filter(|base| {
                        matches!(
                            types.get(base),
                            Some(MetricType::Histogram | MetricType::Summary)
                        )
                    });
                assert!(
                    base.is_some() || types.contains_key(sample.family),
                    "{line}"
                );
                if let Some(base) = base.filter(|_| sample.labels.get("le").is_some()) {
                    if bucket.0 == base && sample.labels.get("le") != Some("0.1") {
                        assert!(sample.value >= bucket.1, "{line}");
                    }
                    bucket = (base, sample.value);
                }
            }
            Line::Help { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn every_dialect_shows_the_engine() {
    // Prompts of 160 tokens are 10 blocks; the token made in the last step has no block yet.
    let cases: [(Dialect, &[(&str, f64)]); 5] = [
        (
            Dialect::Vllm,
            &[
                (r#"vllm:num_requests_running{engine="0"}"#, 3.0),
                ("vllm:num_requests_waiting", 2.0),
                (
                    r#"vllm:num_requests_waiting_by_reason{reason="capacity"}"#,
                    1.0,
                ),
                (
                    r#"vllm:num_requests_waiting_by_reason{reason="deferred"}"#,
                    1.0,
                ),
                ("vllm:kv_cache_usage_perc", 0.03),
                ("vllm:prefix_cache_queries_total", 800.0),
                ("vllm:prefix_cache_hits_total", 144.0),
                ("vllm:num_preemptions_total", 0.0),
                ("vllm:prompt_tokens_total", 800.0),
                ("vllm:prompt_tokens_cached_total", 144.0),
                (
                    r#"vllm:prompt_tokens_by_source_total{source="local_compute"}"#,
                    656.0,
                ),
                ("vllm:generation_tokens_total", 23.0),
                (
                    r#"vllm:request_success_total{finished_reason="length"}"#,
                    2.0,
                ),
                (
                    r#"vllm:request_success_total{finished_reason="abort"}"#,
                    1.0,
                ),
                (r#"vllm:request_success_total{finished_reason="stop"}"#, 0.0),
                ("vllm:time_to_first_token_seconds_count", 5.0),
                (r#"vllm:time_to_first_token_seconds_bucket{le="+Inf"}"#, 5.0),
                (r#"vllm:time_to_first_token_seconds_bucket{le="0.01"}"#, 0.0),
                ("vllm:inter_token_latency_seconds_count", 18.0),
                ("vllm:e2e_request_latency_seconds_count", 2.0),
                ("vllm:request_queue_time_seconds_sum", 0.0),
                ("vllm:request_prompt_tokens_sum", 320.0),
                ("vllm:request_generation_tokens_sum", 20.0),
                ("vllm:request_prefill_kv_computed_tokens_sum", 176.0),
                (
                    r#"vllm:lora_requests_info{max_lora="1",running_lora_adapters="a",waiting_lora_adapters="b"}"#,
                    NOW,
                ),
                (
                    r#"vllm:cache_config_info{block_size="16",num_gpu_blocks="1000"}"#,
                    1.0,
                ),
                ("process_start_time_seconds", STARTED),
                ("vllm:generation_tokens_created", STARTED),
            ],
        ),
        (
            Dialect::Sglang,
            &[
                (r#"sglang:num_running_reqs{tp_rank="0"}"#, 3.0),
                ("sglang:num_queue_reqs", 2.0),
                ("sglang:token_usage", 0.03),
                ("sglang:num_used_tokens", 480.0),
                ("sglang:prompt_tokens_total", 800.0),
                ("sglang:cached_tokens_total", 144.0),
                ("sglang:generation_tokens_total", 23.0),
                ("sglang:cache_hit_rate", 0.0),
                ("sglang:time_to_first_token_seconds_count", 5.0),
                (
                    r#"sglang:time_to_first_token_seconds_bucket{le="30.0"}"#,
                    5.0,
                ),
                ("sglang:time_per_output_token_seconds_count", 18.0),
                ("sglang:e2e_request_latency_seconds_count", 2.0),
                (
                    r#"sglang:cache_config_info{page_size="16",num_pages="1000"}"#,
                    1.0,
                ),
            ],
        ),
        (
            Dialect::TritonTensorRtLlm,
            &[
                (r#"nv_trt_llm_request_metrics{request_type="waiting"}"#, 2.0),
                (
                    r#"nv_trt_llm_request_metrics{request_type="scheduled"}"#,
                    3.0,
                ),
                (r#"nv_trt_llm_request_metrics{request_type="active"}"#, 5.0),
                (r#"nv_trt_llm_request_metrics{request_type="max"}"#, 3.0),
                (
                    r#"nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction"}"#,
                    0.03,
                ),
                (
                    r#"nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="used"}"#,
                    30.0,
                ),
                (
                    r#"nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="free"}"#,
                    970.0,
                ),
                (
                    r#"nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="tokens_per"}"#,
                    16.0,
                ),
                (r#"nv_inference_request_success{model="tensorrt_llm"}"#, 2.0),
                ("nv_inference_pending_request_count", 2.0),
            ],
        ),
        (
            Dialect::Tgi,
            &[
                ("tgi_queue_size", 2.0),
                ("tgi_batch_current_size", 3.0),
                ("tgi_batch_current_max_tokens", 480.0),
                ("tgi_request_count", 8.0),
                ("tgi_request_success", 2.0),
                ("tgi_request_input_length_sum", 320.0),
                ("tgi_request_duration_count", 2.0),
                (r#"tgi_batch_inference_count{method="decode"}"#, 21.0),
            ],
        ),
        (
            Dialect::LlamaCpp,
            &[
                ("llamacpp:requests_processing", 3.0),
                ("llamacpp:requests_deferred", 2.0),
                ("llamacpp:prompt_tokens_total", 656.0),
                ("llamacpp:prompt_tokens_cached_total", 144.0),
                ("llamacpp:tokens_predicted_total", 23.0),
                ("llamacpp:n_decode_total", 21.0),
                ("llamacpp:n_tokens_max", 170.0),
            ],
        ),
    ];
    for (dialect, expected) in cases {
        let text = exposition(dialect);
        assert_valid(&text);
        for (selector, expected) in expected {
            let value = value(&text, selector);
            assert_eq!(value, *expected, "{dialect:?} {selector}");
        }
    }
}

#[test]
fn names_are_escaped() {
    let text = exposition(Dialect::Vllm);
    assert!(text.contains(r#"vllm:num_requests_running{engine="0",model_name="a \"name\""} 3.0"#));
    assert!(!text.contains("tiny"));
}

/// Every series of a real server is there, in its order, with its labels in their order.
#[test]
fn vllm_has_every_series_of_a_real_one() {
    let series = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| {
            !line.starts_with("vllm:cache_config_info") && !line.contains("vllm:lora_requests_info")
        });
        lines
            .map(|line| match line.strip_prefix('#') {
                Some(_) => line.to_owned(),
                None => line.rsplit_once(' ').unwrap().0.to_owned(),
            })
            .collect()
    };
    let mut config = config(Dialect::Vllm);
    config.model = "tiny".to_owned();
    let bounds = Dialect::Vllm.bounds(config.max_model_len);
    let engine = Engine::<()>::new(config.limits(), &bounds);
    let text = Exposition::new(&config, STARTED).render(&engine.gauges(), engine.statistics(), NOW);
    assert_eq!(series(&text), series(IDLE));
}

#[test]
fn adapters_of_the_past_stay_as_in_a_real_one() {
    assert_eq!(LORA.matches("vllm:lora_requests_info{").count(), 2);

    let config = config(Dialect::Vllm);
    let bounds = vllm::bounds(config.max_model_len);
    let engine = Engine::<()>::new(config.limits(), &bounds);
    let mut exposition = Exposition::new(&config, STARTED);
    let mut gauges = engine.gauges();
    let mut last = String::new();
    for (index, running) in ["", "a", "a,b", "a"].into_iter().enumerate() {
        gauges.running_adapters = running.to_owned();
        last = exposition.render(&gauges, engine.statistics(), NOW + index as f64);
    }
    let time = |running| {
        value(
            &last,
            &format!("vllm:lora_requests_info{{running_lora_adapters=\"{running}\"}}"),
        )
    };
    assert_eq!(
        [time(""), time("a,b"), time("a")],
        [NOW, NOW + 2.0, NOW + 3.0]
    );
}

#[test]
fn a_load_set_by_hand_is_all_that_differs_from_an_idle_server() {
    assert_eq!(with_load(Dialect::Vllm, Load::default()), IDLE);
    let load = Load {
        waiting: 7,
        running: 12,
        kv_cache_usage: 0.25,
    };
    let exposition = with_load(Dialect::Vllm, load);
    let changed: Vec<&str> = exposition
        .lines()
        .zip(IDLE.lines())
        .filter_map(|(line, idle)| (line != idle).then_some(line))
        .collect();
    assert_eq!(
        changed,
        [
            r#"vllm:num_requests_running{engine="0",model_name="tiny"} 12.0"#,
            r#"vllm:num_requests_waiting{engine="0",model_name="tiny"} 7.0"#,
            r#"vllm:kv_cache_usage_perc{engine="0",model_name="tiny"} 0.25"#,
        ]
    );
    assert_eq!(exposition.lines().count(), IDLE.lines().count());
}

#[test]
fn every_dialect_shows_a_load_set_by_hand() {
    let load = Load {
        waiting: 7,
        running: 12,
        kv_cache_usage: 0.0123,
    };
    let cases: [(Dialect, &[(&str, f64)]); 5] = [
        (
            Dialect::Vllm,
            &[
                ("vllm:num_requests_waiting", 7.0),
                ("vllm:num_requests_running", 12.0),
                ("vllm:kv_cache_usage_perc", 0.0123),
            ],
        ),
        (
            Dialect::Sglang,
            &[
                ("sglang:num_queue_reqs", 7.0),
                ("sglang:num_running_reqs", 12.0),
                ("sglang:token_usage", 0.0123),
                (r#"sglang:num_requests_total{model_name="tiny"}"#, 0.0),
            ],
        ),
        (
            Dialect::TritonTensorRtLlm,
            &[
                (r#"nv_trt_llm_request_metrics{request_type="waiting"}"#, 7.0),
                (r#"nv_trt_llm_request_metrics{request_type="active"}"#, 19.0),
                (
                    r#"nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction"}"#,
                    0.0123,
                ),
            ],
        ),
        (
            Dialect::Tgi,
            &[("tgi_queue_size", 7.0), ("tgi_batch_current_size", 12.0)],
        ),
        (
            Dialect::LlamaCpp,
            &[
                ("llamacpp:requests_deferred", 7.0),
                ("llamacpp:requests_processing", 12.0),
            ],
        ),
    ];
    for (dialect, expected) in cases {
        let text = with_load(dialect, load);
        assert_valid(&text);
        for (selector, expected) in expected {
            assert_eq!(value(&text, selector), *expected, "{dialect:?} {selector}");
        }
    }
}

#[test]
fn families_can_be_missing_and_their_namesakes_stay() {
    let missing = [
        "vllm:num_requests_waiting",
        "vllm:time_to_first_token_seconds",
    ];
    let text = without_families(IDLE, &missing.map(str::to_owned));
    assert_valid(&text);
    let gone: Vec<&str> = IDLE.lines().filter(|line| !text.contains(line)).collect();
    assert_eq!(gone.len(), 3 + 2 + 25);
    assert!(text.contains("vllm:num_requests_waiting_by_reason{"));
    assert!(text.contains("vllm:time_to_first_token_seconds_created{"));
}
