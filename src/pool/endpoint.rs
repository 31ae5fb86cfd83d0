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
    /// When it was last found to fail.
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
        self.scraped_at = Some(at);
    }

    pub(super) fn fail(&mut self, at: Timestamp) {
        self.failed_at = self.failed_at.max(Some(at));
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

    /// When it last answered a scrape; `None` if it never has.
    #[must_use]
    pub const fn scraped_at(&self) -> Option<Timestamp> {
        self.scraped_at
    }

    /// When it was found to fail, if it has not answered a scrape since.
    #[must_use]
    pub fn failed_at(&self) -> Option<Timestamp> {
        self.failed_at.filter(|_| self.failed_at >= self.scraped_at)
    }

    /// Whether it has answered a scrape within the time that metrics stay fresh, and was not found
    /// to fail since. That its exposition lacks a signal makes it no less healthy.
    #[must_use]
    pub fn is_healthy(&self, freshness: Freshness) -> bool {
        // A failure is forgotten when what was scraped before it is: a clock set back is waited for no
        // longer than that.
        let is_fresh = |at: Option<Timestamp>| at.is_some_and(|at| freshness.holds(at));
        is_fresh(self.scraped_at) && !is_fresh(self.failed_at())
    }
}
