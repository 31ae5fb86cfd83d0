//! `/metrics`, as each kind of model server writes it.
//!
//! All are filled from the same engine; what differs is names, labels, the bounds of histograms, and
//! what is told at all.

mod llama_cpp;
mod sglang;
mod text;
mod tgi;
mod triton;
mod vllm;

use std::sync::Arc;

use clap::ValueEnum;

use super::{
    Load, SimulatorConfig,
    api::MODEL,
    engine::{Bounds, Gauges, Statistics},
};

pub(super) use text::without_families;

/// The media type of every exposition.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Blocks in the KV cache of a server whose load is set by hand: the share in use is told to four
/// digits.
const KV_BLOCKS: usize = 10_000;

/// Whose metrics a simulated model server shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Dialect {
    /// vLLM 0.32: a real server's exposition with the simulated values in it.
    #[default]
    Vllm,
    /// SGLang with `--enable-metrics`.
    Sglang,
    /// TensorRT-LLM in a Triton Inference Server.
    #[value(name = "triton-tensorrt-llm")]
    TritonTensorRtLlm,
    /// Hugging Face's Text Generation Inference.
    Tgi,
    /// llama.cpp's server with `--metrics`.
    LlamaCpp,
}

impl Dialect {
    /// What the filter calls this kind of model server.
    #[must_use]
    pub const fn engine(self) -> &'static str {
        match self {
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
            Self::TritonTensorRtLlm => "triton-tensorrt-llm",
            Self::Tgi => "tgi",
            Self::LlamaCpp => "llama.cpp",
        }
    }

    /// The bounds of its histograms, for a model with this context.
    pub(super) fn bounds(self, max_model_len: usize) -> Bounds {
        let vllm = vllm::bounds(max_model_len);
        match self {
            Self::Sglang => sglang::bounds(vllm),
            Self::Tgi => tgi::bounds(vllm, max_model_len),
            // The others show no histograms.
            Self::Vllm | Self::TritonTensorRtLlm | Self::LlamaCpp => vllm,
        }
    }
}

/// What an exposition is made of, beside the time.
#[derive(Clone, Copy, Debug)]
struct State<'engine> {
    gauges: &'engine Gauges,
    statistics: &'engine Statistics,
}

/// Writes the exposition of one engine.
#[derive(Debug)]
pub(super) enum Exposition {
    Vllm(vllm::Template),
    Sglang { model: String },
    TritonTensorRtLlm { max_num_seqs: usize },
    Tgi,
    LlamaCpp,
}

impl Exposition {
    /// For an engine that started at this time, in seconds since 1970.
    pub(super) fn new(config: &SimulatorConfig, started: f64) -> Self {
        match config.dialect {
            Dialect::Vllm => Self::Vllm(vllm::Template::new(config, started)),
            Dialect::Sglang => Self::Sglang {
                model: config.model.clone(),
            },
            Dialect::TritonTensorRtLlm => Self::TritonTensorRtLlm {
                max_num_seqs: config.max_num_seqs,
            },
            Dialect::Tgi => Self::Tgi,
            Dialect::LlamaCpp => Self::LlamaCpp,
        }
    }

    /// Writes it as it is at this time, in seconds since 1970.
    pub(super) fn render(&mut self, gauges: &Gauges, statistics: &Statistics, now: f64) -> String {
        let state = State { gauges, statistics };
        match self {
            Self::Vllm(template) => template.render(state, now),
            Self::Sglang { model } => sglang::render(state, model),
            Self::TritonTensorRtLlm { max_num_seqs } => triton::render(state, *max_num_seqs),
            Self::Tgi => tgi::render(state),
            Self::LlamaCpp => llama_cpp::render(state),
        }
    }
}

/// The exposition of a server that has never done anything, with this load in it.
pub(super) fn with_load(dialect: Dialect, load: Load) -> String {
    if dialect == Dialect::Vllm {
        return vllm::with_load(load);
    }
    let config = SimulatorConfig {
        dialect,
        model: MODEL.to_owned(),
        ..SimulatorConfig::default()
    };
    let statistics = Statistics::new(&dialect.bounds(config.max_model_len));
    Exposition::new(&config, 0.0).render(&gauges(load), &statistics, 0.0)
}

/// The gauges of an engine under this load, all of which decodes.
fn gauges(load: Load) -> Gauges {
    Gauges {
        waiting: load.waiting as usize,
        running: load.running as usize,
        kv_used: (load.kv_cache_usage * KV_BLOCKS as f64).round() as usize,
        kv_blocks: KV_BLOCKS,
        ..Gauges::default()
    }
}

/// Bounds from a list.
fn bounds(values: &[f64]) -> Arc<[f64]> {
    Arc::from(values)
}

#[cfg(test)]
mod tests;
