//! From the series of an exposition to the signals of an endpoint.

use super::{
    Alternatives, LoraSpec,
    expression::Aggregation,
    lora::LoraMapping,
    process::ProcessMapping,
    series::{History, Outcome, Wanted},
    term::{Scrape, Term},
};
use crate::{
    pool::{EndpointMetrics, Observation, Signal},
    time::Timestamp,
};

/// Reads an engine's signals from its expositions, each in one pass.
#[derive(Debug, Clone, Default)]
pub struct Mapping {
    wanted: Wanted,
    /// Each signal's alternatives.
    signals: Vec<(Signal, Vec<Term>)>,
    lora: Option<LoraMapping>,
    process: ProcessMapping,
}

impl Mapping {
    pub(super) fn new<'a>(
        signals: impl Iterator<Item = (Signal, &'a Alternatives)>,
        lora: Option<&LoraSpec>,
    ) -> Self {
        let mut wanted = Wanted::default();
        let signals = signals
            .map(|(signal, Alternatives(expressions))| {
                let term = |expression| Term::new(expression, aggregation_of(signal), &mut wanted);
                (signal, expressions.iter().map(term).collect())
            })
            .collect();
        let lora = lora.map(|lora| LoraMapping::new(lora, &mut wanted));
        let process = ProcessMapping::new(&mut wanted);
        Self {
            wanted,
            signals,
            lora,
            process,
        }
    }

    /// The signals that are mapped at all.
    pub fn signals(&self) -> impl Iterator<Item = Signal> {
        self.signals.iter().map(|(signal, _)| *signal)
    }

    /// Whether `metrics` have a signal that some series told; a constant tells of no server.
    pub(super) fn is_told(&self, metrics: &EndpointMetrics) -> bool {
        self.signals.iter().any(|(signal, alternatives)| {
            metrics.observation(*signal) != Observation::Missing
                && alternatives.iter().all(Term::asks)
        })
    }

    /// Whether anything is mapped at all, signals or adapters.
    #[must_use]
    pub const fn maps_anything(&self) -> bool {
        !self.signals.is_empty() || self.has_lora()
    }

    /// Whether LoRA adapters are mapped.
    #[must_use]
    pub const fn has_lora(&self) -> bool {
        self.lora.is_some()
    }

    /// Reads the signals of an exposition asked for `at`, of a server of which `history` tells
    /// the scrape before. A signal that says nothing yet keeps the value it had `before`, with its
    /// time, and so does a share whose counters do not match; whether the server has started anew
    /// shows against `before` as well.
    pub fn read(
        &self,
        exposition: &[u8],
        at: Timestamp,
        history: &mut History,
        before: Option<&EndpointMetrics>,
    ) -> EndpointMetrics {
        let collected = self.wanted.collect(exposition);
        let process = before.map(EndpointMetrics::process).unwrap_or_default();
        let (process, anew) = self
            .process
            .read(&self.wanted, &collected, history, process);
        let scrape = Scrape {
            wanted: &self.wanted,
            collected,
            history,
            anew,
            at,
        };
        let mut metrics = EndpointMetrics::default();
        for (signal, alternatives) in &self.signals {
            let outcomes = alternatives
                .iter()
                .map(|term| (term, term.evaluate(&scrape)));
            let first = outcomes
                .into_iter()
                .find(|(_, outcome)| *outcome != Outcome::Missing);
            let before = before.map(|before| before.observation(*signal));
            let kept = before.filter(|it| matches!(it, Observation::Value { .. }));
            let observation = match first {
                None | Some((_, Outcome::Missing)) => Observation::Missing,
                Some((_, Outcome::Number(value))) if signal.admits(value) => {
                    Observation::Value { value, at }
                }
                // What is counted at different moments of a request may fall into different scrapes:
                // more cached tokens in one than there were tokens.
                Some((term, Outcome::Number(value)))
                    if value.is_finite() && term.is_of_growth() =>
                {
                    kept.unwrap_or(Observation::NotFinite)
                }
                Some((_, Outcome::Number(_))) => Observation::NotFinite,
                Some((_, Outcome::Unmeasured)) => kept.unwrap_or(Observation::Unmeasured),
            };
            metrics.set(*signal, observation);
        }
        metrics.set_lora(self.lora.as_ref().and_then(|lora| lora.read(&scrape)));
        metrics.set_process(process);
        let remembered = self.wanted.remember(&scrape.collected, at);
        *history = remembered;
        metrics
    }
}

