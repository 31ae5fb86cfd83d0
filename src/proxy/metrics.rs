//! What the filter tells of itself, as metrics of Envoy.
//!
//! Envoy keeps a metric for as long as it runs, so none is named after an endpoint: their number is
//! that of reasons and signals.

use super::{
    host::{Counter, Gauge, HostError},
    scrape::FailureReason,
};
use crate::{model_server::Engines, pool::Signal};

/// The metrics of one pool. Those of every VM add to the same ones; gauges are set by the VM that
/// scrapes.
#[derive(Debug)]
pub(super) struct FilterMetrics {
    scrapes: Counter,
    failures: Vec<(FailureReason, Counter)>,
    missing: Vec<(Signal, Gauge)>,
    unrecognized: Gauge,
}

impl FilterMetrics {
    /// Defines them for the pool called `pool`, whose endpoints are read as `engines` say.
    pub(super) fn define(pool: &str, engines: &Engines) -> Result<Self, HostError> {
        let name = |name: &str| format!("endpoint_picker.{pool}.{name}");
        let custom = (0..).map(Signal::Custom).zip(engines.custom_metrics());
        let signals = Signal::ALL
            .into_iter()
            .chain(custom.map(|(signal, _)| signal));
        Ok(Self {
            scrapes: Counter::define(&name("scrapes"))?,
            failures: FailureReason::ALL
                .into_iter()
                .map(|reason| {
                    let name = name(&format!("scrape_failures.{}", reason.name()));
                    Ok((reason, Counter::define(&name)?))
                })
                .collect::<Result<_, HostError>>()?,
            missing: signals
                .map(|signal| {
                    let name = name(&format!("missing_signals.{}", engines.signal_name(signal)));
                    Ok((signal, Gauge::define(&name)?))
                })
                .collect::<Result<_, HostError>>()?,
            unrecognized: Gauge::define(&name("unrecognized_endpoints"))?,
        })
    }

    /// Counts a scrape that has ended.
    pub(super) fn count_scrape(&self, failure: Option<FailureReason>) {
        let failed = self
            .failures
            .iter()
            .filter(|(reason, _)| Some(*reason) == failure);
        for counter in failed.map(|(_, counter)| counter).chain([&self.scrapes]) {
            said(counter.increment());
        }
    }

    /// Tells of how many endpoints the scrapes lack what they should say.
    pub(super) fn set_lacks(&self, lacks: &Lacks) {
        for (signal, gauge) in &self.missing {
            said(gauge.set(lacks.signals(*signal)));
        }
        said(self.unrecognized.set(lacks.unrecognized));
    }
}

/// Counting must not stop what is counted.
fn said(result: Result<(), HostError>) {
    if let Err(error) = result {
        log::debug!("{error}");
    }
}

/// Of how many endpoints the scrapes lack what they should say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Lacks {
    /// By signal; those that no endpoint lacks may be left out.
    signals: Vec<(Signal, u64)>,
    /// Endpoints whose engine no exposition tells.
    pub(super) unrecognized: u64,
}

impl Lacks {
    /// Counts one endpoint that lacks `signal`.
    pub(super) fn count(&mut self, signal: Signal) {
        match self.signals.iter_mut().find(|(of, _)| *of == signal) {
            Some((_, count)) => *count += 1,
            None => self.signals.push((signal, 1)),
        }
    }

    fn signals(&self, signal: Signal) -> u64 {
        let found = self.signals.iter().find(|(of, _)| *of == signal);
        found.map_or(0, |(_, count)| *count)
    }
}
