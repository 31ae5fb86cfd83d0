//! Reads the expositions of one endpoint, scrape after scrape.

use super::{Engine, EngineId, Engines, recognition::Recognition, series::History};
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
    recognition: Recognition,
    history: History,
}

impl MetricsReader {
    /// A reader that has seen nothing yet.
    #[must_use]
    pub fn new(choice: EngineChoice) -> Self {
        Self {
            choice,
            recognition: Recognition::default(),
            history: History::default(),
        }
    }

    /// The engine by which it reads; `None` while none has been recognised.
    #[must_use]
    pub const fn engine(&self) -> Option<EngineId> {
        match self.choice {
            EngineChoice::Named(engine) => Some(engine),
            EngineChoice::Auto => self.recognition.engine(),
        }
    }

    /// Reads an exposition asked for `at`; `before` is what was read last, by this reader or by one
    /// before it in another VM. Every signal is missing while no engine is recognised. Of a server that
    /// has started anew, or that another engine has taken the place of, it is another incarnation; of one
    /// that tells more than before, and thereby a better engine, it is not.
    pub fn read(
        &mut self,
        engines: &Engines,
        exposition: &[u8],
        at: Timestamp,
        before: Option<&EndpointMetrics>,
    ) -> EndpointMetrics {
        let process = before.map(EndpointMetrics::process).unwrap_or_default();
        if self.choice != EngineChoice::Auto {
            return self
                .read_as_known(engines, exposition, at, before)
                .unwrap_or_else(|| nothing_of(process));
        }
        // Under another configuration it could be recognised as another, so it counts only where the
        // exposition tells nothing.
        let earlier = before.and_then(EndpointMetrics::engine);
        self.recognition
            .assume(earlier.and_then(|engine| engines.find(engine)));
        let known = self.read_as_known(engines, exposition, at, before);
        let mut metrics = self
            .read_as_another(engines, exposition, at, before, known.as_ref())
            .or(known)
            .unwrap_or_else(|| nothing_of(process));
        let engine = self.engine().and_then(|engine| engines.get(engine));
        metrics.set_engine(engine.map(Engine::name));
        metrics
    }

    /// Reads an exposition anew, if it is of another engine than the one by which it was read as `known`.
    fn read_as_another(
        &mut self,
        engines: &Engines,
        exposition: &[u8],
        at: Timestamp,
        before: Option<&EndpointMetrics>,
        known: Option<&EndpointMetrics>,
    ) -> Option<EndpointMetrics> {
        let process = before.map(EndpointMetrics::process).unwrap_or_default();
        let earlier = self.engine();
        let mapping = earlier
            .and_then(|engine| engines.get(engine))
            .map(Engine::mapping);
        let is_told = mapping
            .zip(known)
            .is_some_and(|(mapping, metrics)| mapping.is_told(metrics));
        let is_anew =
            known.is_some_and(|metrics| metrics.process().incarnation != process.incarnation);
        if !self.recognition.looks(is_told, is_anew) {
            return None;
        }
        let told = engines.told_by(exposition);
        if !self.recognition.look(&told, is_told) {
            return None;
        }
        self.history = History::default();
        if !is_anew && earlier.is_none_or(|earlier| told.contains(&earlier)) {
            return self.read_as_known(engines, exposition, at, before);
        }
        let another = nothing_of(Process {
            started: None,
            incarnation: process.incarnation.wrapping_add(1),
        });
        self.read_as_known(engines, exposition, at, Some(&another))
    }

