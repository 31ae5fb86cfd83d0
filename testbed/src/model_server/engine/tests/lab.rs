//! An engine and its clock.

use std::sync::Arc;

use super::super::{
    super::dialect::Dialect, Engine, Limits, Progress, Request, RequestId, SpeedClass, Tokens,
};

pub(super) const LIMITS: Limits = Limits {
    speed: SpeedClass::A100,
    max_num_seqs: 256,
    max_num_batched_tokens: 2048,
    kv_blocks: 4096,
    max_loras: 2,
    lora_load_seconds: 0.5,
};

/// A client: the number of the request in the order of submission.
pub(super) type Client = usize;

/// When something became of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Event {
    pub(super) time: f64,
    pub(super) client: Client,
    pub(super) progress: Progress,
}

/// An engine and its clock.
pub(super) struct Lab {
    pub(super) engine: Engine<Client>,
    pub(super) now: f64,
    pub(super) submitted: Client,
    pub(super) events: Vec<Event>,
}

impl Lab {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            engine: Engine::new(limits, &Dialect::Vllm.bounds(8192)),
            now: 0.0,
            submitted: 0,
            events: Vec::new(),
        }
    }

    /// A request whose prompt has this many tokens, which differ from those of any other `text`.
    pub(super) fn submit_text(&mut self, text: u32, prompt: usize, max_tokens: usize) -> RequestId {
        self.submit_for(None, text, prompt, max_tokens)
    }

    pub(super) fn submit(&mut self, prompt: usize, max_tokens: usize) -> RequestId {
        self.submit_text(1000 + self.submitted as u32, prompt, max_tokens)
    }

    pub(super) fn submit_for(
        &mut self,
        adapter: Option<&str>,
        text: u32,
        prompt: usize,
        max_tokens: usize,
    ) -> RequestId {
        let mut tokens = Tokens::new(adapter.unwrap_or("base"));
        for index in 0..prompt as u32 {
            tokens.push(text << 16 | index);
        }
        let request = Request {
            prompt: tokens,
            max_tokens,
            stops: false,
            adapter: adapter.map(Arc::from),
            client: self.submitted,
        };
        self.submitted += 1;
        self.engine.submit(request, self.now)
    }

    /// Takes a step, and returns its duration.
    pub(super) fn step(&mut self) -> Option<f64> {
        let seconds = self.engine.begin_step(self.now)?;
        self.now += seconds;
        let (now, events) = (self.now, &mut self.events);
        self.engine.end_step(now, |client, progress| {
            events.push(Event {
                time: now,
                client: *client,
                progress,
            });
        });
        Some(seconds)
    }

    /// Steps until there is nothing to do.
    pub(super) fn run(&mut self) {
        for _ in 0..1_000_000 {
            if self.step().is_none() {
                return;
            }
        }
        panic!("the engine does not come to an end");
    }

    pub(super) fn first_token(&self, client: Client) -> f64 {
        self.time(client, |progress| progress.generated == 1)
    }

    pub(super) fn end(&self, client: Client) -> f64 {
        self.time(client, |progress| progress.finished.is_some())
    }

    fn time(&self, client: Client, which: impl Fn(&Progress) -> bool) -> f64 {
        self.events
            .iter()
            .find(|event| event.client == client && which(&event.progress))
            .unwrap()
            .time
    }

    pub(super) fn assert_idle(&self) {
        let gauges = self.engine.gauges();
        assert_eq!((gauges.waiting, gauges.running, gauges.kv_used), (0, 0, 0));
    }
}
