//! The form in which VMs share what was scraped: [postcard](https://postcard.jamesmunns.com/wire-format),
//! about 40 bytes an endpoint.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{EndpointMetrics, Pool};
use crate::time::Timestamp;

/// What is known of a pool's endpoints at one generation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Counts the snapshots published; a reader that knows this one need not read it again.
    pub generation: u64,
    /// Each endpoint's signals and when it answered; `None` if it never has.
    pub endpoints: Vec<(SocketAddr, Option<(EndpointMetrics, Timestamp)>)>,
}

/// Bytes that are no snapshot: written by an incompatible build under the same keys.
#[derive(Debug, thiserror::Error)]
#[error("not a snapshot of this version: {0}")]
pub struct SnapshotError(#[from] postcard::Error);

/// Encodes what `pool` knows.
///
/// # Errors
/// None that a pool can cause; the encoder's own are passed on.
pub fn encode_snapshot(pool: &Pool, generation: u64) -> Result<Vec<u8>, SnapshotError> {
    let endpoints = pool
        .endpoints()
        .iter()
        .map(|endpoint| {
            let observed = endpoint.scraped_at().map(|at| (*endpoint.metrics(), at));
            (endpoint.address(), observed)
        })
        .collect();
    Ok(postcard::to_allocvec(&Snapshot {
        generation,
        endpoints,
    })?)
}

impl Snapshot {
    /// Decodes what [`encode_snapshot`] wrote.
    ///
    /// # Errors
    /// When the bytes are anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, SnapshotError> {
        Ok(postcard::from_bytes(bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{discovery::DiscoveredEndpoint, pool::Signal};

    fn pool(ports: &[u16]) -> Pool {
        let endpoints: Vec<_> = ports
            .iter()
            .map(|port| DiscoveredEndpoint::at(SocketAddr::from(([10, 0, 0, 1], *port))))
            .collect();
        Pool::new(&endpoints)
    }

    #[test]
    fn endpoints_of_another_configuration_are_passed_over() {
        let at = Timestamp::from_millis(7);
        let mut metrics = EndpointMetrics::default();
        metrics.observe(Signal::WaitingRequests, 3.0, at);
        let mut theirs = pool(&[1, 2]);
        for endpoint in [1, 2] {
            theirs.record(([10, 0, 0, 1], endpoint).into(), metrics, at);
        }

        let mut ours = pool(&[2, 3]);
        ours.record(
            ([10, 0, 0, 1], 3).into(),
            metrics,
            Timestamp::from_millis(1),
        );
        let bytes = encode_snapshot(&theirs, 1).unwrap();
        ours.apply(Snapshot::decode(&bytes).unwrap());

        let scraped: Vec<_> = ours
            .endpoints()
            .iter()
            .map(|endpoint| (endpoint.host_port(), endpoint.scraped_at()))
            .collect();
        assert_eq!(
            scraped,
            [
                ("10.0.0.1:2", Some(at)),
                ("10.0.0.1:3", Some(Timestamp::from_millis(1)))
            ]
        );
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            generation in any::<u64>(),
            observed in prop::collection::btree_map(
                any::<u16>(),
                prop::option::of((any::<u64>(), prop::array::uniform3(prop::option::of(any::<f64>())))),
                0..50,
            ),
        ) {
            let mut pool = pool(&observed.keys().copied().collect::<Vec<_>>());
            for (port, scrape) in &observed {
                let Some((at, values)) = scrape else { continue };
                let at = Timestamp::from_millis(*at);
                let mut metrics = EndpointMetrics::default();
                for (signal, value) in Signal::ALL.into_iter().zip(values) {
                    if let Some(value) = value {
                        metrics.observe(signal, *value, at);
                    }
                }
                pool.record(([10, 0, 0, 1], *port).into(), metrics, at);
            }

            let snapshot = Snapshot::decode(&encode_snapshot(&pool, generation)?)?;
            prop_assert_eq!(snapshot.generation, generation);
            let expected: Vec<_> = pool
                .endpoints()
                .iter()
                .map(|e| (e.address(), e.scraped_at().map(|at| (*e.metrics(), at))))
                .collect();
            prop_assert_eq!(snapshot.endpoints, expected);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Snapshot::decode(&bytes);
        }
    }
}
