//! Whether the pool's engines tell what scorers and filters ask for.
//!
//! A signal that no engine has would score every endpoint 0, or leave out all of them, and nobody
//! would know why. So it is refused where it is asked for.

use super::plugin::Plugin;
use crate::{
    config::{
        metrics::MetricsSettings,
        settings::{ConfigError, refused},
    },
    discovery::DiscoveredEndpoint,
    model_server::{Engine, EngineChoice, Engines},
    pool::Signal,
    scheduling::{Filter, Scorer, SignalsNeeded, UtilizationMetric},
};

/// The engines of a pool.
#[derive(Debug)]
pub(in crate::config) struct PoolEngines<'a> {
    all: &'a Engines,
    /// Those that its endpoints may run.
    present: Vec<&'a Engine>,
}

impl<'a> PoolEngines<'a> {
    /// Those of `endpoints`; the default one where there are no endpoints, and all of them where
    /// only expositions tell.
    pub(in crate::config) fn new(
        metrics: &'a MetricsSettings,
        endpoints: &[DiscoveredEndpoint],
    ) -> Self {
        let mut choices: Vec<_> = endpoints
            .iter()
            .map(|endpoint| metrics.engine_of(endpoint).choice)
            .collect();
        if choices.is_empty() {
            choices.push(metrics.default_engine);
        }
        let all = &metrics.engines;
        let mut present = Vec::new();
        for choice in choices {
            let EngineChoice::Named(id) = choice else {
                present = all.iter().collect();
                break;
            };
            present.extend(all.get(id));
        }
        present.sort_unstable_by_key(|engine| engine.name());
        present.dedup_by_key(|engine| engine.name());
        Self { all, present }
    }

    /// All that are configured.
    pub(in crate::config) const fn all(&self) -> &'a Engines {
        self.all
    }

    /// Refuses a scorer that reads what none of them has.
    pub(super) fn check_scorer(
        &self,
        plugin: Plugin<'_>,
        scorer: &Scorer,
    ) -> Result<(), ConfigError> {
        let SignalsNeeded { signals, lora } = scorer.signals();
        for &signal in signals {
            self.check_signal(plugin, signal)?;
        }
        if lora
            && !self
                .present
                .iter()
                .any(|engine| engine.mapping().has_lora())
        {
            return Err(self.refused(plugin, "lora"));
        }
        Ok(())
    }

    /// Refuses a filter that reads what none of them has.
    pub(super) fn check_filter(
        &self,
        plugin: Plugin<'_>,
        filter: &Filter,
    ) -> Result<(), ConfigError> {
        let Filter::Utilization(utilization) = filter else {
            return Ok(());
        };
        for condition in &utilization.conditions {
            let signal = match condition.metric {
                UtilizationMetric::ActiveRequests => continue,
                UtilizationMetric::RunningRequests => Signal::RunningRequests,
                UtilizationMetric::WaitingQueue => Signal::WaitingRequests,
                UtilizationMetric::KvCacheUtilization => Signal::KvCacheUsage,
            };
            self.check_signal(plugin, signal)?;
        }
        Ok(())
    }

    fn check_signal(&self, plugin: Plugin<'_>, signal: Signal) -> Result<(), ConfigError> {
        let has = |engine: &&Engine| engine.mapping().signals().any(|it| it == signal);
        if self.present.iter().any(has) {
            return Ok(());
        }
        Err(self.refused(plugin, self.all.signal_name(signal)))
    }

    fn refused(&self, plugin: Plugin<'_>, signal: &str) -> ConfigError {
        let engines: Vec<_> = self.present.iter().map(|engine| engine.name()).collect();
        let (kind, engines) = (plugin.kind, engines.join(", "));
        refused(
            plugin.at("type"),
            "a type whose signals an engine of the pool has",
            format_args!("{kind:?}, which reads {signal}: none of {engines} has that"),
        )
    }
}
