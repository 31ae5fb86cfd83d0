//! vLLM: the exposition of a real one, with the simulated values in it.

use std::sync::Arc;

use super::{
    super::{
        Load, SimulatorConfig,
        engine::{BLOCK_TOKENS, Bounds, Histogram, Statistics},
    },
    State, bounds as list,
    text::{Python, escape, push, push_histogram},
};

/// What an idle vLLM 0.32 answers to `GET /metrics`.
const IDLE: &str = include_str!("../../../../fixtures/metrics/vllm-0.32-idle.prom");

/// How many of the pairs of running and waiting adapters that once were are still told. A real one
/// tells all that ever were; each has the time when it last was.
const LORA_SERIES: usize = 16;

/// The bounds that the idle one shows; those of tokens end at the model's context.
pub(super) fn bounds(max_model_len: usize) -> Bounds {
    let tokens: Vec<f64> = (0..)
        .flat_map(|exponent| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(exponent)))
        .take_while(|bound| *bound <= max_model_len as f64)
        .collect();
    let token_times = [
        0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
        20.0, 40.0, 80.0,
    ];
    Bounds {
        time_to_first_token: list(&[
            0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5,
            10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
        ]),
        inter_token_latency: list(&token_times),
        time_per_output_token: list(&token_times),
        request_time: list(&[
            0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0,
            120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0,
        ]),
        tokens: Arc::from(tokens),
        iteration_tokens: list(&[
            1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0,
            16384.0,
        ]),
        preemptions: list(&[1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0]),
        answers: list(&[1.0, 2.0, 5.0, 10.0, 20.0]),
    }
}

/// The idle exposition with this load in it, and nothing else changed.
pub(super) fn with_load(load: Load) -> String {
    let mut exposition = String::with_capacity(IDLE.len() + 64);
    for line in IDLE.split_inclusive('\n') {
        let live = sample(line).and_then(|(series, family)| {
            let value = match family {
                "vllm:num_requests_waiting" => f64::from(load.waiting),
                "vllm:num_requests_running" => f64::from(load.running),
                "vllm:kv_cache_usage_perc" => load.kv_cache_usage,
                _ => return None,
            };
            Some((series, value))
        });
        match live {
            Some((series, value)) => {
                push(
                    &mut exposition,
                    format_args!("{series} {}\n", Python(value)),
                );
            }
            None => exposition.push_str(line),
        }
    }
    exposition
}

/// The series (`family{labels}`) and the family of a sample line.
fn sample(line: &str) -> Option<(&str, &str)> {
    let (series, _value) = line.trim_end().rsplit_once(' ')?;
    let family = series.split('{').next()?;
    (!line.starts_with('#')).then_some((series, family))
}