    fn read_as_known(
        &mut self,
        engines: &Engines,
        exposition: &[u8],
        at: Timestamp,
        before: Option<&EndpointMetrics>,
    ) -> Option<EndpointMetrics> {
        let mapping = engines.get(self.engine()?)?.mapping();
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
    use crate::{
        model_server::recognition::{SCRAPES_A_LOOK, SCRAPES_TO_GO_BACK},
        pool::{Observation, Signal},
    };

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

    const TRITON: &[u8] = b"nv_inference_pending_request_count 3\n";
    const TRITON_TRTLLM: &[u8] = b"nv_inference_pending_request_count 3\n\
        nv_trt_llm_request_metrics{request_type=\"waiting\"} 5\n";

    /// Reads expositions in turn, as often as is said of each; tells the engines and the incarnations
    /// after each.
    fn read_in_turn(expositions: &[(&[u8], u32)]) -> Vec<(String, u32)> {
        let engines = Engines::default();
        let mut reader = MetricsReader::new(EngineChoice::Auto);
        let mut before = None;
        let read = expositions.iter().map(|(exposition, times)| {
            for _ in 0..*times {
                let at = Timestamp::from_millis(1);
                before = Some(reader.read(&engines, exposition, at, before.as_ref()));
            }
            let metrics = before.as_ref().unwrap();
            let engine = metrics.engine().unwrap_or_default().to_owned();
            (engine, metrics.process().incarnation)
        });
        read.collect()
    }

    fn assert_recognized(case: &str, expected: &[(&[u8], u32, &str, u32)]) {
        let expositions = expected.iter().map(|(text, times, ..)| (*text, *times));
        let read = read_in_turn(&expositions.collect::<Vec<_>>());
        let expected: Vec<_> = expected
            .iter()
            .map(|(.., engine, incarnation)| ((*engine).to_owned(), *incarnation))
            .collect();
        assert_eq!(read, expected, "{case}");
    }

    #[test]
    fn what_was_counted_by_another_engine_is_not_counted_from() {
        let specs = r#"{
            "one": {
                "recognizedBy": ["one_count"],
                "signals": {"timeToFirstToken": "increase(one_sum) / increase(one_count)"}
            },
            "two": {
                "recognizedBy": ["two_total"],
                "signals": {"timeToFirstToken": "increase(two_total)"}
            }
        }"#;
        let engines = Engines::new(serde_json::from_str(specs).unwrap()).unwrap();
        let mut reader = MetricsReader::new(EngineChoice::Auto);
        let mut before = None;
        for (millis, exposition, expected) in [
            (1, "one_sum 5\none_count 5\n", None),
            // What the first still finds of its own is no counter of the second.
            (2, "one_sum 7\ntwo_total 9\n", None),
            (3, "two_total 10\n", Some(1.0)),
        ] {
            let at = Timestamp::from_millis(millis);
            let metrics = reader.read(&engines, exposition.as_bytes(), at, before.as_ref());
            let found = metrics.observation(Signal::TimeToFirstToken);
            let expected = expected.map_or(Observation::Unmeasured, |growth| {
                Observation::of(growth, at)
            });
            assert_eq!(found, expected, "{exposition}");
            before = Some(metrics);
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
    fn a_server_that_tells_more_is_recognized_better() {
        const DYNAMO: &[u8] =
            b"vllm:num_requests_waiting 3\ndynamo_component_inflight_requests 1\n";
        assert_recognized(
            "a better one once, and the same server",
            &[
                (TRITON, 40, "triton", 0),
                (TRITON_TRTLLM, SCRAPES_A_LOOK, "triton-tensorrt-llm", 0),
                (TRITON_TRTLLM, 40, "triton-tensorrt-llm", 0),
            ],
        );
        assert_recognized(
            "what wraps it",
            &[
                (VLLM, 40, "vllm", 0),
                (DYNAMO, SCRAPES_A_LOOK, "dynamo", 0),
                // Its engine's families alone tell of it as well.
                (VLLM, 40, "dynamo", 0),
            ],
        );
        assert_recognized(
            "none but a better one",
            &[
                (VLLM, 1, "vllm", 0),
                (
                    b"vllm:num_requests_waiting 3\ntgi_queue_size 1\n",
                    40,
                    "vllm",
                    0,
                ),
            ],
        );
    }

    #[test]
    fn a_server_that_tells_less_for_a_moment_is_not_recognized_worse() {
        assert_recognized(
            "for a moment",
            &[
                (TRITON_TRTLLM, 1, "triton-tensorrt-llm", 0),
                (TRITON, SCRAPES_TO_GO_BACK - 1, "triton-tensorrt-llm", 0),
                (TRITON_TRTLLM, 1, "triton-tensorrt-llm", 0),
                (TRITON, SCRAPES_TO_GO_BACK - 1, "triton-tensorrt-llm", 0),
                (TRITON_TRTLLM, 1, "triton-tensorrt-llm", 0),
                (b"", 40, "triton-tensorrt-llm", 0),
                // What tells of no engine tells of none beside it either.
                (TRITON, SCRAPES_TO_GO_BACK - 1, "triton-tensorrt-llm", 0),
                (TRITON, 1, "triton", 1),
            ],
        );
        assert_recognized(
            "for long, as another server",
            &[
                (TRITON_TRTLLM, 40, "triton-tensorrt-llm", 0),
                (TRITON, SCRAPES_TO_GO_BACK, "triton", 1),
                (TRITON_TRTLLM, SCRAPES_A_LOOK, "triton-tensorrt-llm", 1),
            ],
        );
        let turns: Vec<(&[u8], u32)> = [(TRITON, 1), (TRITON_TRTLLM, 2)].repeat(100);
        let read = read_in_turn(&turns);
        let changes = read.windows(2).filter(|pair| pair[0] != pair[1]);
        assert_eq!(changes.count(), 1, "two servers that answer in turn");
    }

    #[test]
    fn a_process_that_has_started_anew_is_recognized_anew() {
        const DYNAMO: &[u8] = b"vllm:num_requests_waiting 3\n\
            dynamo_component_inflight_requests 1\nprocess_start_time_seconds 1e9\n";
        const VLLM_LATER: &[u8] =
            b"vllm:num_requests_waiting 3\nprocess_start_time_seconds 1.1e9\n";
        const STARTING: &[u8] = b"process_start_time_seconds 1.1e9\n";
        assert_recognized(
            "as one whose families the engine before has too",
            &[
                (DYNAMO, 40, "dynamo", 0),
                (VLLM_LATER, 1, "vllm", 1),
                (VLLM_LATER, 40, "vllm", 1),
            ],
        );
        assert_recognized(
            "once it tells of one",
            &[
                (DYNAMO, 1, "dynamo", 0),
                (STARTING, 3, "dynamo", 1),
                (VLLM_LATER, 1, "vllm", 2),
                (VLLM_LATER, 40, "vllm", 2),
            ],
        );
        assert_recognized(
            "as the same",
            &[(VLLM, 1, "vllm", 0), (VLLM_LATER, 40, "vllm", 0)],
        );
    }

    #[test]
    fn a_successor_that_is_told_more_reads_the_same_server() {
        let engines = Engines::default();
        let at = Timestamp::from_millis(1);
        let before = MetricsReader::new(EngineChoice::Auto).read(&engines, TRITON, at, None);
        assert_eq!(before.engine(), Some("triton"));
        let mut successor = MetricsReader::new(EngineChoice::Auto);
        let metrics = successor.read(&engines, TRITON_TRTLLM, at, Some(&before));
        assert_eq!(metrics.engine(), Some("triton-tensorrt-llm"));
        assert_eq!(metrics.process().incarnation, 0);
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
