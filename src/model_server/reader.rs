//! Reads the expositions of one endpoint, scrape after scrape.

use super::{Engine, EngineId, Engines, series::History};
use crate::{
    pool::{EndpointMetrics, Process},
    time::Timestamp,
};

/// Which engine an endpoint runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineChoice {
    /// This one.
    Named(EngineId),
    /// The one that its expositions tell.
    Auto,
}

/// Reads the expositions of one endpoint, with what it remembers from one to the next.
#[derive(Debug, Clone)]
pub struct MetricsReader {
    choice: EngineChoice,
    engine: Option<EngineId>,
    history: History,
}

impl MetricsReader {
    /// A reader that has seen nothing yet.
    #[must_use]
    pub fn new(choice: EngineChoice) -> Self {
        let engine = match choice {
            EngineChoice::Named(engine) => Some(engine),
            EngineChoice::Auto => None,
        };
        Self {
            choice,
            engine,
            history: History::default(),
        }
    }

    /// The engine by which it reads; `None` while none has been recognised.
    #[must_use]
    pub const fn engine(&self) -> Option<EngineId> {
        self.engine
    }

    /// Reads an exposition asked for `at`; `before` is what was read last, by this reader or by one
    /// before it in another VM. Every signal is missing while no engine is recognised. Of a server that
    /// has started anew, or that another engine has taken the place of, it is another incarnation.
    pub fn read(
        &mut self,
        engines: &Engines,
        exposition: &[u8],
        at: Timestamp,
        before: Option<&EndpointMetrics>,
    ) -> EndpointMetrics {
        let mut metrics = self.read_signals(engines, exposition, at, before);
        if self.choice == EngineChoice::Auto {
            let engine = self.engine.and_then(|engine| engines.get(engine));
            metrics.set_engine(engine.map(Engine::name));
        }
        metrics
    }

    fn read_signals(
        &mut self,
        engines: &Engines,
        exposition: &[u8],
        at: Timestamp,
        before: Option<&EndpointMetrics>,
    ) -> EndpointMetrics {
        let metrics = self.read_as_known(engines, exposition, at, before);
        let process = before.map(EndpointMetrics::process).unwrap_or_default();
        let known = self.engine.and_then(|engine| engines.get(engine));
        let is_told = known
            .zip(metrics.as_ref())
            .is_some_and(|(engine, metrics)| engine.mapping().is_told(metrics));
        if self.choice != EngineChoice::Auto || is_told {
            return metrics.unwrap_or_else(|| nothing_of(process));
        }
        let earlier = self
            .engine
            .or_else(|| engines.find(before.and_then(EndpointMetrics::engine)?));
        // Nothing that its engine should say: it may be another's by now.
        match engines.recognize(exposition) {
            Some(engine) if self.engine != Some(engine) => {
                self.history = History::default();
                self.engine = Some(engine);
                if earlier.is_none_or(|earlier| earlier == engine) {
                    self.read_as_known(engines, exposition, at, before)
                } else {
                    let another = nothing_of(Process {
                        started: None,
                        incarnation: process.incarnation.wrapping_add(1),
                    });
                    self.read_as_known(engines, exposition, at, Some(&another))
                }
            }
            // What the reader before this one has recognised counts only where the exposition tells
            // nothing: under another configuration it could be recognised as another.
            None if self.engine != earlier => {
                self.engine = earlier;
                self.read_as_known(engines, exposition, at, before)
            }
            _ => metrics,
        }
        .unwrap_or_else(|| nothing_of(process))
    }

    fn read_as_known(
        &mut self,
        engines: &Engines,
        exposition: &[u8],
        at: Timestamp,
        before: Option<&EndpointMetrics>,
    ) -> Option<EndpointMetrics> {
        let mapping = engines.get(self.engine?)?.mapping();
        Some(mapping.read(exposition, at, &mut self.history, before))
    }
}

