//! The scraper: asks the endpoints that are due, takes in what they answer, and says what is wrong
//! with it.

use std::rc::Rc;

use fastrand::Rng;
use hashbrown::HashMap;

use super::{
    metrics::{FilterMetrics, Lacks},
    scrape::{self, Failure, ScrapeRequest},
};
use crate::{
    config::MetricsSettings,
    discovery::DiscoveredEndpoint,
    load::InFlight,
    model_server::{EngineChoice, EngineId, Engines, MetricsReader},
    pool::{Endpoint, EndpointMetrics, Observation, Pool},
    scraping::{EndpointSet, LastScrape, Pace, ScrapeSettings, Timetable, has_traffic},
    time::Timestamp,
};

/// Scrapes the endpoints of a pool while this VM has the lease.
#[derive(Debug)]
pub(super) struct Scraper {
    settings: Rc<MetricsSettings>,
    metrics: Rc<FilterMetrics>,
    rng: Rng,
    timetable: Timetable,
    /// By the endpoints' indexes in the pool.
    sources: Vec<Source>,
    /// The endpoint that each call under way asks, and since when, by the call's token.
    under_way: HashMap<u32, (usize, Timestamp)>,
    /// As last told.
    lacks: Option<Lacks>,
}

/// One endpoint as a source of metrics.
#[derive(Debug)]
struct Source {
    request: ScrapeRequest,
    choice: EngineChoice,
    reader: MetricsReader,
    said: Said,
}

/// What has been said in the log of how an endpoint is read.
#[derive(Debug, Clone, Copy)]
enum Said {
    Nothing,
    /// What there was to say, by the scraper before this one.
    ByPredecessor,
    /// That it is read as this engine, or as none.
    Of(Option<EngineId>),
}

impl Scraper {
    /// Goes on from what `pool` knows, which a VM of this very configuration has scraped if this one
    /// is its `successor`. Such a VM has also said what is wrong with the endpoints.
    pub(super) fn new(
        settings: Rc<MetricsSettings>,
        metrics: Rc<FilterMetrics>,
        pool: &Pool,
        successor: bool,
        rng: Rng,
    ) -> Self {
        let mut paces = Vec::new();
        let mut sources = Vec::new();
        for endpoint in pool.endpoints() {
            let (source, pace) = Source::new(&settings, endpoint, successor);
            sources.push(source);
            paces.push(pace);
        }
        let last_scrapes = pool.endpoints().iter().map(|endpoint| {
            endpoint.scraped_at().map(|at| LastScrape {
                at,
                traffic: has_traffic(endpoint.metrics()),
            })
        });
        if !successor {
            // What was lacking of another configuration's endpoints is no longer so of these.
            metrics.set_lacks(&Lacks::default());
        }
        Self {
            timetable: Timetable::new(paces.into_iter().zip(last_scrapes)),
            settings,
            metrics,
            rng,
            sources,
            under_way: HashMap::new(),
            lacks: None,
        }
    }

    /// Takes note that requests were sent to `endpoints`.
    pub(super) fn routed(&mut self, endpoints: &EndpointSet, now: Timestamp) {
        for index in endpoints.iter() {
            self.timetable.routed(index, now);
        }
    }

    /// The endpoints that whoever scrapes next is to ask soon.
    pub(super) fn busy(&self) -> impl Iterator<Item = usize> {
        self.timetable.busy()
    }

    /// Asks the endpoints that are due.
    pub(super) fn scrape_due(&mut self, pool: &Pool, now: Timestamp) {
        let due: Vec<_> = self.timetable.due(now).collect();
        for index in due {
            let (Some(endpoint), Some(source)) =
                (pool.endpoints().get(index), self.sources.get(index))
            else {
                continue;
            };
            match source.request.send() {
                Ok(token) => {
                    self.under_way.insert(token, (index, now));
                }
                Err(failure) => self.failed(index, endpoint, &failure, now),
            }
        }
    }

    /// Whether the answer to the call `token` is to come.
    pub(super) fn awaits(&self, token: u32) -> bool {
        self.under_way.contains_key(&token)
    }

    /// Takes the answer to the call `token` into `pool`, with the `load` that it counts; tells
    /// whether that changed it.
    pub(super) fn answered(
        &mut self,
        pool: &mut Pool,
        load: &InFlight,
        token: u32,
        num_headers: usize,
        body_size: usize,
        now: Timestamp,
    ) -> bool {
        let Some((index, asked_at)) = self.under_way.remove(&token) else {
            return false;
        };
        let (Some(endpoint), Some(source)) =
            (pool.endpoints().get(index), self.sources.get_mut(index))
        else {
            return false;
        };
        let exposition = match scrape::read_answer(num_headers, body_size) {
            Ok(exposition) => exposition,
            Err(failure) => {
                self.failed(index, endpoint, &failure, now);
                let is_absent = failure.is_absence();
                if is_absent {
                    let address = endpoint.address();
                    pool.record_failure(address, now);
                }
                return is_absent;
            }
        };
        // Since when it may have changed is what counts: whether the metrics are stale, and whether
        // a failure is older than they.
        let metrics = source.read(&self.settings.engines, endpoint, &exposition, asked_at);
        self.metrics.count_scrape(None);
        if self.timetable.answered(index, has_traffic(&metrics)) {
            let host_port = endpoint.host_port();
            log::info!("endpoint {host_port}: scrapes are answered again");
        }
        let address = endpoint.address();
        pool.record(address, metrics, asked_at);
        pool.record_load(address, load.at(index));
        true
    }

