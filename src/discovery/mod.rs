//! Where endpoints come from.
//!
//! A source says which endpoints there are and what labels they carry; the pool adds what the
//! scrapes learn of them. The one source is the list in the configuration.

use std::{collections::BTreeMap, net::SocketAddr};

/// An endpoint as a source names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveredEndpoint {
    /// Where it serves. Envoy's ORIGINAL_DST cluster connects to addresses, not to names.
    pub address: SocketAddr,
    /// What the source says of it, such as its role or its GPU.
    pub labels: BTreeMap<String, String>,
}

impl DiscoveredEndpoint {
    /// An endpoint without labels.
    #[must_use]
    pub const fn at(address: SocketAddr) -> Self {
        Self {
            address,
            labels: BTreeMap::new(),
        }
    }
}
