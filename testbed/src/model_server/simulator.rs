//! The engine in real time, divided by the time scale.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, ensure};
use tokio::sync::{Notify, watch};

use super::{
    Load,
    dialect::{Dialect, Exposition},
    engine::{BLOCK_TOKENS, Engine, Limits, Progress, Request, RequestId, SpeedClass, Tokens},
    faults::Faults,
};

/// What a simulated model server is like.
#[derive(Clone, Debug)]
pub struct SimulatorConfig {
    /// The GPU.
    pub speed: SpeedClass,
    /// How many simulated seconds pass in a real one, more than 0.
    pub time_scale: f64,
    /// Sequences in the batch, at least 1.
    pub max_num_seqs: usize,
    /// Tokens in a step, at least 1.
    pub max_num_batched_tokens: usize,
    /// Blocks of 16 tokens in the KV cache; as many as fit into the GPU's memory if none is given.
    pub kv_blocks: Option<usize>,
    /// Tokens of a prompt and its answer together. A KV cache that cannot hold as many is refused.
    pub max_model_len: usize,
    /// LoRA adapters that fit on the GPU at a time; 0 serves none.
    pub max_loras: usize,
    /// The names under which adapters are served.
    pub loras: Vec<String>,
    /// How much longer, in simulated time, a step takes in which an adapter comes onto the GPU.
    pub lora_load: Duration,
    /// Whose metrics it shows.
    pub dialect: Dialect,
    /// The name under which the model is served.
    pub model: String,
}

impl Default for SimulatorConfig {
    /// vLLM's own defaults on an A100, in real time. An adapter of rank 16 on all linear layers has
    /// 41.9 million parameters, 84 MB, which come from a disk at 1 GB/s.
    fn default() -> Self {
        Self {
            speed: SpeedClass::A100,
            time_scale: 1.0,
            max_num_seqs: 256,
            max_num_batched_tokens: 2048,
            kv_blocks: None,
            max_model_len: 8192,
            max_loras: 0,
            loras: Vec::new(),
            lora_load: Duration::from_millis(84),
            dialect: Dialect::Vllm,
            model: "llama-3.1-8b".to_owned(),
        }
    }
}

impl SimulatorConfig {
    /// Blocks in the KV cache.
    #[must_use]
    pub fn kv_blocks(&self) -> usize {
        self.kv_blocks.unwrap_or_else(|| self.speed.kv_blocks())
    }

    /// # Errors
    ///
    /// When a value is out of its range; the message names it.
    pub(super) fn check(&self) -> Result<()> {
        ensure!(
            self.time_scale.is_finite() && self.time_scale > 0.0,
            "time_scale: {} is not above 0",
            self.time_scale
        );
        for (name, value) in [
            ("max_num_seqs", self.max_num_seqs),
            ("max_num_batched_tokens", self.max_num_batched_tokens),
            ("max_model_len", self.max_model_len),
        ] {
            ensure!(value > 0, "{name}: has to be at least 1");
        }
        let capacity = self.kv_blocks() * BLOCK_TOKENS;
        ensure!(
            self.max_model_len <= capacity,
            "max_model_len: the KV cache holds {capacity} tokens, not {}",
            self.max_model_len
        );
        ensure!(
            self.loras.is_empty() || self.max_loras > 0,
            "max_loras: has to be at least 1 to serve adapters"
        );
        Ok(())
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            speed: self.speed,
            max_num_seqs: self.max_num_seqs,
            max_num_batched_tokens: self.max_num_batched_tokens,
            kv_blocks: self.kv_blocks(),
            max_loras: self.max_loras,
            lora_load_seconds: self.lora_load.as_secs_f64(),
        }
    }
}

/// The state of a simulated server at one moment, as its metrics would tell it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Requests that wait.
    pub waiting: usize,
    /// Requests in the batch.
    pub running: usize,
    /// The used share of the KV cache, 0 to 1.
    pub kv_cache_usage: f64,
    /// Prompt tokens looked up in the KV cache.
    pub prefix_cache_queries: u64,
    /// Those of them that were there.
    pub prefix_cache_hits: u64,
    /// How often a sequence had to give its place in the batch up.
    pub preemptions: u64,
    /// Prompt tokens of requests whose prefill is done.
    pub prompt_tokens: u64,
    /// Tokens made.
    pub generation_tokens: u64,
    /// The most, in real time, that a step ended after it should have: timers are exact to a
    /// millisecond, and what is beyond that the machine was too busy for.
    pub behind: Duration,
}

/// An engine, and the clock it runs by.
#[derive(Debug)]
pub(super) struct Simulator {
    config: SimulatorConfig,
    loras: Vec<Arc<str>>,
    origin: Instant,
    life: Mutex<Life>,
    /// Told whenever there may be work for an engine that has none.
    wake: Notify,
}

/// What a restart begins anew.
#[derive(Debug)]
struct Life {
    /// Tells the lives of a server apart.
    number: u64,
    engine: Engine<watch::Sender<Progress>>,
    exposition: Exposition,
    behind: Duration,
}

