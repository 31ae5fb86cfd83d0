//! What an engine has counted since it started.

use std::sync::Arc;

use super::{FinishReason, histogram::Histogram, sequence::Sequence};

/// The bounds of the histograms, which every kind of model server chooses for itself.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    pub(crate) time_to_first_token: Arc<[f64]>,
    pub(crate) inter_token_latency: Arc<[f64]>,
    pub(crate) time_per_output_token: Arc<[f64]>,
    /// Of queueing, prefill, decoding, and of the whole request.
    pub(crate) request_time: Arc<[f64]>,
    /// Of prompts and answers.
    pub(crate) tokens: Arc<[f64]>,
    pub(crate) iteration_tokens: Arc<[f64]>,
    pub(crate) preemptions: Arc<[f64]>,
    pub(crate) answers: Arc<[f64]>,
}

/// Counters and histograms. Times are simulated seconds.
#[derive(Clone, Debug)]
pub(crate) struct Statistics {
    /// Steps taken.
    pub(crate) steps: u64,
    /// Sequences in all steps taken together.
    pub(crate) step_sequences: u64,
    /// Steps which computed prompt tokens.
    pub(crate) prefill_steps: u64,
    /// Steps which made tokens.
    pub(crate) decode_steps: u64,
    /// Tokens made in the last step, by its duration; zero when there is none under way.
    pub(crate) generation_throughput: f64,
    /// Prompt tokens looked up in the KV cache.
    pub(crate) prefix_queries: u64,
    /// Those of them that were there.
    pub(crate) prefix_hits: u64,
    /// The hit ratio of the request that was looked up last.
    pub(crate) last_hit_ratio: f64,
    pub(crate) preemptions: u64,
    pub(crate) adapter_loads: u64,
    /// Requests that have arrived.
    pub(crate) received: u64,
    /// Prompt tokens of requests whose prefill is done.
    pub(crate) prompt_tokens: u64,
    /// Those of them that were cached.
    pub(crate) cached_prompt_tokens: u64,
    pub(crate) generation_tokens: u64,
    /// The longest sequence yet, in tokens.
    pub(crate) longest: u64,
    pub(crate) stopped: u64,
    pub(crate) ended_by_length: u64,
    pub(crate) aborted: u64,

    pub(crate) time_to_first_token: Histogram,
    pub(crate) inter_token_latency: Histogram,
    pub(crate) time_per_output_token: Histogram,
    pub(crate) end_to_end: Histogram,
    pub(crate) queue_time: Histogram,
    pub(crate) inference_time: Histogram,
    pub(crate) prefill_time: Histogram,
    pub(crate) decode_time: Histogram,
    pub(crate) request_prompt_tokens: Histogram,
    pub(crate) request_generation_tokens: Histogram,
    pub(crate) request_max_tokens: Histogram,
    pub(crate) request_computed_tokens: Histogram,
    pub(crate) request_preemptions: Histogram,
    pub(crate) request_answers: Histogram,
    pub(crate) iteration_tokens: Histogram,
}

impl Statistics {
    pub(crate) fn new(bounds: &Bounds) -> Self {
        Self {
            steps: 0,
            step_sequences: 0,
            prefill_steps: 0,
            decode_steps: 0,
            generation_throughput: 0.0,
            prefix_queries: 0,
            prefix_hits: 0,
            last_hit_ratio: 0.0,
            preemptions: 0,
            adapter_loads: 0,
            received: 0,
            prompt_tokens: 0,
            cached_prompt_tokens: 0,
            generation_tokens: 0,
            longest: 0,
            stopped: 0,
            ended_by_length: 0,
            aborted: 0,
            time_to_first_token: Histogram::new(&bounds.time_to_first_token),
            inter_token_latency: Histogram::new(&bounds.inter_token_latency),
            time_per_output_token: Histogram::new(&bounds.time_per_output_token),
            end_to_end: Histogram::new(&bounds.request_time),
            queue_time: Histogram::new(&bounds.request_time),
            inference_time: Histogram::new(&bounds.request_time),
            prefill_time: Histogram::new(&bounds.request_time),
            decode_time: Histogram::new(&bounds.request_time),
            request_prompt_tokens: Histogram::new(&bounds.tokens),
            request_generation_tokens: Histogram::new(&bounds.tokens),
            request_max_tokens: Histogram::new(&bounds.tokens),
            request_computed_tokens: Histogram::new(&bounds.tokens),
            request_preemptions: Histogram::new(&bounds.preemptions),
            request_answers: Histogram::new(&bounds.answers),
            iteration_tokens: Histogram::new(&bounds.iteration_tokens),
        }
    }

    /// A sequence was taken into the batch for the first time, `cached` of its tokens being cached.
    pub(super) fn looked_up(&mut self, tokens: usize, cached: usize) {
        self.prefix_queries += tokens as u64;
        self.prefix_hits += cached as u64;
        self.last_hit_ratio = cached as f64 / tokens as f64;
    }

    /// A sequence has made a token.
    pub(super) fn token<T>(&mut self, sequence: &Sequence<T>, now: f64) {
        self.generation_tokens += 1;
        self.longest = self.longest.max(sequence.tokens.len() as u64);
        if sequence.generated == 1 {
            self.prompt_tokens += sequence.prompt_tokens as u64;
            self.cached_prompt_tokens += sequence.cached as u64;
            // A request that arrived while a step was late may seem to be answered before.
            self.time_to_first_token
                .observe((now - sequence.arrived).max(0.0));
        } else {
            self.inter_token_latency.observe(now - sequence.last_token);
        }
    }

    /// A sequence has made its last token.
    pub(super) fn finished<T>(&mut self, sequence: &Sequence<T>, reason: FinishReason, now: f64) {
        match reason {
            FinishReason::Stop => self.stopped += 1,
            FinishReason::Length => self.ended_by_length += 1,
        }
        let decoding = now - sequence.first_token;
        let generated = sequence.generated as f64;
        self.end_to_end.observe((now - sequence.arrived).max(0.0));
        self.queue_time
            .observe((sequence.scheduled - sequence.arrived).max(0.0));
        self.inference_time.observe(now - sequence.scheduled);
        self.prefill_time
            .observe(sequence.first_token - sequence.scheduled);
        self.decode_time.observe(decoding);
        self.time_per_output_token
            .observe(if sequence.generated > 1 {
                decoding / (generated - 1.0)
            } else {
                0.0
            });
        self.request_prompt_tokens
            .observe(sequence.prompt_tokens as f64);
        self.request_generation_tokens.observe(generated);
        self.request_max_tokens.observe(sequence.max_tokens as f64);
        self.request_computed_tokens
            .observe((sequence.prompt_tokens - sequence.cached) as f64);
        self.request_preemptions
            .observe(f64::from(sequence.preemptions));
        self.request_answers.observe(1.0);
    }
}
