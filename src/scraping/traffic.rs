//! Which endpoints have traffic: what the scraper reads of it, and what it is told.
//!
//! A short request may begin and end between two scrapes, and of one that has just been routed no
//! scrape knows. So every VM remembers to which endpoints it has sent requests, and adds them to a
//! [`TrafficNote`] that all share; the scraper takes what is there.

use serde::{Deserialize, Serialize};

use crate::pool::{EndpointMetrics, Observation, Signal};

/// Whether an endpoint with these `metrics` has requests to work on. What cannot be known counts as
/// traffic: it is better to ask too often than to take a busy endpoint for an idle one.
#[must_use]
pub fn has_traffic(metrics: &EndpointMetrics) -> bool {
    [Signal::RunningRequests, Signal::WaitingRequests]
        .into_iter()
        .any(|signal| match metrics.observation(signal) {
            Observation::Value { value, .. } => value > 0.0,
            _ => true,
        })
}

/// A set of endpoints by their indexes in the pool, one bit each.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EndpointSet(Vec<u64>);

impl EndpointSet {
    /// Adds every endpoint of `other`.
    pub fn merge(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (word, theirs) in self.0.iter_mut().zip(&other.0) {
            *word |= theirs;
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Removes all, and keeps the memory.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The indexes, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().flat_map(|(at, word)| {
            (0..BITS)
                .filter(move |bit| word >> bit & 1 == 1)
                .map(move |bit| at * BITS + bit)
        })
    }
}

/// Adds the endpoints at these indexes.
impl Extend<usize> for EndpointSet {
    fn extend<T: IntoIterator<Item = usize>>(&mut self, indexes: T) {
        for index in indexes {
            let word = index / BITS;
            if self.0.len() <= word {
                self.0.resize(word + 1, 0);
            }
            if let Some(word) = self.0.get_mut(word) {
                *word |= 1 << (index % BITS);
            }
        }
    }
}

/// The bits of a word.
const BITS: usize = u64::BITS as usize;

/// The endpoints that requests were sent to since the scraper last looked, as the VMs share it.
///
/// Indexes mean something within one configuration alone, and while Envoy changes from one to the
/// next VMs of both are alive. So the note is the scraper's: it begins one for its
/// configuration, the VMs of that one add to it, and those of another leave it alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficNote {
    /// The digest of the scraper's configuration.
    configuration: u64,
    endpoints: EndpointSet,
}

impl TrafficNote {
    /// An empty note for the VMs of `configuration`.
    #[must_use]
    pub const fn begin(configuration: u64) -> Self {
        Self {
            configuration,
            endpoints: EndpointSet(Vec::new()),
        }
    }

    /// The endpoints on it, if it is for the VMs of `configuration`.
    #[must_use]
    pub fn read(&self, configuration: u64) -> Option<&EndpointSet> {
        (self.configuration == configuration).then_some(&self.endpoints)
    }

    /// This note with `endpoints` added, if it is for the VMs of `configuration`.
    #[must_use]
    pub fn with(mut self, configuration: u64, endpoints: &EndpointSet) -> Option<Self> {
        (self.configuration == configuration).then(|| {
            self.endpoints.merge(endpoints);
            self
        })
    }

    /// Its shared form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).unwrap_or_default()
    }

    /// Reads the shared form. Anything else counts as no note, and the scraper begins one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::time::Timestamp;

    fn set(indexes: impl IntoIterator<Item = usize>) -> EndpointSet {
        let mut set = EndpointSet::default();
        set.extend(indexes);
        set
    }

    #[test]
    fn only_an_endpoint_known_to_do_nothing_has_no_traffic() {
        for (running, waiting, expected) in [
            (Some(0.0), Some(0.0), false),
            (Some(1.0), Some(0.0), true),
            (Some(0.0), Some(1.0), true),
            (None, Some(0.0), true),
            (Some(0.0), None, true),
            (Some(f64::NAN), Some(0.0), true),
            (None, None, true),
        ] {
            let mut metrics = EndpointMetrics::default();
            for (signal, value) in [
                (Signal::RunningRequests, running),
                (Signal::WaitingRequests, waiting),
            ] {
                if let Some(value) = value {
                    metrics.observe(signal, value, Timestamp::from_millis(1));
                }
            }
            assert_eq!(has_traffic(&metrics), expected, "{running:?}, {waiting:?}");
        }
    }

    #[test]
    fn a_note_is_for_one_configuration() {
        let note = TrafficNote::begin(7).with(7, &set([1, 64])).unwrap();
        assert_eq!(note.read(7), Some(&set([1, 64])));
        assert_eq!(note.read(8), None);
        assert_eq!(note.with(8, &set([2])), None);
    }

    proptest! {
        #[test]
        fn a_set_is_what_a_tree_of_indexes_is(
            ours in prop::collection::btree_set(0_usize..300, 0..40),
            theirs in prop::collection::btree_set(0_usize..300, 0..40),
        ) {
            let mut merged = set(ours.clone());
            prop_assert_eq!(merged.is_empty(), ours.is_empty());
            merged.merge(&set(theirs.clone()));
            let expected: BTreeSet<_> = ours.union(&theirs).copied().collect();
            prop_assert_eq!(merged.iter().collect::<BTreeSet<_>>(), expected);
            merged.clear();
            prop_assert!(merged.is_empty());
        }

        #[test]
        fn whoever_adds_first_the_note_says_the_same(
            sets in prop::collection::vec(prop::collection::btree_set(0_usize..300, 0..20), 0..5),
        ) {
            let note = |sets: &mut dyn Iterator<Item = &BTreeSet<usize>>| {
                let shared = sets.fold(TrafficNote::begin(7).encode(), |shared, indexes| {
                    let note = TrafficNote::decode(&shared).unwrap();
                    note.with(7, &set(indexes.clone())).unwrap().encode()
                });
                let note = TrafficNote::decode(&shared).unwrap();
                note.read(7).unwrap().iter().collect::<Vec<_>>()
            };
            let told = note(&mut sets.iter());
            prop_assert_eq!(&told, &note(&mut sets.iter().rev()));
            let expected: BTreeSet<_> = sets.iter().flatten().copied().collect();
            prop_assert_eq!(told, Vec::from_iter(expected));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = TrafficNote::decode(&bytes);
        }
    }
}
