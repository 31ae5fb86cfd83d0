//! How metrics are read: scraping, freshness and engines, checked.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use super::{
    epp::{self, PluginMetrics},
    schema::Metrics,
    settings::{ConfigError, refused},
};
use crate::{
    discovery::DiscoveredEndpoint,
    exposition::{is_family_name, is_label_name},
    model_server::{EngineChoice, EngineId, EngineSpec, Engines, LoraSpec},
    pool::Signal,
    scraping::{ScrapeSettings, ScrapeSpec},
};

/// A few lost scrapes in a row are no reason to distrust an endpoint.
const DEFAULT_STALE_AFTER_INTERVALS: u32 = 10;
/// Nor is one lost scrape of an endpoint that is idle.
const DEFAULT_STALE_AFTER_IDLE_INTERVALS: u32 = 2;
/// The labels by which the Endpoint Picker's users tell engines apart.
const DEFAULT_ENGINE_LABELS: [&str; 2] = [
    "inference.networking.k8s.io/engine-type",
    "llm-d.ai/engine-type",
];
/// In the place of an engine's name: the one that the expositions tell.
pub(super) const AUTO: &str = "auto";
/// What a custom metric may be called.
pub(super) const CUSTOM_METRIC: &str = "a name other than those of signals";
/// What a label may be called.
pub(super) const LABEL: &str = "the name of a label";

/// How metrics are read.
#[derive(Debug, Clone)]
pub struct MetricsSettings {
    /// How endpoints are scraped of which neither their engine nor they themselves say otherwise.
    pub scrape: ScrapeSettings,
    /// Age past which a metric says nothing any more, longer than any idle interval.
    pub stale_after: Duration,
    /// The presets, and what the configuration adds to them or changes.
    pub engines: Engines,
    /// The engine of endpoints of which nothing says another.
    pub default_engine: EngineChoice,
    /// Labels of which the first that an endpoint carries names its engine.
    pub engine_labels: Vec<String>,
}

/// The engine of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineOf<'a> {
    /// Which it is.
    pub choice: EngineChoice,
    /// What a label calls it, if no engine is called so; the default counts then.
    pub unknown_label: Option<&'a str>,
}

