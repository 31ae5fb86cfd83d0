//! The rules written plainly: samples in lists, gone through anew for every question, and nothing
//! remembered but the expositions themselves.

use core::fmt;

use crate::{
    pool::{Observation, Signal},
    time::Timestamp,
};

pub(super) type Labels = Vec<(&'static str, &'static str)>;

/// Each signal's alternatives.
pub(super) type Engine = Vec<(Signal, Vec<Formula>)>;

/// One exposition.
#[derive(Debug, Clone)]
pub(super) struct Scrape {
    pub(super) millis: u64,
    pub(super) samples: Vec<Sample>,
    /// Seconds at which the server's process started, if it tells.
    pub(super) started: Option<f64>,
}

#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) family: &'static str,
    pub(super) labels: Labels,
    pub(super) value: f64,
    pub(super) time: Option<i64>,
}

/// An expression.
#[derive(Debug, Clone)]
pub(super) enum Formula {
    Constant(f64),
    Minus(Box<Self>),
    Of(Box<Self>, char, Box<Self>),
    /// By which function, or none, of which series, and of which of their labels.
    Total(Option<&'static str>, Choice, Option<&'static str>),
    /// By which function, of which counters.
    Grown(&'static str, Choice),
}

/// The series of a family that have some labels.
#[derive(Debug, Clone)]
pub(super) struct Choice {
    pub(super) family: &'static str,
    pub(super) labels: Labels,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Said {
    Nothing,
    NothingYet,
    Number(f64),
}

/// Which series began at 0 since the scrape before.
enum Anew {
    All,
    With(Vec<Labels>),
}

/// What the last of `scrapes` says of `signal`.
pub(super) fn read(engine: &Engine, signal: Signal, scrapes: &[Scrape]) -> Observation {
    let Some((now, past)) = scrapes.split_last() else {
        return Observation::Missing;
    };
    let kept = || match read(engine, signal, past) {
        kept @ Observation::Value { .. } => Some(kept),
        _ => None,
    };
    let (_, formulas) = engine.iter().find(|(of, _)| *of == signal).unwrap();
    for formula in formulas {
        let share = signal == Signal::KvCacheUsage || signal == Signal::PrefixCacheHitRatio;
        return match formula.value(engine, signal, scrapes) {
            Said::Nothing => continue,
            Said::NothingYet => kept().unwrap_or(Observation::Unmeasured),
            Said::Number(number) if number.is_nan() || number.is_infinite() => {
                Observation::NotFinite
            }
            Said::Number(number) if share && !(-0.01..=1.01).contains(&number) => {
                let kept = if formula.grows() { kept() } else { None };
                kept.unwrap_or(Observation::NotFinite)
            }
            Said::Number(value) => {
                let at = Timestamp::from_millis(now.millis);
                Observation::Value { value, at }
            }
        };
    }
    Observation::Missing
}

/// How often the server has been seen to start anew.
pub(super) fn restarts(engine: &Engine, scrapes: &[Scrape]) -> u32 {
    let seen = (1..=scrapes.len()).filter(|&count| match anew(engine, &scrapes[..count]) {
        Anew::All => true,
        Anew::With(labels) => !labels.is_empty(),
    });
    u32::try_from(seen.count()).unwrap()
}

fn anew(engine: &Engine, scrapes: &[Scrape]) -> Anew {
    let (now, past) = scrapes.split_last().unwrap();
    let started_before = past
        .iter()
        .filter_map(|scrape| scrape.started)
        .reduce(f64::max);
    if let (Some(before), Some(started)) = (started_before, now.started) {
        return if started > before + 2.0 {
            Anew::All
        } else {
            Anew::With(Vec::new())
        };
    }
    let Some(before) = past.last() else {
        return Anew::With(Vec::new());
    };
    let formulas = engine.iter().flat_map(|(_, formulas)| formulas);
    let counters: Vec<_> = formulas.flat_map(Formula::counters).collect();
    let fallen = counters.iter().flat_map(|counter| {
        counter.series(now).into_iter().filter(|sample| {
            let earlier = counter.of_labels(before, &sample.labels);
            earlier.is_some_and(|earlier| sample.value < earlier.value)
        })
    });
    Anew::With(fallen.map(|sample| sample.labels).collect())
}

impl Choice {
    /// Each of its series once, by its latest sample.
    fn series(&self, scrape: &Scrape) -> Vec<Sample> {
        let all = &scrape.samples;
        let meant = |sample: &&Sample| {
            sample.family == self.family && self.labels.iter().all(|it| sample.labels.contains(it))
        };
        let is_latest = |sample: &&Sample| {
            all.iter().all(|other| {
                other.family != sample.family
                    || other.labels != sample.labels
                    || other.time <= sample.time
            })
        };
        all.iter()
            .filter(meant)
            .filter(is_latest)
            .cloned()
            .collect()
    }

    fn of_labels(&self, scrape: &Scrape, labels: &Labels) -> Option<Sample> {
        let mut series = self.series(scrape).into_iter();
        series.find(|sample| sample.labels == *labels)
    }

