//! The engine in virtual time: whoever runs it says what time it is.

use anyhow::Result;
use hyper::StatusCode;

use super::{
    api,
    dialect::Exposition,
    engine::{Engine, Progress, token_text},
    simulator::SimulatorConfig,
};

/// A simulated model server without a clock and without connections. `T` names its requests.
#[derive(Debug)]
pub(crate) struct VirtualServer<T> {
    config: SimulatorConfig,
    engine: Engine<T>,
    exposition: Exposition,
    is_stepping: bool,
}

impl<T> VirtualServer<T> {
    /// A server that started at this time, in seconds since 1970, and has nothing to do.
    ///
    /// # Errors
    ///
    /// When the configuration is not possible.
    pub(crate) fn new(config: &SimulatorConfig, started: f64) -> Result<Self> {
        config.check()?;
        let bounds = config.dialect.bounds(config.max_model_len);
        Ok(Self {
            engine: Engine::new(config.limits(), &bounds),
            exposition: Exposition::new(config, started),
            config: config.clone(),
            is_stepping: false,
        })
    }

    /// Takes the body of a chat completion, and returns how many tokens its prompt has.
    ///
    /// # Errors
    ///
    /// The status by which it is refused.
    pub(crate) fn submit(&mut self, body: &[u8], client: T, now: f64) -> Result<usize, StatusCode> {
        let request = api::chat_request(&self.config, body, client)?;
        let prompt_tokens = request.prompt.len();
        self.engine.submit(request, now);
        Ok(prompt_tokens)
    }

    /// Begins a step, and returns when it is to be ended; none where one is under way, or there is
    /// nothing to do.
    pub(crate) fn begin_step(&mut self, now: f64) -> Option<f64> {
        if self.is_stepping {
            return None;
        }
        let seconds = self.engine.begin_step(now)?;
        self.is_stepping = true;
        Some(now + seconds)
    }

    /// Ends the step under way, and tells what has become of every request that made a token.
    pub(crate) fn end_step(&mut self, now: f64, tell: impl FnMut(&T, Progress)) {
        self.is_stepping = false;
        self.engine.end_step(now, tell);
    }

    /// What it answers to a scrape at this time, in seconds since 1970.
    pub(crate) fn metrics(&mut self, unix_time: f64) -> String {
        let Self {
            engine, exposition, ..
        } = self;
        exposition.render(&engine.gauges(), engine.statistics(), unix_time)
    }
}

/// The text of an answer of so many tokens.
pub(crate) fn answer_text(tokens: usize) -> String {
    (0..tokens).map(token_text).collect()
}
