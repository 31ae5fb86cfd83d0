//! What stands in for an engine when the load is set by hand: the load it reports, and the canned
//! tokens it makes.

use tokio::sync::watch;

use super::{
    dialect::{self, Dialect},
    engine::{FinishReason, Progress},
};

/// The load of a model server, as its metrics tell it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Requests that wait to be taken into a batch.
    pub waiting: u32,
    /// Requests in the running batch.
    pub running: u32,
    /// The used share of the KV cache, 0 to 1.
    pub kv_cache_usage: f64,
}

/// The tokens of every answer.
const ANSWER: [&str; 12] = [
    "This",
    " model",
    " server",
    " is",
    " a",
    " simulation,",
    " so",
    " every",
    " answer",
    " is",
    " the",
    " same.",
];

/// An engine that makes canned tokens, as many as it may.
#[derive(Debug)]
pub(super) struct Engine {
    dialect: Dialect,
    load: watch::Sender<Load>,
    token_limit: watch::Sender<Option<usize>>,
}

impl Engine {
    /// An idle one that shows its metrics as this kind of model server does.
    pub(super) fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            load: watch::Sender::default(),
            token_limit: watch::Sender::default(),
        }
    }

    pub(super) fn set_load(&self, load: Load) {
        self.load.send_replace(load);
    }

    pub(super) fn set_token_limit(&self, limit: Option<usize>) {
        self.token_limit.send_replace(limit);
    }

    /// The load at this moment.
    pub(super) fn load(&self) -> Load {
        *self.load.borrow()
    }

    /// What it shows of its load.
    pub(super) fn exposition(&self) -> String {
        dialect::with_load(self.dialect, self.load())
    }

    /// Begins an answer of at most `max_tokens`.
    pub(super) fn generate(&self, max_tokens: Option<usize>) -> Generation {
        let length = max_tokens.map_or(ANSWER.len(), |max| max.min(ANSWER.len()));
        Generation {
            generated: 0,
            length,
            token_limit: self.token_limit.subscribe(),
        }
    }
}

/// An answer in the making.
#[derive(Clone, Debug)]
pub(super) struct Generation {
    generated: usize,
    length: usize,
    token_limit: watch::Receiver<Option<usize>>,
}

impl Generation {
    /// Waits for the next token. The answer is cut when there would have been more.
    pub(super) async fn more(&mut self) -> Progress {
        let generated = self.generated;
        let may_go_on = |limit: &Option<usize>| limit.is_none_or(|limit| generated < limit);
        // Ends with the engine as well.
        let _ = self.token_limit.wait_for(may_go_on).await;
        self.generated = (self.generated + 1).min(self.length);
        let reason = if self.length < ANSWER.len() {
            FinishReason::Length
        } else {
            FinishReason::Stop
        };
        Progress {
            generated: self.generated,
            cached: 0,
            finished: (self.generated == self.length).then_some(reason),
        }
    }
}

/// The text of an answer's token; nothing in it has to be escaped in JSON.
pub(super) fn token_text(index: usize) -> &'static str {
    ANSWER.get(index).copied().unwrap_or_default()
}

/// An estimate of how many tokens a text is: four bytes each, the rule of thumb for English.
pub(super) fn estimate_tokens(text: &str) -> usize {
    text.len().div_ceil(4)
}
