//! What the tables have in common: scrapes in turn, read by an engine.

use endpoint_picker::{
    model_server::{EngineChoice, EngineSpec, Engines, MetricsReader},
    pool::{EndpointMetrics, Observation, Signal},
    time::Timestamp,
};

pub(crate) const MISSING: Observation = Observation::Missing;
pub(crate) const NOT_FINITE: Observation = Observation::NotFinite;
pub(crate) const UNMEASURED: Observation = Observation::Unmeasured;

/// The moment of the scrape of this number, counted from 1.
pub(crate) const fn at(scrape: u64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + scrape * 200)
}

pub(crate) const fn value(value: f64, scrape: u64) -> Observation {
    Observation::Value {
        value,
        at: at(scrape),
    }
}

/// The presets with `engines`, the object of that name in a configuration, on top.
pub(crate) fn engines(engines: &str) -> Engines {
    let specs: std::collections::BTreeMap<String, EngineSpec> =
        serde_json::from_str(engines).unwrap_or_else(|error| panic!("{engines}: {error}"));
    Engines::new(specs).unwrap_or_else(|error| panic!("{engines}: {error}"))
}

/// What `engine` says after each of the scrapes of one endpoint.
pub(crate) fn read_in_turn(
    engines: &Engines,
    engine: &str,
    scrapes: &[&str],
) -> Vec<EndpointMetrics> {
    let id = engines.find(engine);
    let id = id.unwrap_or_else(|| panic!("no engine {engine:?}"));
    let mut reader = MetricsReader::new(EngineChoice::Named(id));
    let mut read: Vec<EndpointMetrics> = Vec::new();
    for (scrape, exposition) in (1..).zip(scrapes) {
        let metrics = reader.read(engines, exposition.as_bytes(), at(scrape), read.last());
        read.push(metrics);
    }
    read
}

/// What the preset `engine` says of one exposition.
pub(crate) fn read(engine: &str, exposition: &str) -> EndpointMetrics {
    read_in_turn(&Engines::default(), engine, &[exposition]).remove(0)
}

/// The basic three: waiting, running, KV-cache usage.
pub(crate) fn load(metrics: &EndpointMetrics) -> [Observation; 3] {
    [
        Signal::WaitingRequests,
        Signal::RunningRequests,
        Signal::KvCacheUsage,
    ]
    .map(|signal| metrics.observation(signal))
}

/// The exposition some time later: of every family named, the series whose labels contain the text
/// have grown.
pub(crate) fn grown(exposition: &str, growth: &[(&str, &str, f64)]) -> String {
    let mut lines: Vec<_> = exposition.lines().map(str::to_owned).collect();
    for (family, label, by) in growth {
        let mut found = false;
        for line in &mut lines {
            let of_family = line.strip_prefix(family);
            let series = of_family.filter(|rest| rest.starts_with(['{', ' ']));
            if series.is_none_or(|series| !series.contains(label)) {
                continue;
            }
            let (series, before) = line.rsplit_once(' ').expect("a sample");
            let before: f64 = before.parse().expect("a number");
            *line = format!("{series} {}", before + by);
            found = true;
        }
        assert!(found, "no {family} with {label:?}");
    }
    lines.join("\n")
}