impl Life {
    fn new(number: u64, config: &SimulatorConfig) -> Self {
        let bounds = config.dialect.bounds(config.max_model_len);
        Self {
            number,
            engine: Engine::new(config.limits(), &bounds),
            exposition: Exposition::new(config, unix_time()),
            behind: Duration::ZERO,
        }
    }
}

impl Simulator {
    /// # Errors
    ///
    /// As [`SimulatorConfig::check`].
    pub(super) fn new(config: SimulatorConfig) -> Result<Self> {
        config.check()?;
        Ok(Self {
            loras: config
                .loras
                .iter()
                .map(|name| Arc::from(name.as_str()))
                .collect(),
            origin: Instant::now(),
            life: Mutex::new(Life::new(0, &config)),
            wake: Notify::new(),
            config,
        })
    }

    pub(super) fn config(&self) -> &SimulatorConfig {
        &self.config
    }

    /// The adapter of this name.
    pub(super) fn lora(&self, name: &str) -> Option<Arc<str>> {
        self.loras.iter().find(|lora| &***lora == name).cloned()
    }

    /// Takes a request that fits into the context.
    pub(super) fn submit(
        self: &Arc<Self>,
        prompt: Tokens,
        max_tokens: usize,
        stops: bool,
        adapter: Option<Arc<str>>,
    ) -> Ticket {
        let (client, progress) = watch::channel(Progress::default());
        let request = Request {
            prompt,
            max_tokens,
            stops,
            adapter,
            client,
        };
        let now = self.now();
        let mut life = self.life();
        let ticket = Ticket {
            simulator: Arc::clone(self),
            life: life.number,
            id: life.engine.submit(request, now),
            progress,
        };
        drop(life);
        self.wake.notify_one();
        ticket
    }

    /// Loses everything: requests, caches, counters.
    pub(super) fn restart(&self) {
        let mut life = self.life();
        *life = Life::new(life.number + 1, &self.config);
    }

    /// Writes the exposition.
    pub(super) fn render(&self) -> String {
        let mut life = self.life();
        let Life {
            engine, exposition, ..
        } = &mut *life;
        exposition.render(&engine.gauges(), engine.statistics(), unix_time())
    }

    pub(super) fn load(&self) -> Load {
        let gauges = self.life().engine.gauges();
        Load {
            waiting: gauges.waiting as u32,
            running: gauges.running as u32,
            kv_cache_usage: gauges.kv_usage(),
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let life = self.life();
        let (gauges, statistics) = (life.engine.gauges(), life.engine.statistics());
        Snapshot {
            waiting: gauges.waiting,
            running: gauges.running,
            kv_cache_usage: gauges.kv_usage(),
            prefix_cache_queries: statistics.prefix_queries,
            prefix_cache_hits: statistics.prefix_hits,
            preemptions: statistics.preemptions,
            prompt_tokens: statistics.prompt_tokens,
            generation_tokens: statistics.generation_tokens,
            behind: life.behind,
        }
    }

    /// Takes one step after the other, for ever.
    ///
    /// A step begins when the one before should have ended, not when a timer said that it had: timers
    /// are late by up to a millisecond, which is as long as a step under a time scale of ten.
    pub(super) async fn run(&self, mut faults: watch::Receiver<Faults>) {
        let mut ended = None;
        loop {
            if faults.borrow().hang {
                // The time that it stands still is lost, not made up for.
                ended = None;
            }
            let Ok(slow) = faults
                .wait_for(|faults| !faults.hang)
                .await
                .map(|faults| faults.slow)
            else {
                return;
            };
            let begin = ended.unwrap_or_else(|| self.now());
            let (life, step) = {
                let mut life = self.life();
                (life.number, life.engine.begin_step(begin))
            };
            let Some(seconds) = step else {
                ended = None;
                self.wake.notified().await;
                continue;
            };
            let end = begin + seconds * slow;
            let deadline = self.origin + Duration::from_secs_f64(end / self.config.time_scale);
            tokio::time::sleep_until(deadline.into()).await;
            ended = self.end_step(life, end, deadline).then_some(end);
        }
    }

    /// Returns whether the engine is still the one that began the step.
    fn end_step(&self, number: u64, end: f64, deadline: Instant) -> bool {
        let mut life = self.life();
        if life.number != number {
            return false;
        }
        life.behind = life.behind.max(deadline.elapsed());
        life.engine.end_step(end, |client, progress| {
            client.send_replace(progress);
        });
        true
    }

    /// Simulated seconds since the server was made.
    fn now(&self) -> f64 {
        self.origin.elapsed().as_secs_f64() * self.config.time_scale
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request in an engine, which is cancelled when this is dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    simulator: Arc<Simulator>,
    life: u64,
    id: RequestId,
    progress: watch::Receiver<Progress>,
}

impl Ticket {
    /// Waits until there is more of the answer; none when the engine has forgotten the request.
    pub(super) async fn more(&mut self) -> Option<Progress> {
        self.progress.changed().await.ok()?;
        Some(*self.progress.borrow_and_update())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.progress.borrow().finished.is_none() {
            let mut life = self.simulator.life();
            if life.number == self.life {
                life.engine.cancel(self.id);
            }
        }
    }
}

/// Seconds since 1970.
fn unix_time() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