impl MetricsSettings {
    /// The engine of `endpoint`: its own, else the one that the first label names which it carries,
    /// else the default.
    #[must_use]
    pub fn engine_of<'a>(&self, endpoint: &'a DiscoveredEndpoint) -> EngineOf<'a> {
        let by_label = || {
            let carried = self.engine_labels.iter();
            let mut carried = carried.filter_map(|label| endpoint.labels.get(label));
            carried.find(|value| !value.is_empty())
        };
        let named = endpoint.engine.as_ref().or_else(by_label);
        let choice = named.and_then(|name| choice(&self.engines, name));
        EngineOf {
            choice: choice.unwrap_or(self.default_engine),
            unknown_label: named.filter(|_| choice.is_none()).map(String::as_str),
        }
    }

    /// How `endpoint` is scraped, by the engine that it is known to run.
    #[must_use]
    pub fn scrape_of(
        &self,
        endpoint: &DiscoveredEndpoint,
        engine: Option<EngineId>,
    ) -> ScrapeSettings {
        let engine = engine.and_then(|engine| self.engines.get(engine));
        let of_engine = engine.map(|engine| self.scrape.overlaid(engine.scrape()));
        of_engine
            .as_ref()
            .unwrap_or(&self.scrape)
            .overlaid(&endpoint.scrape)
    }

    /// Checks what is written of an endpoint at `path`, address and labels aside.
    pub(super) fn check_endpoint(
        &self,
        path: &str,
        endpoint: &DiscoveredEndpoint,
    ) -> Result<(), ConfigError> {
        if let Some(name) = &endpoint.engine {
            named_engine(&format!("{path}.engine"), &self.engines, name)?;
        }
        let path = format!("{path}.scrape");
        let spec = &endpoint.scrape;
        check_scrape(&path, spec)?;
        let engine = match self.engine_of(endpoint).choice {
            EngineChoice::Named(engine) => Some(engine),
            EngineChoice::Auto => None,
        };
        self.check_fresh(&path, spec, &self.scrape_of(endpoint, engine))
    }

    /// Checks that metrics stay fresh from one scrape to the next where `spec`, written at `path`,
    /// makes scraping `effective`.
    fn check_fresh(
        &self,
        path: &str,
        spec: &ScrapeSpec,
        effective: &ScrapeSettings,
    ) -> Result<(), ConfigError> {
        let field = match (spec.idle_interval, spec.interval) {
            (Some(_), _) => "idleInterval",
            (None, Some(_)) => "interval",
            (None, None) => return Ok(()),
        };
        check_idle(path, spec, effective)?;
        let idle = effective.idle_interval();
        if idle < self.stale_after {
            return Ok(());
        }
        let stale_after = self.stale_after;
        Err(refused(
            format!("{path}.{field}"),
            format!(
                "an idle interval, which is five intervals unless it is given, of less than \
                 metrics.staleAfter ({stale_after:?})"
            ),
            format_args!("{idle:?}"),
        ))
    }

    /// What `metrics` say, and what an Endpoint Picker's plugins say `of_plugins`.
    pub(super) fn new(
        mut metrics: Metrics,
        of_plugins: PluginMetrics,
    ) -> Result<Self, ConfigError> {
        let written = epp::adopt(&mut metrics, of_plugins)?;
        let spec = ScrapeSpec {
            cluster: Some(metrics.cluster.clone()),
            path: metrics.path,
            port: metrics.port,
            address: None,
            interval: metrics.interval,
            idle_interval: metrics.idle_interval,
            timeout: metrics.timeout,
            max_back_off: metrics.max_back_off,
            bearer_token: metrics.bearer_token,
            headers: metrics.headers,
        };
        spec.check().map_err(|error| {
            let path = match error.field {
                "path" => written.path.clone(),
                "port" => written.port.clone(),
                "interval" => written.interval.clone(),
                field => format!("metrics.{field}"),
            };
            refused(path, error.expected, error.found)
        })?;
        let scrape = ScrapeSettings::through(metrics.cluster).overlaid(&spec);
        check_idle("metrics", &spec, &scrape)?;
        let stale_after = stale_after(metrics.stale_after, &scrape)?;

        let own_engines: Vec<_> = metrics.engines.keys().cloned().collect();
        let engines = engines(metrics.engines)?;
        let default_engine = match metrics.engine {
            Some(name) => named_engine(&written.engine, &engines, &name)?,
            None => EngineChoice::Auto,
        };
        let settings = Self {
            scrape,
            stale_after,
            engines,
            default_engine,
            engine_labels: engine_labels(metrics.engine_labels)?,
        };
        for name in own_engines {
            let engine = settings.engines.find(&name);
            if let Some(engine) = engine.and_then(|engine| settings.engines.get(engine)) {
                let path = format!("metrics.engines.{name}.scrape");
                let effective = settings.scrape.overlaid(engine.scrape());
                settings.check_fresh(&path, engine.scrape(), &effective)?;
                if !engine.mapping().maps_anything() {
                    return Err(refused(
                        format!("metrics.engines.{name}"),
                        "signals, customMetrics or lora to be read, its own or those of the engine \
                         that it extends",
                        "none",
                    ));
                }
            }
        }
        Ok(settings)
    }
}

/// Refuses an idle interval that is written shorter than the interval, wherever that is written.
fn check_idle(
    path: &str,
    spec: &ScrapeSpec,
    effective: &ScrapeSettings,
) -> Result<(), ConfigError> {
    let interval = effective.interval;
    match spec.idle_interval {
        Some(idle) if idle < interval => Err(refused(
            format!("{path}.idleInterval"),
            format!("at least the interval ({interval:?})"),
            format_args!("{idle:?}"),
        )),
        _ => Ok(()),
    }
}

