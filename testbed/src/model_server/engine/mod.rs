//! An inference engine that computes nothing: it schedules as vLLM V1 does, and says how long each
//! step would take.
//!
//! It has no clock and does no I/O. Whoever runs it calls [`Engine::begin_step`], lets the time pass
//! that it names, and calls [`Engine::end_step`]; all times are simulated seconds from any origin.
//!
//! A step takes one token of every sequence that decodes and fills the rest of its token budget with
//! prompts, in chunks if need be. Sequences of the batch go first, then those that wait, in the order
//! of their arrival. When no block of the KV cache is free, the sequence that came last into the
//! batch gives its blocks back and starts over.

mod adapters;
mod hardware;
mod histogram;
mod kv_cache;
mod sequence;
mod statistics;
#[cfg(test)]
mod tests;
mod tokens;

use std::{collections::VecDeque, sync::Arc};

use adapters::{AdapterSlots, Admission};
use kv_cache::KvCache;
use sequence::Sequence;

pub(super) use histogram::Histogram;
pub(super) use statistics::{Bounds, Statistics};
pub(super) use tokens::{Tokens, token_text};

pub use hardware::{SpeedClass, Work};
pub use tokens::BLOCK_TOKENS;

/// What limits an engine.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) speed: SpeedClass,
    /// Sequences in the batch.
    pub(super) max_num_seqs: usize,
    /// Tokens in a step.
    pub(super) max_num_batched_tokens: usize,
    pub(super) kv_blocks: usize,
    /// Adapters on the GPU.
    pub(super) max_loras: usize,
    /// How much longer a step takes for each adapter it has to load, in seconds.
    pub(super) lora_load_seconds: f64,
}

/// Names a request of one engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestId(u64);

/// A request that has been checked: its prompt is not empty, and it fits into the KV cache with all
/// tokens it may make.
#[derive(Debug)]
pub(super) struct Request<T> {
    pub(super) prompt: Tokens,
    /// How many tokens it makes, at least one.
    pub(super) max_tokens: usize,
    /// Whether the model says that it has finished, rather than being cut.
    pub(super) stops: bool,
    pub(super) adapter: Option<Arc<str>>,
    /// Whom its tokens are for.
    pub(super) client: T,
}

/// Why an answer has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FinishReason {
    Stop,
    Length,
}

/// What has become of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Tokens made.
    pub(crate) generated: usize,
    /// Prompt tokens found in the KV cache.
    pub(crate) cached: usize,
    /// Set with the last token.
    pub(crate) finished: Option<FinishReason>,
}

/// The state of an engine at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Gauges {
    pub(super) waiting: usize,
    /// Those of `waiting` that wait for a LoRA slot.
    pub(super) deferred: usize,
    pub(super) running: usize,
    /// Those of `running` that have not made a token yet.
    pub(super) prefilling: usize,
    pub(super) kv_used: usize,
    pub(super) kv_blocks: usize,
    /// Adapters of the batch and of the queue, separated by commas.
    pub(super) running_adapters: String,
    pub(super) waiting_adapters: String,
}

impl Gauges {
    /// The used share of the KV cache, 0 to 1.
    pub(super) fn kv_usage(&self) -> f64 {
        self.kv_used as f64 / self.kv_blocks as f64
    }
}

/// The engine. `T` is what each request's client is told through.
#[derive(Debug)]
pub(super) struct Engine<T> {
    limits: Limits,
    kv_cache: KvCache,
    adapters: AdapterSlots,
    waiting: VecDeque<Sequence<T>>,
    /// In the order in which they came into the batch.
    running: Vec<Sequence<T>>,
    deferred: usize,
    next_id: u64,
    step_began: f64,
    statistics: Statistics,
}

impl<T> Engine<T> {
    pub(super) fn new(limits: Limits, bounds: &Bounds) -> Self {
        Self {
            kv_cache: KvCache::new(limits.kv_blocks),
            adapters: AdapterSlots::new(limits.max_loras),
            limits,
            waiting: VecDeque::new(),
            running: Vec::new(),
            deferred: 0,
            next_id: 0,
            step_began: 0.0,
            statistics: Statistics::new(bounds),
        }
    }

