//! The engines of a configuration: presets, and what it adds to them or changes.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use super::{EngineSpec, Mapping, presets::presets};
use crate::{
    exposition::{FamilySet, samples},
    pool::Signal,
    scraping::ScrapeSpec,
};

/// An engine whose metrics can be read.
#[derive(Debug, Clone)]
pub struct Engine {
    name: String,
    recognized_by: Vec<String>,
    mapping: Mapping,
    scrape: ScrapeSpec,
}

impl Engine {
    /// Its name in the configuration and in logs.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How its expositions are read.
    #[must_use]
    pub const fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// How its servers are scraped, where that differs from the others.
    #[must_use]
    pub const fn scrape(&self) -> &ScrapeSpec {
        &self.scrape
    }
}

/// Which of [`Engines`] an engine is. Ids are in the order in which an exposition is tried on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EngineId(usize);

/// The engines of a configuration, in the order in which an exposition is tried on them: its own
/// first, then the presets.
#[derive(Debug, Clone)]
pub struct Engines {
    engines: Vec<Engine>,
    custom_metrics: Vec<String>,
    /// The families by which engines are recognised, each with the engines that have it.
    families: FamilySet,
    recognized: Vec<Vec<EngineId>>,
}

/// Engines that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// One extends an engine that is not there.
    #[error("{engine}.extends: expected one of {known}, found {base:?}")]
    UnknownBase {
        /// The one that extends.
        engine: String,
        /// What it extends.
        base: String,
        /// What there is.
        known: String,
    },
    /// One extends itself, perhaps by way of others.
    #[error("{engine}.extends: leads back to {engine:?}")]
    Cycle {
        /// One of them.
        engine: String,
    },
    /// There are more custom metrics than can be told apart.
    #[error("{engine}.customMetrics: more than 65536 names in all")]
    TooManyCustomMetrics {
        /// The one with the last of them.
        engine: String,
    },
}

/// The presets alone.
impl Default for Engines {
    fn default() -> Self {
        // Nothing is added, so nothing can be wrong: a preset that is not valid fails its tests.
        Self::new(BTreeMap::new()).unwrap_or_else(|_| Self {
            engines: Vec::new(),
            custom_metrics: Vec::new(),
            families: FamilySet::default(),
            recognized: Vec::new(),
        })
    }
}

impl Engines {
    /// The presets with `specs` on top: one with the name of a preset changes that preset.
    ///
    /// # Errors
    /// When a spec extends an engine that is not there, or itself.
    pub fn new(specs: BTreeMap<String, EngineSpec>) -> Result<Self, EngineError> {
        let presets: Vec<_> = presets();
        let own = specs
            .keys()
            .filter(|name| presets.iter().all(|(preset, _)| preset != name));
        let order: Vec<String> = own
            .cloned()
            .chain(presets.iter().map(|(name, _)| name.to_string()))
            .collect();
        let written = Written { presets, specs };
        let resolved = order
            .into_iter()
            .map(|name| Ok((written.resolve(&name, &mut Vec::new())?, name)))
            .collect::<Result<Vec<_>, EngineError>>()?;

        let names: BTreeSet<_> = resolved
            .iter()
            .flat_map(|(spec, _)| spec.custom_metrics.keys().cloned())
            .collect();
        if let (true, Some((_, engine))) = (names.len() > usize::from(u16::MAX), resolved.last()) {
            let engine = engine.clone();
            return Err(EngineError::TooManyCustomMetrics { engine });
        }
        let custom_metrics: Vec<_> = names.into_iter().collect();
        let engines = resolved
            .into_iter()
            .map(|(spec, name)| Engine::new(name, spec, &custom_metrics))
            .collect();
        Ok(Self::recognizing(engines, custom_metrics))
    }

    fn recognizing(engines: Vec<Engine>, custom_metrics: Vec<String>) -> Self {
        let mut families = FamilySet::default();
        let mut recognized: Vec<Vec<EngineId>> = Vec::new();
        for (index, engine) in engines.iter().enumerate() {
            for family in &engine.recognized_by {
                let family = families.insert(family).index();
                if recognized.len() <= family {
                    recognized.resize(family + 1, Vec::new());
                }
                if let Some(engines) = recognized.get_mut(family) {
                    engines.push(EngineId(index));
                }
            }
        }
        Self {
            engines,
            custom_metrics,
            families,
            recognized,
        }
    }

