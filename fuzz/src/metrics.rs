//! Scrapes, from bytes to signals, by every engine.

use std::{net::SocketAddr, sync::LazyLock};

use endpoint_picker::{
    discovery::DiscoveredEndpoint,
    load::Load,
    model_server::{Engine, EngineChoice, Engines, History, MetricsReader},
    pool::{EndpointMetrics, Observation, Pool, Scraped, Signal, Snapshot, encode_snapshot},
    time::Timestamp,
};

use crate::naive;

/// An engine with what no preset has, beside the presets.
const OWN: &str = r#"{
    "own": {
        "recognizedBy": ["up", "a:b_total"],
        "signals": {
            "waitingRequests": ["latest(a{b=c})", "min(a) - 1", "-rate(a:b_total)"],
            "kvCacheUsage": "1 - sum(up) / (a + 2 * max(label(a, b)))",
            "timeToFirstToken": "increase(a) / increase(up{b=\"c\"})"
        },
        "customMetrics": {"first": "a", "second": ["label(up, b)", "mean(up)"]},
        "lora": {"running": "up", "waiting": "a{b=c}", "adapterLabel": "b", "max": "a"}
    }
}"#;

pub(crate) static ENGINES: LazyLock<Engines> = LazyLock::new(|| {
    let engines = serde_json::from_str(OWN).ok();
    let engines = engines.and_then(|engines| Engines::new(engines).ok());
    assert!(engines.is_some(), "the engines are valid");
    engines.unwrap_or_default()
});

/// What separates one scrape from the next in an input; white space in an exposition.
pub(crate) const NEXT_SCRAPE: u8 = b'\x0c';

/// Reads `text` as the scrapes of one endpoint, by each engine and by the one that they tell. A single
/// scrape is read twice.
///
/// What is read must be the same of the exposition as the naive reading writes it anew, must be
/// sound, and must get through to the other VMs as it is.
pub fn metrics(text: &[u8]) {
    let mut scrapes: Vec<_> = text.split(|&byte| byte == NEXT_SCRAPE).take(4).collect();
    if let [only] = scrapes.as_slice() {
        scrapes.push(only);
    }
    let scrapes: Vec<_> = scrapes
        .into_iter()
        .zip((1..).map(|second| Timestamp::from_millis(second * 1_000)))
        .map(|(text, at)| (text, rewritten(text), at))
        .collect();

    for engine in ENGINES.iter() {
        let (mut by_parser, mut naively) = (Reader::new(engine), Reader::new(engine));
        for (text, rewritten, at) in &scrapes {
            let found = by_parser.read(text, *at);
            check(&found, engine, *at);
            let expected = naively.read(rewritten, *at);
            assert_eq!(found, expected, "by {}", engine.name());
        }
    }

    let mut by_parser = MetricsReader::new(EngineChoice::Auto);
    let mut naively = by_parser.clone();
    for (text, rewritten, at) in &scrapes {
        let found = by_parser.read(&ENGINES, text, *at, None);
        let expected = naively.read(&ENGINES, rewritten, *at, None);
        assert_eq!(found, expected, "by the engine that is recognised");
        assert_eq!(by_parser.engine(), naively.engine());
    }
}

struct Reader<'a> {
    engine: &'a Engine,
    history: History,
    before: Option<EndpointMetrics>,
}

impl<'a> Reader<'a> {
    fn new(engine: &'a Engine) -> Self {
        Self {
            engine,
            history: History::default(),
            before: None,
        }
    }

    fn read(&mut self, text: &[u8], at: Timestamp) -> EndpointMetrics {
        let mapping = self.engine.mapping();
        let metrics = mapping.read(text, at, &mut self.history, self.before.as_ref());
        self.before = Some(metrics.clone());
        metrics
    }
}

/// The samples that the naive reading finds, each on a line of its own.
fn rewritten(text: &[u8]) -> Vec<u8> {
    let lines = text.split(|&byte| byte == b'\n').map(naive::line);
    let samples = lines.filter_map(|line| match line {
        naive::Line::Sample(sample) => Some(format!("{sample}\n")),
        _ => None,
    });
    samples.collect::<String>().into_bytes()
}

fn check(metrics: &EndpointMetrics, engine: &Engine, now: Timestamp) {
    for signal in engine.mapping().signals() {
        if let Observation::Value { value, at } = metrics.observation(signal) {
            assert!(
                value.is_finite() && at <= now,
                "{signal} is {value} at {at:?}"
            );
        }
    }
    let custom = (0..)
        .map(Signal::Custom)
        .take(ENGINES.custom_metrics().len());
    for signal in Signal::ALL.into_iter().chain(custom) {
        let mapped = engine.mapping().signals().any(|of| of == signal);
        assert!(mapped || metrics.observation(signal) == Observation::Missing);
    }
    for names in metrics
        .lora()
        .iter()
        .flat_map(|lora| [&lora.running, &lora.waiting])
    {
        assert!(names.is_sorted() && names.iter().all(|name| !name.is_empty()));
    }

    let address = SocketAddr::from(([10, 0, 0, 1], 8000));
    let mut pool = Pool::new(&[DiscoveredEndpoint::at(address)]);
    pool.record(address, metrics.clone(), now);
    let snapshot = encode_snapshot(&pool, &[], 1).and_then(|bytes| Snapshot::decode(&bytes));
    let endpoints = snapshot
        .map(|snapshot| snapshot.endpoints)
        .unwrap_or_default();
    let scraped = Scraped {
        metrics: metrics.clone(),
        at: now,
        load: Load::default(),
        failed_at: None,
    };
    assert_eq!(endpoints, [(address, Some(scraped))]);
}