    fn grown(&self, engine: &Engine, function: &str, scrapes: &[Scrape]) -> Said {
        let (now, past) = scrapes.split_last().unwrap();
        let series = self.series(now);
        if series.is_empty() {
            return Said::Nothing;
        }
        let Some(before) = past.last() else {
            return Said::NothingYet;
        };
        let anew = anew(engine, scrapes);
        let mut sum = None;
        for sample in series {
            let Some(earlier) = self.of_labels(before, &sample.labels) else {
                continue;
            };
            let from_0 = match &anew {
                Anew::All => true,
                Anew::With(labels) => labels.contains(&sample.labels),
            };
            let fell = sample.value < earlier.value;
            let earlier = if from_0 || fell { 0.0 } else { earlier.value };
            sum = Some(sum.unwrap_or(0.0) + (sample.value - earlier));
        }
        let seconds = (now.millis - before.millis) as f64 / 1000.0;
        match sum {
            None => Said::NothingYet,
            Some(sum) if function == "increase" => Said::Number(sum),
            Some(_) if seconds == 0.0 => Said::NothingYet,
            Some(sum) => Said::Number(sum / seconds),
        }
    }
}

impl Formula {
    fn value(&self, engine: &Engine, signal: Signal, scrapes: &[Scrape]) -> Said {
        match self {
            Self::Constant(number) => Said::Number(*number),
            Self::Minus(inner) => match inner.value(engine, signal, scrapes) {
                Said::Number(number) => Said::Number(-number),
                other => other,
            },
            Self::Of(left, sign, right) => {
                let [a, b] = [left, right].map(|side| side.value(engine, signal, scrapes));
                let (Said::Number(a), Said::Number(b)) = (a, b) else {
                    let nothing = a == Said::Nothing || b == Said::Nothing;
                    return if nothing {
                        Said::Nothing
                    } else {
                        Said::NothingYet
                    };
                };
                Said::Number(match sign {
                    '+' => a + b,
                    '-' => a - b,
                    '*' => a * b,
                    _ if b == 0.0 && right.grows() => return Said::NothingYet,
                    _ => a / b,
                })
            }
            Self::Total(function, choice, label) => {
                let function = function.unwrap_or_else(|| usual(signal));
                total(function, &choice.series(scrapes.last().unwrap()), *label)
            }
            Self::Grown(function, choice) => choice.grown(engine, function, scrapes),
        }
    }

    /// Whether it asks what any counter grew by.
    fn grows(&self) -> bool {
        !self.counters().is_empty()
    }

    fn counters(&self) -> Vec<&Choice> {
        match self {
            Self::Constant(_) | Self::Total(..) => Vec::new(),
            Self::Minus(inner) => inner.counters(),
            Self::Of(left, _, right) => [left.counters(), right.counters()].concat(),
            Self::Grown(_, choice) => vec![choice],
        }
    }
}

/// How several series become one, where an expression does not say.
fn usual(signal: Signal) -> &'static str {
    match signal.name() {
        "waitingRequests" | "runningRequests" | "kvBlocks" | "custom" => "sum",
        "kvCacheUsage" | "kvBlockSize" => "max",
        _ => "mean",
    }
}

fn total(function: &str, series: &[Sample], label: Option<&str>) -> Said {
    let mut found: Vec<(f64, Option<i64>)> = Vec::new();
    for sample in series {
        let number = match label {
            None => Some(sample.value),
            Some(label) => {
                let label = sample.labels.iter().find(|(name, _)| *name == label);
                label.and_then(|(_, text)| number(text))
            }
        };
        found.extend(number.map(|number| (number, sample.time)));
    }
    let Some(&first) = found.first() else {
        return Said::Nothing;
    };
    let numbers: Vec<f64> = found.iter().map(|(number, _)| *number).collect();
    let is_there = |wanted: fn(f64, f64) -> bool| {
        // Of the others none is better.
        let best = numbers
            .iter()
            .find(|one| numbers.iter().all(|other| !wanted(*other, **one)));
        if numbers.iter().any(|number| number.is_nan()) {
            f64::NAN
        } else {
            *best.unwrap()
        }
    };
    let sum: f64 = numbers.iter().sum();
    Said::Number(match function {
        "sum" => sum,
        "mean" => sum / numbers.len() as f64,
        "max" => is_there(|a, b| a > b),
        "min" => is_there(|a, b| a < b),
        _ => {
            let mut latest = first;
            for (number, time) in found {
                if time.is_some() && (latest.1.is_none() || time > latest.1) {
                    latest = (number, time);
                }
            }
            latest.0
        }
    })
}

/// The number that the text of a label is, of those that are generated.
fn number(text: &str) -> Option<f64> {
    match text {
        "0" => Some(0.0),
        "1" => Some(1.0),
        "16" => Some(16.0),
        "0.5" => Some(0.5),
        _ => None,
    }
}

impl fmt::Display for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(started) = self.started {
            writeln!(f, "process_start_time_seconds {started}")?;
        }
        for Sample {
            family,
            labels,
            value,
            time,
        } in &self.samples
        {
            f.write_str(family)?;
            labelled(f, labels)?;
            match value {
                _ if value.is_nan() => f.write_str(" NaN")?,
                _ if value.is_infinite() => f.write_str(" +Inf")?,
                value => write!(f, " {value}")?,
            }
            match time {
                Some(time) => writeln!(f, " {time}")?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.family)?;
        labelled(f, &self.labels)
    }
}

fn labelled(f: &mut fmt::Formatter<'_>, labels: &Labels) -> fmt::Result {
    let labels: Vec<_> = labels
        .iter()
        .map(|(name, value)| format!("{name}=\"{value}\""))
        .collect();
    if labels.is_empty() {
        return Ok(());
    }
    write!(f, "{{{}}}", labels.join(","))
}

impl fmt::Display for Formula {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(number) => write!(f, "{number}"),
            Self::Minus(inner) => write!(f, "-({inner})"),
            Self::Of(left, sign, right) => write!(f, "({left}) {sign} ({right})"),
            Self::Total(function, choice, label) => {
                let series = match label {
                    Some(label) => format!("label({choice}, {label})"),
                    None => choice.to_string(),
                };
                match function {
                    Some(function) => write!(f, "{function}({series})"),
                    None => f.write_str(&series),
                }
            }
            Self::Grown(function, choice) => write!(f, "{function}({choice})"),
        }
    }
}