    /// The engine called `name`.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<EngineId> {
        let place = self.engines.iter().position(|engine| engine.name == name);
        place.map(EngineId)
    }

    /// The engine of this id; `None` if it is of other engines.
    #[must_use]
    pub fn get(&self, id: EngineId) -> Option<&Engine> {
        self.engines.get(id.0)
    }

    /// All of them, in the order in which an exposition is tried on them.
    pub fn iter(&self) -> impl Iterator<Item = &Engine> {
        self.engines.iter()
    }

    /// The names of custom metrics; [`Signal::Custom`] counts in this list.
    #[must_use]
    pub fn custom_metrics(&self) -> &[String] {
        &self.custom_metrics
    }

    /// What `signal` is called in the configuration and in logs.
    #[must_use]
    pub fn signal_name(&self, signal: Signal) -> &str {
        match signal {
            Signal::Custom(index) => self
                .custom_metrics
                .get(usize::from(index))
                .map_or(signal.name(), String::as_str),
            signal => signal.name(),
        }
    }

    /// The engine that wrote `exposition`, by the families it has: the first of those that have one
    /// of theirs in it.
    #[must_use]
    pub fn recognize(&self, exposition: &[u8]) -> Option<EngineId> {
        self.told_by(exposition).first().copied()
    }

    /// All engines that have one of their families in `exposition`, in the order in which it is tried on
    /// them.
    #[must_use]
    pub fn told_by(&self, exposition: &[u8]) -> Vec<EngineId> {
        let mut told: Vec<_> = samples(exposition, &self.families)
            .flatten()
            .filter_map(|(family, _)| self.recognized.get(family.index()))
            .flatten()
            .copied()
            .collect();
        told.sort_unstable();
        told.dedup();
        told
    }
}

impl Engine {
    fn new(name: String, spec: EngineSpec, custom_metrics: &[String]) -> Self {
        let own = spec
            .signals
            .iter()
            .map(|(signal, alternatives)| (*signal, alternatives));
        let custom = (0..).map(Signal::Custom).zip(custom_metrics);
        let custom =
            custom.filter_map(|(signal, name)| Some((signal, spec.custom_metrics.get(name)?)));
        let signals = own
            .chain(custom)
            .filter_map(|(signal, alternatives)| Some((signal, alternatives.as_ref()?)));
        let mapping = Mapping::new(signals, spec.lora.as_ref().and_then(Option::as_ref));
        Self {
            mapping,
            name,
            recognized_by: spec.recognized_by.unwrap_or_default(),
            scrape: spec.scrape,
        }
    }
}

/// The engines as they are written, before one takes from another.
struct Written {
    presets: Vec<(&'static str, EngineSpec)>,
    specs: BTreeMap<String, EngineSpec>,
}

impl Written {
    fn preset(&self, name: &str) -> Option<&EngineSpec> {
        let found = self.presets.iter().find(|(preset, _)| *preset == name);
        found.map(|(_, spec)| spec)
    }

    /// The spec of `name` with all that it takes from others; `above` are those that lead to it.
    fn resolve(&self, name: &str, above: &mut Vec<String>) -> Result<EngineSpec, EngineError> {
        if above.iter().any(|seen| seen == name) {
            let engine = name.to_owned();
            return Err(EngineError::Cycle { engine });
        }
        above.push(name.to_owned());
        let preset = self.preset(name).cloned();
        let spec = match (self.specs.get(name), preset) {
            (Some(spec), preset) => match &spec.extends {
                // A preset under its own name, not the entry that changes it.
                Some(base) if base != name => {
                    let mut base = self.base(name, base, above)?;
                    base.recognized_by = None;
                    spec.clone().over(base)
                }
                Some(base) if preset.is_none() => return Err(self.unknown_base(name, base)),
                _ => spec.clone().over(preset.unwrap_or_default()),
            },
            (None, preset) => preset.unwrap_or_default(),
        };
        Ok(spec)
    }

    fn base(
        &self,
        engine: &str,
        base: &str,
        above: &mut Vec<String>,
    ) -> Result<EngineSpec, EngineError> {
        if self.specs.contains_key(base) || self.preset(base).is_some() {
            return self.resolve(base, above);
        }
        Err(self.unknown_base(engine, base))
    }

    fn unknown_base(&self, engine: &str, base: &str) -> EngineError {
        let names = self.presets.iter().map(|(name, _)| *name);
        let names = names.chain(self.specs.keys().map(String::as_str));
        let known: BTreeSet<_> = names.filter(|name| *name != engine).collect();
        EngineError::UnknownBase {
            engine: engine.to_owned(),
            base: base.to_owned(),
            known: Names(known).to_string(),
        }
    }
}

struct Names<'a>(BTreeSet<&'a str>);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, name) in self.0.iter().enumerate() {
            write!(f, "{}{name}", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model_server::History,
        pool::{EndpointMetrics, Observation},
        time::Timestamp,
    };

    const AT: Timestamp = Timestamp::from_millis(1);

    fn engines(json: &str) -> Result<Engines, EngineError> {
        Engines::new(serde_json::from_str(json).unwrap())
    }