#[derive(Debug)]
enum Part {
    Text(String),
    Value(fn(State<'_>) -> f64),
    Histogram {
        name: String,
        histogram: fn(&Statistics) -> &Histogram,
    },
    Adapters,
}

/// The idle exposition, taken apart once, so that writing it is copying and a few hundred numbers.
#[derive(Debug)]
pub(in super::super) struct Template {
    parts: Vec<Part>,
    labels: String,
    model_name: String,
    max_loras: usize,
    /// Pairs of running and waiting adapters, and when each was last so; the latest at the end.
    adapters: Vec<(String, String, f64)>,
    /// The length of what was written last.
    length: usize,
}

impl Template {
    pub(super) fn new(config: &SimulatorConfig, started: f64) -> Self {
        let model_name = format!("model_name=\"{}\"", escape(&config.model));
        let labels = format!("engine=\"0\",{model_name}");
        let mut template = Self {
            parts: Vec::new(),
            labels,
            model_name,
            max_loras: config.max_loras,
            adapters: Vec::new(),
            length: IDLE.len(),
        };
        for line in IDLE.split_inclusive('\n') {
            match sample(line) {
                Some((series, family)) => template.push_sample(series, family, config, started),
                None => {
                    if line.starts_with("# HELP vllm:cache_config_info ") && config.max_loras > 0 {
                        template.parts.push(Part::Adapters);
                    }
                    template.push_text(line);
                }
            }
        }
        template
    }

    pub(super) fn render(&mut self, state: State<'_>, now: f64) -> String {
        let mut text = String::with_capacity(self.length + 1024);
        self.note_adapters(state, now);
        for part in &self.parts {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Value(value) => push(&mut text, format_args!("{}", Python(value(state)))),
                Part::Histogram { name, histogram } => push_histogram(
                    &mut text,
                    name,
                    ("engine=\"0\",", &format!(",{}", self.model_name)),
                    &self.labels,
                    histogram(state.statistics),
                ),
                Part::Adapters => self.push_adapters(&mut text),
            }
        }
        self.length = text.len();
        text
    }

    fn push_text(&mut self, text: &str) {
        if let Some(Part::Text(last)) = self.parts.last_mut() {
            last.push_str(text);
        } else {
            self.parts.push(Part::Text(text.to_owned()));
        }
    }

    fn push_sample(&mut self, series: &str, family: &str, config: &SimulatorConfig, started: f64) {
        if let Some((name, kind)) = family.rsplit_once('_')
            && let Some(histogram) = live_histogram(name)
            && kind != "created"
        {
            // Its buckets come first, and with them all of it.
            let begun = matches!(self.parts.last(), Some(Part::Histogram { name: last, .. }) if last == name);
            if !begun {
                let name = name.to_owned();
                self.parts.push(Part::Histogram { name, histogram });
            }
            return;
        }
        let named = series.replace(r#"model_name="tiny""#, &self.model_name);
        if let Some(value) = live_value(series, family) {
            self.push_text(&format!("{named} "));
            self.parts.push(Part::Value(value));
            self.push_text("\n");
        } else if family.ends_with("_created") || family == "process_start_time_seconds" {
            self.push_text(&format!("{named} {}\n", Python(started)));
        } else if family == "vllm:cache_config_info" {
            self.push_text(&format!("{} 1.0\n", cache_config(series, config)));
        } else if series.contains(r#"sleep_state="awake""#) {
            self.push_text(&format!("{named} 1.0\n"));
        } else if family.starts_with("vllm:") || family.starts_with("http_") {
            self.push_text(&format!("{named} 0.0\n"));
        } else {
            let line = IDLE
                .lines()
                .find(|line| line.starts_with(&format!("{series} ")));
            self.push_text(line.unwrap_or_default());
            self.push_text("\n");
        }
    }

    /// Remembers which adapters run and wait at this time.
    fn note_adapters(&mut self, state: State<'_>, now: f64) {
        let pair = (
            &state.gauges.running_adapters,
            &state.gauges.waiting_adapters,
        );
        self.adapters
            .retain(|(running, waiting, _)| (running, waiting) != pair);
        if self.adapters.len() >= LORA_SERIES {
            self.adapters.remove(0);
        }
        self.adapters.push((pair.0.clone(), pair.1.clone(), now));
    }

    fn push_adapters(&self, text: &mut String) {
        text.push_str(
            "# HELP vllm:lora_requests_info Running stats on lora requests.\n\
             # TYPE vllm:lora_requests_info gauge\n",
        );
        for (running, waiting, time) in &self.adapters {
            push(
                text,
                format_args!(
                    "vllm:lora_requests_info{{max_lora=\"{}\",running_lora_adapters=\"{}\",\
                     waiting_lora_adapters=\"{}\"}} {}\n",
                    self.max_loras,
                    escape(running),
                    escape(waiting),
                    Python(*time)
                ),
            );
        }
    }
}

/// The series of the cache's configuration, with what the simulation has in it.
fn cache_config(series: &str, config: &SimulatorConfig) -> String {
    let blocks = config.kv_blocks();
    let live = |name: &str| {
        Some(match name {
            "block_size" | "effective_attention_block_size" => BLOCK_TOKENS.to_string(),
            "num_gpu_blocks" => blocks.to_string(),
            "num_gpu_blocks_override" => config
                .kv_blocks
                .map_or_else(|| "None".to_owned(), |blocks| blocks.to_string()),
            "kv_cache_size_tokens" => (blocks * BLOCK_TOKENS).to_string(),
            "kv_cache_memory_bytes" => "None".to_owned(),
            "kv_cache_max_concurrency" => {
                let tokens = (blocks * BLOCK_TOKENS) as f64;
                format!("{:?}", tokens / config.max_model_len as f64)
            }
            "gpu_memory_utilization" => "0.9".to_owned(),
            _ => return None,
        })
    };
    // None of its values has a comma or a brace in it but `[]`.
    let (family, labels) = series.split_once('{').unwrap_or((series, ""));
    let labels: Vec<String> = labels
        .trim_end_matches('}')
        .split(',')
        .map(|label| {
            let name = label.split('=').next().unwrap_or_default();
            live(name).map_or_else(|| label.to_owned(), |value| format!("{name}=\"{value}\""))
        })
        .collect();
    format!("{family}{{{}}}", labels.join(","))
}

/// What a series shows, if the simulation has it.
fn live_value(series: &str, family: &str) -> Option<fn(State<'_>) -> f64> {
    let family = family.strip_prefix("vllm:")?;
    let is = |label: &str| series.contains(label);
    Some(match family {
        "num_requests_running" => |state| state.gauges.running as f64,
        "num_requests_waiting" => |state| state.gauges.waiting as f64,
        "num_requests_waiting_by_reason" if is(r#"reason="deferred""#) => {
            |state| state.gauges.deferred as f64
        }
        "num_requests_waiting_by_reason" => {
            |state| (state.gauges.waiting - state.gauges.deferred) as f64
        }
        "kv_cache_usage_perc" => |state| state.gauges.kv_usage(),
        "prefix_cache_queries_total" => |state| state.statistics.prefix_queries as f64,
        "prefix_cache_hits_total" => |state| state.statistics.prefix_hits as f64,
        "prompt_tokens_cached_by_source_total" if is(r#"source="device""#) => {
            |state| state.statistics.prefix_hits as f64
        }
        "num_preemptions_total" => |state| state.statistics.preemptions as f64,
        "prompt_tokens_total" => |state| state.statistics.prompt_tokens as f64,
        "prompt_tokens_by_source_total" if is(r#"source="local_compute""#) => {
            |state| (state.statistics.prompt_tokens - state.statistics.cached_prompt_tokens) as f64
        }
        "prompt_tokens_by_source_total" if is(r#"source="local_cache_hit""#) => {
            |state| state.statistics.cached_prompt_tokens as f64
        }
        "prompt_tokens_cached_total" => |state| state.statistics.cached_prompt_tokens as f64,
        "generation_tokens_total" => |state| state.statistics.generation_tokens as f64,
        "request_success_total" if is(r#"finished_reason="stop""#) => {
            |state| state.statistics.stopped as f64
        }
        "request_success_total" if is(r#"finished_reason="length""#) => {
            |state| state.statistics.ended_by_length as f64
        }
        "request_success_total" if is(r#"finished_reason="abort""#) => {
            |state| state.statistics.aborted as f64
        }
        _ => return None,
    })
}

/// The histogram of a family, if the simulation has it.
fn live_histogram(name: &str) -> Option<fn(&Statistics) -> &Histogram> {
    Some(match name.strip_prefix("vllm:")? {
        "request_prompt_tokens" => |statistics| &statistics.request_prompt_tokens,
        "request_generation_tokens" | "request_max_num_generation_tokens" => {
            |statistics| &statistics.request_generation_tokens
        }
        "iteration_tokens_total" => |statistics| &statistics.iteration_tokens,
        "request_params_n" => |statistics| &statistics.request_answers,
        "request_params_max_tokens" => |statistics| &statistics.request_max_tokens,
        "time_to_first_token_seconds" => |statistics| &statistics.time_to_first_token,
        "inter_token_latency_seconds" => |statistics| &statistics.inter_token_latency,
        "request_time_per_output_token_seconds" => |statistics| &statistics.time_per_output_token,
        "e2e_request_latency_seconds" => |statistics| &statistics.end_to_end,
        "request_queue_time_seconds" => |statistics| &statistics.queue_time,
        "request_inference_time_seconds" => |statistics| &statistics.inference_time,
        "request_prefill_time_seconds" => |statistics| &statistics.prefill_time,
        "request_decode_time_seconds" => |statistics| &statistics.decode_time,
        "request_num_preemptions" => |statistics| &statistics.request_preemptions,
        "request_prefill_kv_computed_tokens" => |statistics| &statistics.request_computed_tokens,
        _ => return None,
    })
}