    /// Takes a request into the queue.
    pub(super) fn submit(&mut self, request: Request<T>, now: f64) -> RequestId {
        let id = RequestId(self.next_id);
        self.next_id += 1;
        self.statistics.received += 1;
        self.waiting.push_back(Sequence::new(id, request, now));
        id
    }

    /// Forgets a request, if it is not finished yet.
    pub(super) fn cancel(&mut self, id: RequestId) {
        if let Some(index) = self.running.iter().position(|sequence| sequence.id == id) {
            let sequence = self.running.remove(index);
            self.retire(sequence);
        } else if let Some(index) = self.waiting.iter().position(|sequence| sequence.id == id) {
            self.waiting.remove(index);
        } else {
            return;
        }
        self.statistics.aborted += 1;
    }

    /// Decides what the next step computes, and returns how long it takes in seconds; none when
    /// there is nothing to do. Every step that was begun has to be ended.
    pub(super) fn begin_step(&mut self, now: f64) -> Option<f64> {
        let mut budget = self.limits.max_num_batched_tokens;
        let mut work = Work::default();
        let preempted = self.schedule_running(&mut budget, &mut work);
        let loads = if preempted {
            0
        } else {
            self.schedule_waiting(now, &mut budget, &mut work)
        };
        if work.tokens == 0 {
            self.statistics.generation_throughput = 0.0;
            return None;
        }
        let prefills = self.running.iter().any(|sequence| sequence.computing > 1);
        self.statistics.steps += 1;
        self.statistics.prefill_steps += u64::from(prefills);
        self.statistics.step_sequences += self.running.len() as u64;
        self.statistics.iteration_tokens.observe(work.tokens as f64);
        self.step_began = now;
        Some(self.limits.speed.step_seconds(work) + loads as f64 * self.limits.lora_load_seconds)
    }

    /// Ends the step under way, and tells the client of every request that made a token.
    pub(super) fn end_step(&mut self, now: f64, mut tell: impl FnMut(&T, Progress)) {
        let mut finished = Vec::new();
        let mut made = 0_u32;
        let statistics = &mut self.statistics;
        for (index, sequence) in self.running.iter_mut().enumerate() {
            sequence.computed += std::mem::take(&mut sequence.computing);
            if sequence.pending() > 0 {
                continue;
            }
            made += 1;
            sequence.tokens.push_generated(sequence.generated);
            sequence.generated += 1;
            if sequence.generated == 1 {
                sequence.first_token = now;
            }
            statistics.token(sequence, now);
            sequence.last_token = now;
            let reason = (sequence.generated == sequence.max_tokens).then_some(if sequence.stops {
                FinishReason::Stop
            } else {
                FinishReason::Length
            });
            if let Some(reason) = reason {
                statistics.finished(sequence, reason, now);
                finished.push(index);
            }
            tell(
                &sequence.client,
                Progress {
                    generated: sequence.generated,
                    cached: sequence.cached,
                    finished: reason,
                },
            );
        }
        statistics.decode_steps += u64::from(made > 0);
        statistics.generation_throughput = f64::from(made) / (now - self.step_began);
        for index in finished.into_iter().rev() {
            let sequence = self.running.remove(index);
            self.retire(sequence);
        }
    }

    pub(super) fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    pub(super) fn gauges(&self) -> Gauges {
        Gauges {
            waiting: self.waiting.len(),
            // Between two steps some of them may have been cancelled.
            deferred: self.deferred.min(self.waiting.len()),
            running: self.running.len(),
            prefilling: self
                .running
                .iter()
                .filter(|sequence| !sequence.is_decoding())
                .count(),
            kv_used: self.kv_cache.used(),
            kv_blocks: self.kv_cache.len(),
            running_adapters: adapters_of(self.running.iter()),
            waiting_adapters: adapters_of(self.waiting.iter()),
        }
    }

