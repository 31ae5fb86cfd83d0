//! Scrapes: the calls, and what becomes of their answers.

use core::fmt;

use hashbrown::HashMap;

use super::{
    destination::ORIGINAL_DST_HEADER,
    host::{self, HostError},
};
use crate::{
    config::MetricsSettings,
    model_server::Mapping,
    pool::{EndpointMetrics, Observation, Pool},
    scraping::Timetable,
    time::Timestamp,
};

/// Expositions are tens of kilobytes, with many adapters some hundreds. A larger body is no
/// exposition, and reading it would leave the VM that large for good.
const MAX_EXPOSITION_BYTES: usize = 4 << 20;

/// Scrapes the endpoints of a pool while this VM has the lease.
#[derive(Debug)]
pub(super) struct Scraper {
    settings: MetricsSettings,
    mapping: Mapping,
    timetable: Timetable,
    /// The endpoint that each call under way asks, by the call's token.
    under_way: HashMap<u32, usize>,
}

/// Why a scrape brought nothing.
#[derive(Debug)]
enum Failure {
    NotSent(HostError),
    NoAnswer,
    TooLarge(usize),
    Status(Option<u16>),
    Host(HostError),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(error) => write!(f, "not sent: {error}"),
            Self::NoAnswer => f.write_str("the connection broke before the answer was complete"),
            Self::TooLarge(size) => {
                write!(f, "{size} bytes, more than {MAX_EXPOSITION_BYTES}")
            }
            Self::Status(Some(503)) => f.write_str("status 503, or nothing to connect to"),
            Self::Status(Some(504)) => f.write_str("no answer in time"),
            Self::Status(Some(status)) => write!(f, "status {status}"),
            Self::Status(None) => f.write_str("no status"),
            Self::Host(error) => error.fmt(f),
        }
    }
}

impl Scraper {
    /// Goes on from what `pool` knows.
    pub(super) fn new(settings: &MetricsSettings, pool: &Pool) -> Self {
        let scraped_at = pool.endpoints().iter().map(|e| e.scraped_at());
        Self {
            settings: settings.clone(),
            mapping: Mapping::new(&settings.selectors),
            timetable: Timetable::new(settings.interval, scraped_at),
            under_way: HashMap::new(),
        }
    }

    /// Asks the endpoints that are due.
    pub(super) fn scrape_due(&mut self, pool: &Pool, now: Timestamp) {
        let due: Vec<_> = self.timetable.due(now).collect();
        for index in due {
            let Some(endpoint) = pool.endpoints().get(index) else {
                continue;
            };
            let sent = host::dispatch_get(
                &self.settings.cluster,
                &self.settings.path,
                endpoint.host_port(),
                &[
                    (ORIGINAL_DST_HEADER, endpoint.host_port()),
                    ("accept", "text/plain;version=0.0.4"),
                    ("user-agent", "endpoint-picker"),
                ],
                self.settings.timeout,
            );
            match sent {
                Ok(token) => {
                    self.under_way.insert(token, index);
                }
                Err(error) => {
                    self.settle(index, endpoint.host_port(), Err(Failure::NotSent(error)));
                }
            }
        }
    }

    /// Takes the answer to the call `token` into `pool`; tells whether that changed it.
    pub(super) fn answered(
        &mut self,
        pool: &mut Pool,
        token: u32,
        num_headers: usize,
        body_size: usize,
        now: Timestamp,
    ) -> bool {
        let Some(index) = self.under_way.remove(&token) else {
            return false;
        };
        let Some(endpoint) = pool.endpoints().get(index) else {
            return false;
        };
        let exposition = read_answer(num_headers, body_size);
        let outcome = exposition.map(|exposition| self.mapping.read(&exposition, now));
        let read = outcome.as_ref().ok().copied();
        self.settle(index, endpoint.host_port(), outcome);
        let Some(metrics) = read else { return false };

        let before = endpoint.scraped_at().map(|_| endpoint.metrics());
        report_signals(endpoint.host_port(), before, &metrics);
        let address = endpoint.address();
        pool.record(address, metrics, now);
        true
    }

    /// Ends a scrape. Failing and answering again are said once each, not at every scrape.
    fn settle(&mut self, index: usize, host_port: &str, outcome: Result<EndpointMetrics, Failure>) {
        let changed = self.timetable.settle(index, outcome.is_ok());
        match outcome {
            Ok(_) if changed => log::info!("endpoint {host_port}: scrapes are answered again"),
            Err(failure) if changed => log::warn!(
                "endpoint {host_port}: scrape of {} failed: {failure}; its metrics go stale",
                self.settings.path
            ),
            Err(failure) => log::debug!("endpoint {host_port}: scrape failed: {failure}"),
            Ok(_) => {}
        }
    }
}

fn read_answer(num_headers: usize, body_size: usize) -> Result<Vec<u8>, Failure> {
    // A broken call has no headers, and asking for one would be refused.
    if num_headers == 0 {
        return Err(Failure::NoAnswer);
    }
    match host::call_response_status().map_err(Failure::Host)? {
        Some(200) if body_size <= MAX_EXPOSITION_BYTES => {
            host::call_response_body(body_size).map_err(Failure::Host)
        }
        Some(200) => Err(Failure::TooLarge(body_size)),
        status => Err(Failure::Status(status)),
    }
}

/// Says which signals went missing and which are back, once each.
fn report_signals(host_port: &str, before: Option<&EndpointMetrics>, after: &EndpointMetrics) {
    for (signal, observation) in after.changes_since(before) {
        match observation {
            Observation::Missing => log::warn!(
                "endpoint {host_port}: no series for {signal}; it scores worst where that counts"
            ),
            Observation::NotFinite => log::warn!(
                "endpoint {host_port}: {signal} is NaN or infinite; it scores worst where that counts"
            ),
            Observation::Value { .. } => log::info!("endpoint {host_port}: {signal} is back"),
        }
    }
}
