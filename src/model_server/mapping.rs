//! From the series of an exposition to the signals of an endpoint.

use crate::{
    exposition::{FamilyId, FamilySet, Selector, samples},
    pool::{EndpointMetrics, Signal},
    time::Timestamp,
};

use super::Engine;

/// The selector of each signal's series, one a signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignalSelectors(Vec<(Signal, Selector)>);

impl SignalSelectors {
    /// The selectors of `engine`, except those that `overrides` gives.
    ///
    /// # Errors
    /// Only if a preset is no selector, which its test excludes.
    pub fn new(
        engine: Engine,
        overrides: impl Fn(Signal) -> Option<Selector>,
    ) -> Result<Self, crate::exposition::SelectorError> {
        Signal::ALL
            .into_iter()
            .map(|signal| {
                let selector = match overrides(signal) {
                    Some(selector) => selector,
                    None => engine.selector(signal).parse()?,
                };
                Ok((signal, selector))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// Reads signals from expositions.
///
/// A data-parallel server exposes one series for each of its engines. A request may land on any
/// of them, so the counts of a server are the sums of its series, and its KV-cache usage is that
/// of the fullest.
#[derive(Debug, Clone)]
pub struct Mapping {
    families: FamilySet,
    signals: Vec<(FamilyId, Signal, Selector)>,
}

impl Mapping {
    /// A mapping that reads each signal from the series its selector names.
    #[must_use]
    pub fn new(selectors: &SignalSelectors) -> Self {
        let mut families = FamilySet::default();
        let signals = selectors
            .0
            .iter()
            .map(|(signal, selector)| {
                let family = families.insert(selector.family());
                (family, *signal, selector.clone())
            })
            .collect();
        Self { families, signals }
    }

    /// Reads the signals of an exposition that arrived `at`. A signal without a series stays
    /// missing; a line that is not valid counts as not there.
    #[must_use]
    pub fn read(&self, exposition: &[u8], at: Timestamp) -> EndpointMetrics {
        let mut values = Signal::ALL.map(|signal| (signal, None));
        for (family, sample) in samples(exposition, &self.families).flatten() {
            for (wanted, signal, selector) in &self.signals {
                if *wanted == family && selector.matches(&sample.labels) {
                    for (_, value) in values.iter_mut().filter(|(of, _)| of == signal) {
                        *value = Some(combine(*signal, *value, sample.value));
                    }
                }
            }
        }
        let mut metrics = EndpointMetrics::default();
        for (signal, value) in values {
            if let Some(value) = value {
                metrics.observe(signal, value, at);
            }
        }
        metrics
    }
}

/// Adds a further series of one server to what the others say. NaN stays NaN: half a server that
/// cannot say how full it is does not make the other half's word true of the whole.
fn combine(signal: Signal, so_far: Option<f64>, value: f64) -> f64 {
    match (so_far, signal) {
        (None, _) => value,
        (Some(so_far), Signal::WaitingRequests | Signal::RunningRequests) => so_far + value,
        (Some(so_far), Signal::KvCacheUsage) if so_far.is_nan() || value.is_nan() => f64::NAN,
        (Some(so_far), Signal::KvCacheUsage) => so_far.max(value),
    }
}