    /// Returns whether a sequence had to give its place up.
    fn schedule_running(&mut self, budget: &mut usize, work: &mut Work) -> bool {
        let mut preempted = false;
        let mut index = 0;
        while let Some(sequence) = self.running.get_mut(index) {
            if *budget == 0 {
                break;
            }
            let new = sequence.pending().min(*budget);
            let lacking = sequence.lacking_blocks(new);
            if self.kv_cache.extend(&mut sequence.blocks, lacking) {
                sequence.compute(new, &mut self.kv_cache, work);
                *budget -= new;
                index += 1;
            } else {
                preempted = true;
                self.preempt_last();
            }
        }
        preempted
    }

    /// The sequence that came last into the batch gives its blocks back, and is the next to come
    /// into it again.
    fn preempt_last(&mut self) {
        let Some(mut sequence) = self.running.pop() else {
            return;
        };
        self.kv_cache.release(std::mem::take(&mut sequence.blocks));
        if let Some(adapter) = &sequence.adapter {
            self.adapters.release(adapter);
        }
        sequence.computed = 0;
        sequence.preemptions += 1;
        self.statistics.preemptions += 1;
        self.waiting.push_front(sequence);
    }

    /// Returns how many adapters have to be loaded.
    fn schedule_waiting(&mut self, now: f64, budget: &mut usize, work: &mut Work) -> usize {
        let mut loads = 0;
        let mut deferred = Vec::new();
        while *budget > 0
            && self.running.len() < self.limits.max_num_seqs
            && let Some(mut sequence) = self.waiting.pop_front()
        {
            let admission = sequence
                .adapter
                .as_ref()
                .map_or(Admission::Resident, |adapter| {
                    self.adapters.admission(adapter)
                });
            if admission == Admission::Wait {
                deferred.push(sequence);
                continue;
            }
            // At least one token has to be computed for the next one to come out.
            let reusable = (sequence.tokens.len() - 1) / BLOCK_TOKENS;
            let hashes = sequence.tokens.hashes();
            let found = self
                .kv_cache
                .find(hashes.get(..reusable).unwrap_or_default());
            sequence.computed = found.len() * BLOCK_TOKENS;
            let new = sequence.pending().min(*budget);
            let needed = (sequence.computed + new).div_ceil(BLOCK_TOKENS) - found.len();
            let Some(blocks) = self.kv_cache.begin(found, needed) else {
                sequence.computed = 0;
                self.waiting.push_front(sequence);
                break;
            };
            sequence.blocks = blocks;
            if let Some(adapter) = &sequence.adapter {
                self.adapters.acquire(adapter);
            }
            loads += usize::from(admission == Admission::Load);
            if !sequence.was_scheduled() {
                sequence.scheduled = now;
                sequence.cached = sequence.computed;
                self.statistics
                    .looked_up(sequence.prompt_tokens, sequence.cached);
            }
            sequence.compute(new, &mut self.kv_cache, work);
            *budget -= new;
            self.running.push(sequence);
        }
        self.deferred = deferred.len();
        for sequence in deferred.into_iter().rev() {
            self.waiting.push_front(sequence);
        }
        self.statistics.adapter_loads += loads as u64;
        loads
    }

    /// Takes back what a sequence had.
    fn retire(&mut self, sequence: Sequence<T>) {
        self.kv_cache.release(sequence.blocks);
        if let Some(adapter) = &sequence.adapter {
            self.adapters.release(adapter);
        }
    }
}

/// Each adapter once, in the order of first use.
fn adapters_of<'sequence, T: 'sequence>(
    sequences: impl Iterator<Item = &'sequence Sequence<T>>,
) -> String {
    let mut adapters: Vec<&str> = Vec::new();
    for adapter in sequences.filter_map(|sequence| sequence.adapter.as_deref()) {
        if !adapters.contains(&adapter) {
            adapters.push(adapter);
        }
    }
    adapters.join(",")
}
