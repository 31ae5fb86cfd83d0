//! One model-server endpoint.

use std::{collections::BTreeMap, net::SocketAddr};

use super::{EndpointMetrics, Freshness};
use crate::{discovery::DiscoveredEndpoint, load::Load, time::Timestamp};

/// One model-server endpoint: where it is and what is known of it.
#[derive(Debug, Clone)]
pub struct Endpoint {
    discovered: DiscoveredEndpoint,
    /// The address as Envoy takes it, written out once instead of at every decision.
    host_port: Box<str>,
    metrics: EndpointMetrics,
    scraped_at: Option<Timestamp>,
    /// What was in flight to it then.
    load_at_scrape: Load,
    /// When it was found to fail, if it has not answered a scrape since.
    failed_at: Option<Timestamp>,
}

impl Endpoint {
    pub(super) fn new(discovered: DiscoveredEndpoint) -> Self {
        Self {
            host_port: discovered.address.to_string().into(),
            discovered,
            metrics: EndpointMetrics::default(),
            scraped_at: None,
            load_at_scrape: Load::default(),
            failed_at: None,
        }
    }

    pub(super) fn record(&mut self, metrics: EndpointMetrics, at: Timestamp) {
        self.metrics = metrics;
        let before = self.scraped_at.replace(at);
        // Another VM may tell late of what was answered before the failure. Answers that go back in time
        // are those of a clock that was set back.
        if before > Some(at) || self.failed_at < Some(at) {
            self.failed_at = None;
        }
    }

    pub(super) const fn fail(&mut self, at: Timestamp) {
        self.failed_at = Some(at);
    }

    pub(super) const fn record_load(&mut self, load: Load) {
        self.load_at_scrape = load;
    }

    /// What was in flight to it from this gateway when it last answered a scrape: what its metrics
    /// count already.
    #[must_use]
    pub const fn load_at_scrape(&self) -> Load {
        self.load_at_scrape
    }

    /// Where it serves.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.discovered.address
    }

    /// The address as `ip:port`, an IPv6 address in brackets.
    #[must_use]
    pub fn host_port(&self) -> &str {
        &self.host_port
    }

    /// What discovery said of it.
    #[must_use]
    pub const fn labels(&self) -> &BTreeMap<String, String> {
        &self.discovered.labels
    }

    /// All that discovery said of it.
    #[must_use]
    pub const fn discovered(&self) -> &DiscoveredEndpoint {
        &self.discovered
    }

    /// Its signals as of the last scrape that was answered.
    #[must_use]
    pub const fn metrics(&self) -> &EndpointMetrics {
        &self.metrics
    }

    /// A number that grows when its server is seen to have started anew, with an empty cache.
    #[must_use]
    pub const fn incarnation(&self) -> u32 {
        self.metrics.process().incarnation
    }

    /// When the scrape was sent that it last answered; `None` if it never has.
    #[must_use]
    pub const fn scraped_at(&self) -> Option<Timestamp> {
        self.scraped_at
    }

    /// When it was found to fail, if it has not answered a scrape since.
    #[must_use]
    pub const fn failed_at(&self) -> Option<Timestamp> {
        self.failed_at
    }

    /// Whether it was found to fail within the time that metrics stay fresh, and has not answered
    /// a scrape since.
    #[must_use]
    pub fn has_failed(&self, freshness: Freshness) -> bool {
        // A failure yet to come is from before a clock was set back.
        self.failed_at
            .is_some_and(|at| at <= freshness.now && freshness.holds(at))
    }

    /// Whether it has answered a scrape within the time that metrics stay fresh, and was not found
    /// to fail since. That its exposition lacks a signal makes it no less healthy.
    #[must_use]
    pub fn is_healthy(&self, freshness: Freshness) -> bool {
        self.scraped_at.is_some_and(|at| freshness.holds(at)) && !self.has_failed(freshness)
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    #[derive(Clone, Copy)]
    enum Event {
        Answers(u64),
        Fails(u64),
    }
    use Event::{Answers, Fails};

    #[test]
    fn who_fails_is_unhealthy_until_it_answers_again() {
        for (case, events, now, expected) in [
            ("never scraped", &[][..], 0, false),
            ("scraped", &[Answers(100)], 150, true),
            ("stale", &[Answers(100)], 3_000, false),
            ("failed", &[Answers(100), Fails(120)], 150, false),
            ("failed at once", &[Answers(100), Fails(100)], 150, false),
            ("failed first", &[Fails(100), Answers(120)], 150, true),
            ("back", &[Answers(100), Fails(120), Answers(140)], 150, true),
            (
                "heard late of an answer",
                &[Answers(100), Fails(120), Answers(110)],
                150,
                false,
            ),
            (
                "the same answer again",
                &[Answers(100), Fails(120), Answers(100)],
                150,
                false,
            ),
            (
                "failed again",
                &[Fails(100), Answers(120), Fails(140)],
                150,
                false,
            ),
            (
                "the clock set back",
                &[Answers(9_900), Fails(10_000), Answers(100)],
                150,
                true,
            ),
            (
                "the clock set back, and where it was again",
                &[Answers(9_900), Fails(10_000), Answers(100), Answers(9_990)],
                10_050,
                true,
            ),
            (
                "the clock set back to before a failure that lasted",
                &[Answers(100), Fails(200), Fails(10_000), Answers(400)],
                450,
                true,
            ),
            (
                "the clock set back, and failed then",
                &[Answers(9_900), Fails(10_000), Answers(100), Fails(120)],
                150,
                false,
            ),
            (
                "the clock set back, and not answered since",
                &[Answers(9_900), Fails(120)],
                150,
                false,
            ),
        ] {
            let address = ([10, 0, 0, 1], 1).into();
            let mut endpoint = Endpoint::new(DiscoveredEndpoint::at(address));
            for event in events {
                match *event {
                    Answers(at) => {
                        endpoint.record(EndpointMetrics::default(), Timestamp::from_millis(at));
                    }
                    Fails(at) => endpoint.fail(Timestamp::from_millis(at)),
                }
            }
            let freshness = Freshness {
                now: Timestamp::from_millis(now),
                stale_after: Duration::from_secs(2),
            };
            assert_eq!(endpoint.is_healthy(freshness), expected, "{case}");
        }
    }
}