/// How several series of a server become one number, where its expression does not say: a request
/// may land on any of its data-parallel engines, so counts are summed; its KV cache is as full as
/// that of the fullest, and of ratios and times the mean is the best guess.
const fn aggregation_of(signal: Signal) -> Aggregation {
    match signal {
        Signal::WaitingRequests
        | Signal::RunningRequests
        | Signal::KvBlocks
        | Signal::Custom(_) => Aggregation::Sum,
        Signal::KvCacheUsage | Signal::KvBlockSize => Aggregation::Max,
        Signal::PrefixCacheHitRatio | Signal::TimeToFirstToken | Signal::TimePerOutputToken => {
            Aggregation::Mean
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MISSING: Observation = Observation::Missing;
    const NOT_FINITE: Observation = Observation::NotFinite;
    const UNMEASURED: Observation = Observation::Unmeasured;

    const fn at(second: u64) -> Timestamp {
        Timestamp::from_millis(second * 1_000)
    }

    const fn value(value: f64, second: u64) -> Observation {
        Observation::Value {
            value,
            at: at(second),
        }
    }

    fn mapping(signal: Signal, expressions: &[&str]) -> Mapping {
        let expressions = expressions.iter().map(|text| text.parse().unwrap());
        let alternatives = Alternatives(expressions.collect());
        Mapping::new([(signal, &alternatives)].into_iter(), None)
    }

    /// What one expression says of one exposition.
    fn read(signal: Signal, expressions: &[&str], exposition: &str) -> Observation {
        let mapping = mapping(signal, expressions);
        let history = &mut History::default();
        let metrics = mapping.read(exposition.as_bytes(), at(1), history, None);
        metrics.observation(signal)
    }

    #[test]
    fn expressions_are_evaluated() {
        let exposition = "a 6\nb 3\nzero 0\nnan NaN\ninf +Inf\n\
            m{i=\"0\"} 1\nm{i=\"1\"} 5\nm{i=\"2\"} 3\n\
            half{i=\"0\"} 0.5\nhalf{i=\"1\"} NaN\n\
            info{n=\"16\",k=\"None\",i=\"0\"} 1\ninfo{n=\"32\",k=\"8\",i=\"1\"} 1\n\
            t{i=\"0\"} 1 2000\nt{i=\"1\"} 2 3000\nt{i=\"0\"} 4 1000\n";
        for (expression, expected) in [
            ("a", value(6.0, 1)),
            ("a / b - 1", value(1.0, 1)),
            ("1 - (a - b) / a", value(0.5, 1)),
            ("-a * 2 + b", value(-9.0, 1)),
            ("absent", MISSING),
            ("a - absent", MISSING),
            ("absent + nan", MISSING),
            ("a / zero", NOT_FINITE),
            ("zero / zero", NOT_FINITE),
            ("nan", NOT_FINITE),
            ("nan * zero", NOT_FINITE),
            ("inf - inf", NOT_FINITE),
            ("m", value(9.0, 1)),
            ("m{i=1}", value(5.0, 1)),
            ("m{i=3}", MISSING),
            ("sum(m)", value(9.0, 1)),
            ("max(m)", value(5.0, 1)),
            ("min(m)", value(1.0, 1)),
            ("mean(m)", value(3.0, 1)),
            ("latest(m)", value(1.0, 1)),
            ("max(half)", NOT_FINITE),
            ("min(half)", NOT_FINITE),
            ("mean(half)", NOT_FINITE),
            ("sum(half)", NOT_FINITE),
            ("max(half{i=0})", value(0.5, 1)),
            ("label(info, n)", value(48.0, 1)),
            ("max(label(info, n))", value(32.0, 1)),
            // "None" is no number, and no series' number is missing.
            ("label(info, k)", value(8.0, 1)),
            ("label(info{i=0}, k)", MISSING),
            ("label(info, absent)", MISSING),
            // Of samples of one series the latest counts, wherever it stands.
            ("t", value(3.0, 1)),
            ("latest(t)", value(2.0, 1)),
            ("t{i=0}", value(1.0, 1)),
        ] {
            let found = read(Signal::Custom(0), &[expression], exposition);
            assert_eq!(found, expected, "{expression}");
        }
    }

    #[test]
    fn the_first_alternative_that_is_there_counts() {
        for (exposition, expected) in [
            ("a 1\nb 2\n", value(1.0, 1)),
            ("b 2\n", value(2.0, 1)),
            ("c 3\n", MISSING),
            // There, and not a number: no reason to take another's word.
            ("a NaN\nb 2\n", NOT_FINITE),
        ] {
            let found = read(Signal::WaitingRequests, &["a", "b"], exposition);
            assert_eq!(found, expected, "{exposition}");
        }
    }

    #[test]
    fn several_series_become_one_as_the_signal_wants_it() {
        let exposition = "s{e=\"0\"} 0.25\ns{e=\"1\"} 0.75\n";
        for (signal, expected) in [
            (Signal::WaitingRequests, 1.0),
            (Signal::RunningRequests, 1.0),
            (Signal::KvBlocks, 1.0),
            (Signal::Custom(3), 1.0),
            (Signal::KvCacheUsage, 0.75),
            (Signal::KvBlockSize, 0.75),
            (Signal::PrefixCacheHitRatio, 0.5),
            (Signal::TimeToFirstToken, 0.5),
            (Signal::TimePerOutputToken, 0.5),
        ] {
            let found = read(signal, &["s"], exposition);
            assert_eq!(found, value(expected, 1), "{signal}");
        }
    }

    /// Scrapes a second apart, each with what is read of it.
    fn assert_read_in_turn(signal: Signal, expression: &str, scrapes: &[(&str, Observation)]) {
        let mapping = mapping(signal, &[expression]);
        let mut history = History::default();
        let mut before = None;
        for (second, (exposition, expected)) in (1..).zip(scrapes) {
            let now = at(second);
            let metrics = mapping.read(exposition.as_bytes(), now, &mut history, before.as_ref());
            let found = metrics.observation(signal);
            assert_eq!(found, *expected, "{expression} at second {second}");
            before = Some(metrics);
        }
    }

    #[test]
    fn counters_count_from_one_scrape_to_the_next() {
        assert_read_in_turn(
            Signal::TimeToFirstToken,
            "increase(c)",
            &[
                ("c 100", UNMEASURED),
                ("c 103", value(3.0, 2)),
                ("c 103", value(0.0, 3)),
                // Started anew, and counted from 0.
                ("c 2", value(2.0, 4)),
                ("", MISSING),
                // What it counted meanwhile is not of this interval.
                ("c 50", UNMEASURED),
                ("c NaN", NOT_FINITE),
                ("c 60", NOT_FINITE),
                ("c 61", value(1.0, 9)),
            ],
        );
    }

    #[test]
    fn series_grow_each_on_its_own() {
        assert_read_in_turn(
            Signal::TimeToFirstToken,
            "increase(c)",
            &[
                ("c{e=\"0\"} 10\nc{e=\"1\"} 100", UNMEASURED),
                ("c{e=\"0\"} 11\nc{e=\"1\"} 5", value(6.0, 2)),
                // One that was not there before begins to count.
                ("c{e=\"0\"} 12\nc{e=\"1\"} 5\nc{e=\"2\"} 900", value(1.0, 3)),
                ("c{e=\"2\"} 901", value(1.0, 4)),
            ],
        );
        // Labels that are one text without their quotes.
        assert_read_in_turn(
            Signal::TimeToFirstToken,
            "increase(c)",
            &[
                ("c{a=\"bc\"} 10\nc{ab=\"c\"} 100", UNMEASURED),
                ("c{a=\"bc\"} 11\nc{ab=\"c\"} 102", value(3.0, 2)),
            ],
        );
        let mapping = mapping(Signal::Custom(0), &["rate(c)"]);
        let mut history = History::default();
        mapping.read(b"c 10", at(1), &mut history, None);
        let metrics = mapping.read(b"c 15", at(3), &mut history, None);
        assert_eq!(metrics.observation(Signal::Custom(0)), value(2.5, 3));
    }

    #[test]
    fn a_mean_over_nothing_keeps_the_one_before() {
        assert_read_in_turn(
            Signal::TimeToFirstToken,
            "increase(h_sum) / increase(h_count)",
            &[
                ("h_sum 5\nh_count 10", UNMEASURED),
                ("h_sum 5\nh_count 10", UNMEASURED),
                ("h_sum 6\nh_count 14", value(0.25, 3)),
                ("h_sum 6\nh_count 14", value(0.25, 3)),
                ("h_sum 7\nh_count 16", value(0.5, 5)),
                ("h_sum 3\nh_count 4", value(0.75, 6)),
                ("h_sum 3", MISSING),
            ],
        );
    }

    #[test]
    fn a_number_that_is_no_share_is_none() {
        for signal in [Signal::KvCacheUsage, Signal::PrefixCacheHitRatio] {
            for (exposition, expected) in [
                ("s 0.97", value(0.97, 1)),
                ("s 1.0001", value(1.0001, 1)),
                ("s 1.5", NOT_FINITE),
                ("s 97", NOT_FINITE),
                ("s -0.5", NOT_FINITE),
            ] {
                assert_eq!(read(signal, &["s"], exposition), expected, "{exposition}");
                // There, and no number: no reason to take another's word.
                let beside = format!("{exposition}\nt 0.5");
                assert_eq!(read(signal, &["s", "t"], &beside), expected, "{exposition}");
            }
            assert_eq!(read(signal, &["s / 100"], "s 97"), value(0.97, 1));
        }
        assert_eq!(
            read(Signal::WaitingRequests, &["s"], "s 97"),
            value(97.0, 1)
        );
    }

    #[test]
    fn a_share_of_counters_that_do_not_match_keeps_the_one_before() {
        let signal = Signal::PrefixCacheHitRatio;
        assert_read_in_turn(
            signal,
            "increase(hit) / increase(all)",
            &[
                ("hit 0\nall 0", UNMEASURED),
                // A percentage would be like this from the first.
                ("hit 30\nall 10", NOT_FINITE),
                ("hit 35\nall 20", value(0.5, 3)),
                ("hit 55\nall 30", value(0.5, 3)),
                ("hit 57\nall 40", value(0.2, 5)),
                ("hit NaN\nall 50", NOT_FINITE),
            ],
        );
    }

    #[test]
    fn adapters_with_a_series_each_are_read() {
        let lora = serde_json::from_str(
            r#"{"running": "lora_running{kind=\"gpu\"}", "waiting": "lora_waiting",
                "adapterLabel": "name", "max": "lora_slots"}"#,
        )
        .unwrap();
        let mapping = Mapping::new([].into_iter(), Some(&lora));
        let read = |exposition: &str| {
            let history = &mut History::default();
            let metrics = mapping.read(exposition.as_bytes(), at(1), history, None);
            let found = metrics.lora().cloned();
            found.map(|lora| (lora.max, lora.running.join(","), lora.waiting.join(",")))
        };
        for (exposition, expected) in [
            ("lora_slots 4\n", None),
            (
                "lora_slots 4\nlora_running{kind=\"gpu\",name=\"b\"} 2\n\
                 lora_running{kind=\"gpu\",name=\"a\"} 1\nlora_running{kind=\"gpu\",name=\"c\"} 0\n\
                 lora_running{kind=\"cpu\",name=\"d\"} 1\nlora_waiting{name=\"c\"} NaN\n",
                Some((4, "a,b", "")),
            ),
            ("lora_waiting{name=\"c\"} 1\n", Some((0, "", "c"))),
        ] {
            let expected = expected.map(|(max, running, waiting): (_, &str, &str)| {
                (max, running.to_owned(), waiting.to_owned())
            });
            assert_eq!(read(exposition), expected, "{exposition}");
        }
    }
}
