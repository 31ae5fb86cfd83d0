//! Whose turn it is among equals.

use fastrand::Rng;
use xxhash_rust::xxh64::xxh64;

use crate::pool::Endpoint;

/// The endpoints in the order of their last decisions: among equals it is the turn of who was chosen
/// the longest ago. That is a rotation, whoever the equals are and whatever else is decided between.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns {
    /// By position, when the endpoint was chosen last.
    chosen: Vec<u64>,
    decisions: u64,
}

impl Turns {
    /// Makes room for a pool of this many endpoints. Their first turns are by lot: the VMs of a proxy
    /// all start at once, and must not all start with the same endpoint.
    pub(super) fn reserve(&mut self, endpoints: usize, rng: &mut Rng) {
        if self.chosen.len() < endpoints {
            self.chosen.resize_with(endpoints, || rng.u32(..).into());
        }
    }

    /// The endpoint at `position` was chosen.
    pub(super) fn take(&mut self, position: usize) {
        self.decisions += 1;
        if let Some(chosen) = self.chosen.get_mut(position) {
            // Later than every first turn.
            *chosen = u64::from(u32::MAX) + self.decisions;
        }
    }

    /// The greater, the sooner is it the turn of the endpoint at `position`.
    pub(super) fn of(&self, position: usize) -> u64 {
        let chosen = self.chosen.get(position).copied().unwrap_or_default();
        u64::MAX - chosen
    }
}

/// How much what `key` stands for belongs to `endpoint`: to the one of the greatest number. Gateways
/// that share nothing agree on it, and where an endpoint comes or goes, little else moves (rendezvous
/// hashing, Thaler and Ravishankar 1998).
pub(super) fn rendezvous(key: u64, endpoint: &Endpoint) -> u64 {
    xxh64(endpoint.host_port().as_bytes(), key)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{discovery::DiscoveredEndpoint, pool::Pool};

    fn next(turns: &Turns, among: impl IntoIterator<Item = usize>) -> usize {
        among.into_iter().max_by_key(|&at| turns.of(at)).unwrap()
    }

    #[test]
    fn equals_take_turns_whoever_they_are() {
        let mut rng = Rng::with_seed(3);
        let mut turns = Turns::default();
        turns.reserve(6, &mut rng);
        let mut round = |among: &[usize]| {
            let round = (0..among.len()).map(|_| {
                let next = next(&turns, among.iter().copied());
                turns.take(next);
                next
            });
            round.collect::<Vec<_>>()
        };
        // Two groups in alternation, each of which goes round as if alone.
        for _ in 0..3 {
            for among in [&[0, 1][..], &[2, 3, 4, 5]] {
                let unique: BTreeSet<_> = round(among).into_iter().collect();
                assert!(unique.iter().eq(among));
            }
        }
        let (one, other) = (round(&[0, 1, 2, 3, 4, 5]), round(&[0, 1, 2, 3, 4, 5]));
        assert_eq!(one, other);
    }

    #[test]
    fn who_is_first_is_by_lot() {
        let first = |seed| {
            let mut turns = Turns::default();
            turns.reserve(4, &mut Rng::with_seed(seed));
            next(&turns, 0..4)
        };
        let first: BTreeSet<_> = (0..100).map(first).collect();
        assert_eq!(first.len(), 4);
    }

    #[test]
    fn keys_spread_evenly_and_stay_where_they_are() {
        let addresses = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.2:81", "[fd00::1]:80"];
        let pool = Pool::new(&addresses.map(|at| DiscoveredEndpoint::at(at.parse().unwrap())));
        let home = |key: u64, among: &[Endpoint]| {
            let home = among.iter().max_by_key(|it| rendezvous(key, it)).unwrap();
            home.address()
        };
        let all = pool.endpoints();
        let keys = || (0..4000_u64).map(|key| key << 7);
        let mut moved = 0;
        for key in keys() {
            let (before, after) = (home(key, all), home(key, &all[1..]));
            if before == all[0].address() {
                moved += 1;
            } else {
                assert_eq!(before, after);
            }
        }
        // A quarter of 4000: the standard deviation is 27.
        assert!((900..1100).contains(&moved), "{moved}");
    }
}
