//! Where endpoints come from.
//!
//! A source says which endpoints there are, what labels they carry and how they are to be scraped;
//! the pool adds what the scrapes learn of them. The one source is the list in the configuration.

use std::{collections::BTreeMap, net::SocketAddr};

use crate::scraping::ScrapeSpec;

/// An endpoint as a source names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveredEndpoint {
    /// Where it serves. Envoy's ORIGINAL_DST cluster connects to addresses, not to names.
    pub address: SocketAddr,
    /// What the source says of it, such as its role or its GPU.
    pub labels: BTreeMap<String, String>,
    /// The engine it runs, where the source knows it other than by a label.
    pub engine: Option<String>,
    /// How it is scraped, where that differs from others of its engine.
    pub scrape: ScrapeSpec,
}

impl DiscoveredEndpoint {
    /// An endpoint of which nothing but the address is known.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        Self {
            address,
            labels: BTreeMap::new(),
            engine: None,
            scrape: ScrapeSpec::default(),
        }
    }
}
