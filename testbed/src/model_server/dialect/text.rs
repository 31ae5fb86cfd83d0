//! The Prometheus text format, written.

use std::fmt::{Display, Write};

use super::super::engine::Histogram;

/// An exposition in the making, all series of which have the same labels first.
#[derive(Debug, Default)]
pub(super) struct Text {
    text: String,
    /// `name="value"` pairs, separated by commas.
    labels: String,
}

impl Text {
    pub(super) fn new(labels: &[(&str, &str)]) -> Self {
        let mut text = Self::default();
        for (name, value) in labels {
            let comma = if text.labels.is_empty() { "" } else { "," };
            push(
                &mut text.labels,
                format_args!("{comma}{name}=\"{}\"", escape(value)),
            );
        }
        text
    }

    /// Begins a family.
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        if !help.is_empty() {
            push(&mut self.text, format_args!("# HELP {name} {help}\n"));
        }
        push(&mut self.text, format_args!("# TYPE {name} {kind}\n"));
    }

    /// Writes a sample with further labels.
    pub(super) fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        let comma = if self.labels.is_empty() || labels.is_empty() {
            ""
        } else {
            ","
        };
        self.text.push_str(name);
        if !self.labels.is_empty() || !labels.is_empty() {
            push(
                &mut self.text,
                format_args!("{{{}{comma}{labels}}}", self.labels),
            );
        }
        push(&mut self.text, format_args!(" {value}\n"));
    }

    /// Writes a family of one sample.
    pub(super) fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, "", value);
    }

    /// Writes a family that is a histogram.
    pub(super) fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.family(name, "histogram", help);
        let before = if self.labels.is_empty() {
            String::new()
        } else {
            format!("{},", self.labels)
        };
        push_histogram(&mut self.text, name, (&before, ""), &self.labels, histogram);
    }

    pub(super) fn finish(self) -> String {
        self.text
    }
}

/// A number as Python's client writes it: whole ones as `3.0`.
pub(super) struct Python(pub(super) f64);

impl Display for Python {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == f64::INFINITY {
            formatter.write_str("+Inf")
        } else {
            write!(formatter, "{:?}", self.0)
        }
    }
}

/// Writes the samples of a histogram: its buckets with the label `le` between those before and after
/// it, and its count and sum with `labels`.
pub(super) fn push_histogram(
    text: &mut String,
    name: &str,
    (before, after): (&str, &str),
    labels: &str,
    histogram: &Histogram,
) {
    for (bound, count) in histogram.buckets() {
        push(
            text,
            format_args!(
                "{name}_bucket{{{before}le=\"{}\"{after}}} {count}.0\n",
                Python(bound)
            ),
        );
    }
    let (open, close) = if labels.is_empty() {
        ("", "")
    } else {
        ("{", "}")
    };
    push(
        text,
        format_args!(
            "{name}_count{open}{labels}{close} {}.0\n{name}_sum{open}{labels}{close} {}\n",
            histogram.count(),
            Python(histogram.sum())
        ),
    );
}

/// Appends to a text, which never fails.
pub(super) fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(arguments);
}

/// A label's value, escaped.
pub(super) fn escape(value: &str) -> String {
    value
        .replace('\\', r"\\")
        .replace('"', r#"\""#)
        .replace('\n', r"\n")
}

/// An exposition without these families.
pub(in super::super) fn without_families(exposition: &str, families: &[String]) -> String {
    exposition
        .split_inclusive('\n')
        .filter(|line| {
            let name = line
                .strip_prefix("# HELP ")
                .or_else(|| line.strip_prefix("# TYPE "))
                .unwrap_or(line)
                .split(['{', ' '])
                .next()
                .unwrap_or_default();
            !families.iter().any(|family| {
                name.strip_prefix(family.as_str())
                    .is_some_and(|rest| matches!(rest, "" | "_bucket" | "_count" | "_sum"))
            })
        })
        .collect()
}