fn nothing_of(process: Process) -> EndpointMetrics {
    let mut metrics = EndpointMetrics::default();
    metrics.set_process(process);
    metrics
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::{Observation, Signal};

    const VLLM: &[u8] = b"vllm:num_requests_waiting 3\nvllm:num_requests_running 1\n";
    const OWN: &[u8] = b"own_queue 7\n";

    fn waiting(metrics: &EndpointMetrics) -> Option<f64> {
        match metrics.observation(Signal::WaitingRequests) {
            Observation::Value { value, .. } => Some(value),
            _ => None,
        }
    }

    #[test]
    fn the_engine_is_the_one_that_the_exposition_tells() {
        let specs = r#"{"own": {"recognizedBy": ["own_queue"], "signals": {"waitingRequests": "own_queue"}}}"#;
        let engines = Engines::new(serde_json::from_str(specs).unwrap()).unwrap();
        let mut reader = MetricsReader::new(EngineChoice::Auto);
        for (exposition, engine, expected) in [
            (b"".as_slice(), None, None),
            (b"go_threads 3\n", None, None),
            (VLLM, Some("vllm"), Some(3.0)),
            // A server that says nothing for once is still the same.
            (b"", Some("vllm"), None),
            (VLLM, Some("vllm"), Some(3.0)),
            // Another has taken its address.
            (OWN, Some("own"), Some(7.0)),
        ] {
            let metrics = reader.read(&engines, exposition, Timestamp::from_millis(1), None);
            let found = reader.engine().and_then(|id| engines.get(id));
            assert_eq!(found.map(|engine| engine.name()), engine);
            assert_eq!(waiting(&metrics), expected, "{engine:?}");
        }
    }

    #[test]
    fn a_constant_tells_no_engine() {
        let specs = r#"{"vllm": {"signals": {"kvBlockSize": "16"}, "customMetrics": {"one": ["absent", "1"]}}}"#;
        let engines = Engines::new(serde_json::from_str(specs).unwrap()).unwrap();
        let mut reader = MetricsReader::new(EngineChoice::Auto);
        for (exposition, engine) in [
            (VLLM, "vllm"),
            (b"tgi_queue_size 7\n", "tgi"),
            (VLLM, "vllm"),
        ] {
            reader.read(&engines, exposition, Timestamp::from_millis(1), None);
            let found = reader.engine().and_then(|id| engines.get(id));
            assert_eq!(found.map(Engine::name), Some(engine));
        }
    }

    #[test]
    fn a_successor_knows_the_engine_that_was_recognised_before_it() {
        let engines = Engines::default();
        let at = Timestamp::from_millis(1);
        let read = |reader: &mut MetricsReader, exposition, before: Option<&EndpointMetrics>| {
            let metrics = reader.read(&engines, exposition, at, before);
            let name = reader.engine().and_then(|id| engines.get(id));
            assert_eq!(metrics.engine(), name.map(Engine::name));
            metrics
        };
        let recognised = read(&mut MetricsReader::new(EngineChoice::Auto), VLLM, None);
        let mut of_no_engine = recognised.clone();
        of_no_engine.set_engine(Some("an engine of another configuration"));
        for (before, exposition, engine, incarnation) in [
            (None, b"garbage".as_slice(), None, 0),
            (Some(&of_no_engine), b"garbage", None, 0),
            (Some(&of_no_engine), VLLM, Some("vllm"), 0),
            (Some(&recognised), b"", Some("vllm"), 0),
            (Some(&recognised), b"garbage", Some("vllm"), 0),
            (Some(&recognised), VLLM, Some("vllm"), 0),
            // The exposition counts for more.
            (
                Some(&recognised),
                b"sglang:num_queue_reqs 3\n",
                Some("sglang"),
                1,
            ),
        ] {
            let mut successor = MetricsReader::new(EngineChoice::Auto);
            let metrics = read(&mut successor, exposition, before);
            assert_eq!(metrics.engine(), engine);
            assert_eq!(metrics.process().incarnation, incarnation, "{engine:?}");
            // It hands on what it knows, and goes on from it.
            let garbage = read(&mut successor, b"garbage", Some(&metrics));
            assert_eq!(garbage.engine(), engine);
            let mut third = MetricsReader::new(EngineChoice::Auto);
            assert_eq!(
                read(&mut third, b"garbage", Some(&garbage)).engine(),
                engine
            );
        }
    }

    #[test]
    fn an_engine_that_is_named_is_not_guessed() {
        let engines = Engines::default();
        let vllm = engines.find("vllm").unwrap();
        let mut reader = MetricsReader::new(EngineChoice::Named(vllm));
        for exposition in [OWN, b"sglang:num_queue_reqs 3\n"] {
            let metrics = reader.read(&engines, exposition, Timestamp::from_millis(1), None);
            assert_eq!((reader.engine(), waiting(&metrics)), (Some(vllm), None));
        }
    }
}
