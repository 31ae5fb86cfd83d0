//! The form in which VMs share what was scraped: [postcard](https://postcard.jamesmunns.com/wire-format),
//! about 90 bytes an endpoint.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{EndpointMetrics, LoraAdapters, Observation, Pool, Process};
use crate::{load::Load, time::Timestamp};

/// What is known of a pool's endpoints at one generation.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Counts the snapshots published; a reader that knows this one need not read it again.
    pub generation: u64,
    /// The names of the custom metrics; [`Signal::Custom`](super::Signal::Custom) counts in this list.
    pub custom_metrics: Vec<Box<str>>,
    /// What each endpoint answered; `None` if it never has.
    pub endpoints: Vec<(SocketAddr, Option<Scraped>)>,
}

/// What one endpoint answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Scraped {
    /// Its signals.
    pub metrics: EndpointMetrics,
    /// When it was asked.
    pub at: Timestamp,
    /// What was in flight to it then.
    pub load: Load,
    /// When it was found to fail since, if it was.
    pub failed_at: Option<Timestamp>,
}

/// Bytes that are no snapshot: written by an incompatible build under the same keys.
#[derive(Debug, thiserror::Error)]
#[error("not a snapshot of this version: {0}")]
pub struct SnapshotError(#[from] postcard::Error);

/// A [`Snapshot`] as it is shared.
#[derive(Serialize, Deserialize)]
struct Shared<Name, Metrics> {
    generation: u64,
    custom_metrics: Vec<Name>,
    endpoints: Vec<(SocketAddr, Option<Metrics>)>,
}

/// What is known of an endpoint. Nearly every value is as old as the scrape, so the time stands
/// here once.
#[derive(Serialize, Deserialize)]
struct SharedMetrics<Name, Lora> {
    scraped_at: Timestamp,
    observations: Vec<SharedObservation>,
    lora: Option<Lora>,
    process: Process,
    engine: Option<Name>,
    load: Load,
    failed_at: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
enum SharedObservation {
    Missing,
    NotFinite,
    Unmeasured,
    /// Measured by the scrape.
    Value(f64),
    /// Measured by one before.
    Kept(f64, Timestamp),
}

impl SharedObservation {
    fn new(observation: Observation, scraped_at: Timestamp) -> Self {
        match observation {
            Observation::Missing => Self::Missing,
            Observation::NotFinite => Self::NotFinite,
            Observation::Unmeasured => Self::Unmeasured,
            Observation::Value { value, at } if at == scraped_at => Self::Value(value),
            Observation::Value { value, at } => Self::Kept(value, at),
        }
    }

    const fn observation(self, scraped_at: Timestamp) -> Observation {
        match self {
            Self::Missing => Observation::Missing,
            Self::NotFinite => Observation::NotFinite,
            Self::Unmeasured => Observation::Unmeasured,
            Self::Value(value) => Observation::of(value, scraped_at),
            Self::Kept(value, at) => Observation::of(value, at),
        }
    }
}

impl From<SharedMetrics<Box<str>, LoraAdapters>> for Scraped {
    fn from(shared: SharedMetrics<Box<str>, LoraAdapters>) -> Self {
        let at = shared.scraped_at;
        let observations = shared.observations.into_iter();
        let observations = observations.map(|observation| observation.observation(at));
        Self {
            metrics: EndpointMetrics::from_parts(
                observations.collect(),
                shared.lora,
                shared.process,
                shared.engine,
            ),
            at,
            load: shared.load,
            failed_at: shared.failed_at,
        }
    }
}

/// Encodes what `pool` knows, with `custom_metrics` as its custom metrics are called.
///
/// # Errors
/// None that a pool can cause; the encoder's own are passed on.
pub fn encode_snapshot(
    pool: &Pool,
    custom_metrics: &[String],
    generation: u64,
) -> Result<Vec<u8>, SnapshotError> {
    let endpoints = pool
        .endpoints()
        .iter()
        .map(|endpoint| {
            let metrics = endpoint.scraped_at().map(|scraped_at| SharedMetrics {
                scraped_at,
                observations: endpoint
                    .metrics()
                    .observations()
                    .iter()
                    .map(|observation| SharedObservation::new(*observation, scraped_at))
                    .collect(),
                lora: endpoint.metrics().lora(),
                process: endpoint.metrics().process(),
                engine: endpoint.metrics().engine(),
                load: endpoint.load_at_scrape(),
                failed_at: endpoint.failed_at(),
            });
            (endpoint.address(), metrics)
        })
        .collect();
    Ok(postcard::to_allocvec(&Shared {
        generation,
        custom_metrics: custom_metrics.iter().collect(),
        endpoints,
    })?)
}

impl Snapshot {
    /// Decodes what [`encode_snapshot`] wrote.
    ///
    /// # Errors
    /// When the bytes are anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let shared: Shared<Box<str>, SharedMetrics<Box<str>, LoraAdapters>> =
            postcard::from_bytes(bytes)?;
        let endpoints = shared
            .endpoints
            .into_iter()
            .map(|(address, metrics)| (address, metrics.map(Scraped::from)))
            .collect();
        Ok(Self {
            generation: shared.generation,
            custom_metrics: shared.custom_metrics,
            endpoints,
        })
    }

    /// The same with custom metrics in the order of `names`, which another configuration has in another
    /// order, or not at all. One that the snapshot does not have is missing.
    #[must_use]
    pub fn with_custom_metrics(mut self, names: &[String]) -> Self {
        let theirs = self.custom_metrics.iter().map(|name| &**name);
        if theirs.clone().eq(names) {
            return self;
        }
        let places = names.iter().map(|name| {
            let place = theirs.clone().position(|theirs| theirs == name)?;
            u16::try_from(place).ok()
        });
        let places: Vec<_> = places.collect();
        let scraped = self.endpoints.iter_mut();
        for scraped in scraped.filter_map(|(_, scraped)| scraped.as_mut()) {
            scraped.metrics.rearrange_custom(&places);
        }
        self.custom_metrics = names.iter().map(|name| name.as_str().into()).collect();
        self
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
            theirs.record(([10, 0, 0, 1], endpoint).into(), metrics.clone(), at);
        }

        let mut ours = pool(&[2, 3]);
        ours.record(
            ([10, 0, 0, 1], 3).into(),
            metrics,
            Timestamp::from_millis(1),
        );
        let bytes = encode_snapshot(&theirs, &[], 1).unwrap();
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

    #[test]
    fn custom_metrics_go_by_their_names() {
        let names = |names: &[&str]| {
            names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>()
        };
        let at = Timestamp::from_millis(7);
        let address = ([10, 0, 0, 1], 1).into();
        let mut metrics = EndpointMetrics::default();
        for (signal, value) in [
            (Signal::WaitingRequests, 3.0),
            (Signal::Custom(0), 10.0),
            (Signal::Custom(1), 20.0),
        ] {
            metrics.observe(signal, value, at);
        }
        let mut theirs = pool(&[1]);
        theirs.record(address, metrics, at);
        let bytes = encode_snapshot(&theirs, &names(&["a", "b"]), 1).unwrap();
        for (wanted, expected) in [
            (&["a", "b"][..], [Some(10.0), Some(20.0), None]),
            (&["b", "a"], [Some(20.0), Some(10.0), None]),
            (&["c", "b"], [None, Some(20.0), None]),
            (&["a", "c", "b"], [Some(10.0), None, Some(20.0)]),
            (&["c"], [None; 3]),
            (&[], [None; 3]),
        ] {
            let mut ours = pool(&[1]);
            let snapshot = Snapshot::decode(&bytes).unwrap();
            ours.apply(snapshot.with_custom_metrics(&names(wanted)));
            let metrics = ours.get(address).unwrap().metrics();
            let value = |signal| match metrics.observation(signal) {
                Observation::Value { value, .. } => Some(value),
                _ => None,
            };
            let custom = [0, 1, 2].map(|index| value(Signal::Custom(index)));
            assert_eq!(custom, expected, "{wanted:?}");
            assert_eq!(value(Signal::WaitingRequests), Some(3.0));
        }
    }

    fn observation() -> impl Strategy<Value = Observation> {
        let value = (any::<f64>(), 0..4_u64)
            .prop_map(|(value, at)| Observation::of(value, Timestamp::from_millis(at)));
        prop_oneof![
            Just(Observation::Missing),
            Just(Observation::NotFinite),
            Just(Observation::Unmeasured),
            value,
        ]
    }

    fn adapters() -> impl Strategy<Value = LoraAdapters> {
        let names = || prop::collection::vec(any::<String>(), 0..4);
        (any::<u32>(), names(), names(), any::<u64>()).prop_map(|(max, running, waiting, at)| {
            LoraAdapters {
                max,
                running,
                waiting,
                at: Timestamp::from_millis(at),
            }
        })
    }

    fn scraped() -> impl Strategy<Value = Scraped> {
        let observations = prop::array::uniform9(observation());
        let started = prop::option::of(-1e18..1e18);
        let load = (any::<u32>(), any::<u64>());
        (
            0..4_u64,
            observations,
            prop::option::of(adapters()),
            (started, any::<u32>()),
            prop::option::of(any::<String>()),
            load,
            prop::option::of(0..4_u64),
        )
            .prop_map(|(at, observations, lora, process, engine, load, later)| {
                let mut metrics = EndpointMetrics::default();
                let signals = Signal::ALL.into_iter().chain([Signal::Custom(0)]);
                for (signal, observation) in signals.zip(observations) {
                    metrics.set(signal, observation);
                }
                metrics.set_lora(lora);
                let (started, incarnation) = process;
                metrics.set_process(Process {
                    started,
                    incarnation,
                });
                metrics.set_engine(engine.as_deref());
                let (requests, tokens) = load;
                Scraped {
                    metrics,
                    at: Timestamp::from_millis(at),
                    load: Load { requests, tokens },
                    failed_at: later.map(|later| Timestamp::from_millis(at + later)),
                }
            })
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_and_taken_over(
            generation in any::<u64>(),
            observed in prop::collection::btree_map(
                any::<u16>(),
                prop::option::of(scraped()),
                0..50,
            ),
        ) {
            let ports: Vec<_> = observed.keys().copied().collect();
            let mut theirs = pool(&ports);
            let mut expected = Vec::new();
            for (port, scraped) in observed {
                let address = SocketAddr::from(([10, 0, 0, 1], port));
                if let Some(scraped) = &scraped {
                    theirs.record(address, scraped.metrics.clone(), scraped.at);
                    theirs.record_load(address, scraped.load);
                    if let Some(failed_at) = scraped.failed_at {
                        theirs.record_failure(address, failed_at);
                    }
                }
                expected.push((address, scraped));
            }

            let custom = ["depth".to_owned()];
            let bytes = encode_snapshot(&theirs, &custom, generation)?;
            let snapshot = Snapshot::decode(&bytes)?.with_custom_metrics(&custom);
            prop_assert_eq!(snapshot.generation, generation);
            prop_assert_eq!(&snapshot.endpoints, &expected);

            let mut ours = pool(&ports);
            ours.apply(snapshot);
            for (endpoint, (_, scraped)) in ours.endpoints().iter().zip(&expected) {
                let found = endpoint.scraped_at().map(|at| Scraped {
                    metrics: endpoint.metrics().clone(),
                    at,
                    load: endpoint.load_at_scrape(),
                    failed_at: endpoint.failed_at(),
                });
                prop_assert_eq!(&found, scraped);
                let incarnation = scraped.as_ref().map(|it| it.metrics.process().incarnation);
                prop_assert_eq!(endpoint.incarnation(), incarnation.unwrap_or_default());
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Snapshot::decode(&bytes);
        }
    }
}