fn stale_after(given: Option<Duration>, scrape: &ScrapeSettings) -> Result<Duration, ConfigError> {
    let idle = scrape.idle_interval();
    match given {
        None => Ok((scrape.interval * DEFAULT_STALE_AFTER_INTERVALS)
            .max(idle * DEFAULT_STALE_AFTER_IDLE_INTERVALS)
            // What the slowest answer tells is a timeout old when it comes, and counts for two intervals.
            .max(scrape.timeout + 2 * scrape.interval)),
        Some(stale_after) if stale_after > idle => Ok(stale_after),
        Some(stale_after) => Err(refused(
            "metrics.staleAfter",
            format!("more than metrics.idleInterval ({idle:?})"),
            format_args!("{stale_after:?}"),
        )),
    }
}

fn engines(specs: BTreeMap<String, EngineSpec>) -> Result<Engines, ConfigError> {
    for (name, spec) in &specs {
        if name.is_empty() || name == AUTO {
            return Err(refused(
                "metrics.engines",
                format!("names of engines, other than {AUTO:?}"),
                format_args!("{name:?}"),
            ));
        }
        let path = format!("metrics.engines.{name}.scrape");
        check_scrape(&path, &spec.scrape)?;
        if let Some(address) = spec.scrape.address {
            return Err(refused(
                format!("{path}.address"),
                "none, since that is one endpoint's; an engine may have a port",
                address,
            ));
        }
        check_names(&format!("metrics.engines.{name}"), spec)?;
    }
    Engines::new(specs).map_err(ConfigError::Engine)
}

/// Checks the names of families, labels and custom metrics in the engine written at `path`. One that
/// cannot be would never be found.
fn check_names(path: &str, spec: &EngineSpec) -> Result<(), ConfigError> {
    for (index, family) in spec.recognized_by.iter().flatten().enumerate() {
        if !is_family_name(family) {
            return Err(refused(
                format!("{path}.recognizedBy[{index}]"),
                "the name of a family, without labels",
                format_args!("{family:?}"),
            ));
        }
    }
    for name in spec.custom_metrics.keys() {
        if !is_custom_metric(name) {
            return Err(refused(
                format!("{path}.customMetrics"),
                CUSTOM_METRIC,
                format_args!("{name:?}"),
            ));
        }
    }
    for (field, label) in spec.lora.iter().flatten().flat_map(LoraSpec::labels) {
        if !is_label_name(label) {
            return Err(refused(
                format!("{path}.lora.{field}"),
                LABEL,
                format_args!("{label:?}"),
            ));
        }
    }
    Ok(())
}

/// Whether a custom metric may have this name: one of a signal would be counted and asked for as that.
pub(super) fn is_custom_metric(name: &str) -> bool {
    !name.is_empty() && Signal::ALL.iter().all(|signal| signal.name() != name)
}

fn engine_labels(given: Option<Vec<String>>) -> Result<Vec<String>, ConfigError> {
    let Some(labels) = given else {
        return Ok(DEFAULT_ENGINE_LABELS.map(str::to_owned).into());
    };
    match labels.iter().position(String::is_empty) {
        None => Ok(labels),
        Some(index) => Err(refused(
            format!("metrics.engineLabels[{index}]"),
            LABEL,
            "\"\"",
        )),
    }
}

fn check_scrape(path: &str, spec: &ScrapeSpec) -> Result<(), ConfigError> {
    spec.check().map_err(|error| {
        refused(
            format!("{path}.{}", error.field),
            error.expected,
            error.found,
        )
    })
}

fn choice(engines: &Engines, name: &str) -> Option<EngineChoice> {
    if name == AUTO {
        return Some(EngineChoice::Auto);
    }
    engines.find(name).map(EngineChoice::Named)
}

fn named_engine(path: &str, engines: &Engines, name: &str) -> Result<EngineChoice, ConfigError> {
    choice(engines, name).ok_or_else(|| {
        let names: BTreeSet<_> = engines.iter().map(|engine| engine.name()).collect();
        let names: Vec<_> = names.into_iter().collect();
        let expected = format!("{AUTO} or one of {}", names.join(", "));
        refused(path, expected, format_args!("{name:?}"))
    })
}