    fn read(engines: &Engines, engine: &str, exposition: &str) -> EndpointMetrics {
        let engine = engines.get(engines.find(engine).unwrap()).unwrap();
        let history = &mut History::default();
        engine
            .mapping()
            .read(exposition.as_bytes(), AT, history, None)
    }

    const EXPOSITION: &str = "vllm:num_requests_waiting 1\nvllm:num_requests_running 2\n\
        vllm:kv_cache_usage_perc 0.5\na 10\nb 20\n\
        vllm:lora_requests_info{max_lora=\"4\",running_lora_adapters=\"x\",waiting_lora_adapters=\"\"} 1\n";

    #[test]
    fn an_engine_is_changed_signal_by_signal() {
        let engines = engines(
            r#"{
                "vllm": {"signals": {"waitingRequests": "a", "runningRequests": null}},
                "fork": {"extends": "vllm", "signals": {"kvCacheUsage": "b / 100"}, "lora": null},
                "grandchild": {"extends": "fork", "signals": {"runningRequests": ["c", "b"]}},
                "own": {"signals": {"waitingRequests": "b"}}
            }"#,
        )
        .unwrap();
        let value = |value| Observation::Value { value, at: AT };
        let missing = Observation::Missing;
        for (engine, expected, lora) in [
            ("vllm", [value(10.0), missing, value(0.5)], true),
            ("fork", [value(10.0), missing, value(0.2)], false),
            ("grandchild", [value(10.0), value(20.0), value(0.2)], false),
            ("own", [value(20.0), missing, missing], false),
        ] {
            let metrics = read(&engines, engine, EXPOSITION);
            let [waiting, running, usage, ..] = Signal::ALL;
            let found = [waiting, running, usage].map(|signal| metrics.observation(signal));
            assert_eq!(found, expected, "{engine}");
            assert_eq!(metrics.lora().is_some(), lora, "{engine}");
        }
    }

    #[test]
    fn custom_metrics_of_all_engines_share_their_names() {
        let engines = engines(
            r#"{
                "one": {"customMetrics": {"z": "a", "y": "b"}},
                "two": {"extends": "one", "customMetrics": {"y": null, "x": "a + b"}}
            }"#,
        )
        .unwrap();
        assert_eq!(engines.custom_metrics(), ["x", "y", "z"]);
        assert_eq!(engines.signal_name(Signal::Custom(1)), "y");
        let value = |value| Observation::Value { value, at: AT };
        let missing = Observation::Missing;
        for (engine, expected) in [
            ("one", [missing, value(20.0), value(10.0)]),
            ("two", [value(30.0), missing, value(10.0)]),
            ("vllm", [missing; 3]),
        ] {
            let metrics = read(&engines, engine, EXPOSITION);
            let found = [0, 1, 2].map(|index| metrics.observation(Signal::Custom(index)));
            assert_eq!(found, expected, "{engine}");
        }
    }

    #[test]
    fn an_engine_is_recognized_by_its_own_families_alone() {
        let engines = engines(
            r#"{
                "fork": {"extends": "vllm"},
                "vendor": {"extends": "vllm", "recognizedBy": ["vendor:up"]},
                "vllm": {"signals": {"waitingRequests": "a"}}
            }"#,
        )
        .unwrap();
        let vllm = "vllm:num_requests_running 1\n";
        for (exposition, expected) in [
            (vllm.to_owned(), Some("vllm")),
            (format!("{vllm}vendor:up 1\n"), Some("vendor")),
            (format!("{vllm}vendor:up_total 1\n"), Some("vllm")),
            ("process_cpu_seconds_total 1\n".to_owned(), None),
            (String::new(), None),
        ] {
            let found = engines.recognize(exposition.as_bytes());
            let name = found.and_then(|id| engines.get(id)).map(Engine::name);
            assert_eq!(name, expected, "{exposition}");
        }
    }

    #[test]
    fn engines_that_cannot_be_are_refused() {
        let cycle = |engine: &str| EngineError::Cycle {
            engine: engine.to_owned(),
        };
        for (json, expected) in [
            (
                r#"{"a": {"extends": "b"}, "b": {"extends": "a"}}"#,
                cycle("a"),
            ),
            (
                r#"{"vllm": {"extends": "b"}, "b": {"extends": "vllm"}}"#,
                cycle("b"),
            ),
        ] {
            assert_eq!(engines(json).unwrap_err(), expected, "{json}");
        }
        let error = engines(r#"{"a": {"extends": "vlm"}}"#)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("a.extends: expected one of "), "{error}");
        assert!(
            error.contains(", vllm, ") || error.contains(" vllm, "),
            "{error}"
        );
        assert!(error.ends_with("found \"vlm\""), "{error}");
    }
}