    /// Ends a scrape that brought nothing. Failing is said once, not at every scrape.
    fn failed(&mut self, index: usize, endpoint: &Endpoint, failure: &Failure, now: Timestamp) {
        self.metrics.count_scrape(Some(failure.reason()));
        let host_port = endpoint.host_port();
        let Some(Source { request, .. }) = self.sources.get(index) else {
            return;
        };
        if self.timetable.failed(index, now, &mut self.rng) {
            log::warn!(
                "endpoint {host_port}: scrape of {request} failed: {failure}; its metrics go stale"
            );
        } else {
            log::debug!("endpoint {host_port}: scrape of {request} failed: {failure}");
        }
    }

    /// Tells the filter's metrics what the scrapes lack at present.
    pub(super) fn tell_lacks(&mut self, pool: &Pool) {
        let mut lacks = Lacks::default();
        for (source, endpoint) in self.sources.iter().zip(pool.endpoints()) {
            // Of the others this VM has read nothing yet.
            let Said::Of(engine) = source.said else {
                continue;
            };
            match engine.and_then(|engine| self.settings.engines.get(engine)) {
                Some(engine) => engine
                    .mapping()
                    .signals()
                    .filter(|signal| is_lack(endpoint.metrics().observation(*signal)))
                    .for_each(|signal| lacks.count(signal)),
                None => lacks.unrecognized += 1,
            }
        }
        if self.lacks.as_ref() != Some(&lacks) {
            self.metrics.set_lacks(&lacks);
            self.lacks = Some(lacks);
        }
    }
}

/// How `endpoint` is scraped. An engine that only the expositions tell changes nothing about where
/// they come from and how often: they came from right there.
pub(super) fn scrape_settings(
    settings: &MetricsSettings,
    endpoint: &DiscoveredEndpoint,
) -> ScrapeSettings {
    let named = match settings.engine_of(endpoint).choice {
        EngineChoice::Named(engine) => Some(engine),
        EngineChoice::Auto => None,
    };
    settings.scrape_of(endpoint, named)
}

impl Source {
    fn new(settings: &MetricsSettings, endpoint: &Endpoint, successor: bool) -> (Self, Pace) {
        let engine = settings.engine_of(endpoint.discovered());
        let scrape = scrape_settings(settings, endpoint.discovered());
        if let (Some(label), false) = (engine.unknown_label, successor) {
            log::warn!(
                "endpoint {}: its label names the engine {label:?}, which is none of {}; the setting \
                 `engine` counts",
                endpoint.host_port(),
                names(&settings.engines)
            );
        }
        let pace = Pace::from(&scrape);
        let source = Self {
            request: ScrapeRequest::new(scrape, endpoint.address()),
            choice: engine.choice,
            reader: MetricsReader::new(engine.choice),
            said: if successor && endpoint.scraped_at().is_some() {
                Said::ByPredecessor
            } else {
                Said::Nothing
            },
        };
        (source, pace)
    }

    /// Reads an exposition of `endpoint`, and says what is remarkable about it: each thing once.
    fn read(
        &mut self,
        engines: &Engines,
        endpoint: &Endpoint,
        exposition: &[u8],
        now: Timestamp,
    ) -> EndpointMetrics {
        let before = endpoint.scraped_at().map(|_| endpoint.metrics());
        let metrics = self.reader.read(engines, exposition, now, before);

        let engine = self.reader.engine();
        let is_news = match core::mem::replace(&mut self.said, Said::Of(engine)) {
            Said::Nothing => true,
            // What it has said is in the metrics that it has left.
            Said::ByPredecessor => before.is_some_and(|before| before.engine() != metrics.engine()),
            Said::Of(before) => before != engine,
        };
        if is_news && self.choice == EngineChoice::Auto {
            say_engine(engines, endpoint.host_port(), engine);
        }
        // What was missing while it was read otherwise says nothing of what is missing like this.
        let before = before.filter(|_| !is_news);
        say_signals(engines, engine, endpoint.host_port(), before, &metrics);
        metrics
    }
}

fn say_engine(engines: &Engines, host_port: &str, engine: Option<EngineId>) {
    match engine.and_then(|engine| engines.get(engine)) {
        Some(engine) => {
            let name = engine.name();
            log::info!("endpoint {host_port}: engine {name:?} recognized by its metrics");
        }
        None => log::warn!(
            "endpoint {host_port}: no known engine has metrics such as it has, and it scores worst; \
             name its engine in the setting `engine`, one of {}, or describe it in `engines`",
            names(engines)
        ),
    }
}

/// Says which signals went missing and which are back, once each.
fn say_signals(
    engines: &Engines,
    engine: Option<EngineId>,
    host_port: &str,
    before: Option<&EndpointMetrics>,
    after: &EndpointMetrics,
) {
    let Some(engine) = engine.and_then(|engine| engines.get(engine)) else {
        return;
    };
    for (kind, observation) in after.changes_since(before, engine.mapping().signals()) {
        let signal = engines.signal_name(kind);
        match observation {
            Observation::Missing => log::warn!(
                "endpoint {host_port}: no series for {signal}; it scores worst where that counts"
            ),
            Observation::NotFinite if kind.is_share() => log::warn!(
                "endpoint {host_port}: {signal} is no share from 0 to 1: NaN, or a percentage, which its \
                 expression is to divide by 100; it scores worst where that counts"
            ),
            Observation::NotFinite => log::warn!(
                "endpoint {host_port}: {signal} is NaN or infinite; it scores worst where that counts"
            ),
            Observation::Unmeasured | Observation::Value { .. } => {
                log::info!("endpoint {host_port}: {signal} is back");
            }
        }
    }
}

const fn is_lack(observation: Observation) -> bool {
    matches!(observation, Observation::Missing | Observation::NotFinite)
}

fn names(engines: &Engines) -> String {
    let names: Vec<_> = engines.iter().map(|engine| engine.name()).collect();
    names.join(", ")
}
