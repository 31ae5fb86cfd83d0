//! One request's part of the load in flight.

use core::mem;
use std::net::SocketAddr;

use super::{InFlight, Load};
use crate::pool::Pool;

/// One request's part of the load in flight, from its decision to its end.
///
/// It knows its endpoint by the address. Positions change when endpoints come and go, and a request
/// may outlive its endpoint's place in the pool by minutes.
#[derive(Debug)]
#[must_use = "a request that never ends is in flight for good"]
pub struct Ticket {
    /// `None` if it was for no endpoint of the pool, and counts nowhere.
    address: Option<SocketAddr>,
    load: Load,
}

impl Ticket {
    /// A request sets out to the endpoint at `position` of `pool`, by which `in_flight` counts.
    pub fn begin(in_flight: &mut InFlight, pool: &Pool, position: usize, load: Load) -> Self {
        in_flight.begin(position, load);
        let endpoint = pool.endpoints().get(position);
        Self {
            address: endpoint.map(|endpoint| endpoint.address()),
            load,
        }
    }

    /// Where it is; `None` if at no endpoint of the pool.
    #[must_use]
    pub const fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Its prompt has been read: what is left of it is a request that runs.
    pub fn prompt_read(&mut self, in_flight: &mut InFlight, pool: &Pool) {
        let tokens = mem::take(&mut self.load.tokens);
        if let (Some(address), 1..) = (self.address, tokens) {
            in_flight.end_at(
                pool,
                address,
                Load {
                    requests: 0,
                    tokens,
                },
            );
        }
    }

    /// It is with the endpoint at `to`, which may be none of the pool. Tells the one that it has left
    /// for that, if it is another.
    pub fn moved(
        &mut self,
        in_flight: &mut InFlight,
        pool: &Pool,
        to: SocketAddr,
    ) -> Option<SocketAddr> {
        if self.address == Some(to) {
            return None;
        }
        let from = self.address.replace(to);
        if let Some(from) = from {
            in_flight.end_at(pool, from, self.load);
        }
        in_flight.begin_at(pool, to, self.load);
        from
    }

    /// It is over.
    pub fn end(self, in_flight: &mut InFlight, pool: &Pool) {
        if let Some(address) = self.address {
            in_flight.end_at(pool, address, self.load);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::DiscoveredEndpoint;

    fn address(endpoint: u16) -> SocketAddr {
        ([10, 0, 0, 1], endpoint).into()
    }

    fn pool(endpoints: &[u16]) -> Pool {
        let discovered = endpoints
            .iter()
            .map(|at| DiscoveredEndpoint::at(address(*at)));
        Pool::new(&discovered.collect::<Vec<_>>())
    }

    const fn load(requests: u32, tokens: u64) -> Load {
        Load { requests, tokens }
    }

    fn all(in_flight: &InFlight, pool: &Pool) -> Vec<(u16, u32, u64)> {
        let own = in_flight.own_by_address(pool);
        let mut all: Vec<_> = own
            .map(|(at, load)| (at.port(), load.requests, load.tokens))
            .collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn a_request_counts_where_it_is_until_it_ends() {
        let pool = pool(&[1, 2, 3]);
        let mut counts = InFlight::new(3);
        let mut one = Ticket::begin(&mut counts, &pool, 0, load(1, 100));
        let other = Ticket::begin(&mut counts, &pool, 0, load(1, 50));
        assert_eq!(all(&counts, &pool), [(1, 2, 150)]);

        assert_eq!(one.moved(&mut counts, &pool, address(1)), None);
        assert_eq!(all(&counts, &pool), [(1, 2, 150)], "where it was");
        assert_eq!(one.moved(&mut counts, &pool, address(3)), Some(address(1)));
        assert_eq!(all(&counts, &pool), [(1, 1, 50), (3, 1, 100)]);
        one.prompt_read(&mut counts, &pool);
        one.prompt_read(&mut counts, &pool);
        assert_eq!(all(&counts, &pool), [(1, 1, 50), (3, 1, 0)]);
        one.moved(&mut counts, &pool, address(9));
        assert_eq!(
            all(&counts, &pool),
            [(1, 1, 50), (9, 1, 0)],
            "to none of the pool"
        );

        other.end(&mut counts, &pool);
        one.end(&mut counts, &pool);
        assert_eq!(all(&counts, &pool), []);
    }

    #[test]
    fn an_endpoint_that_was_away_has_what_is_still_under_way_to_it() {
        let (with, without) = (pool(&[1, 2]), pool(&[3, 1]));
        let mut counts = InFlight::new(2);
        let early = Ticket::begin(&mut counts, &with, 1, load(1, 10));
        let late = Ticket::begin(&mut counts, &with, 1, load(1, 20));
        counts.rearrange(&with, &without);
        assert_eq!(counts.own(), [Load::default(); 2]);
        assert_eq!(all(&counts, &without), [(2, 2, 30)]);
        early.end(&mut counts, &without);

        counts.rearrange(&without, &with);
        let third = Ticket::begin(&mut counts, &with, 1, load(1, 5));
        assert_eq!(counts.at(1), load(2, 25));
        late.end(&mut counts, &with);
        assert_eq!(counts.at(1), load(1, 5));
        third.end(&mut counts, &with);
        assert_eq!(all(&counts, &with), []);
    }

    #[test]
    fn a_request_to_no_endpoint_counts_nowhere() {
        let pool = pool(&[1]);
        let mut counts = InFlight::new(1);
        let mut ticket = Ticket::begin(&mut counts, &pool, 7, load(1, 10));
        ticket.prompt_read(&mut counts, &pool);
        assert_eq!(all(&counts, &pool), []);
        ticket.end(&mut counts, &pool);
        assert_eq!(all(&counts, &pool), []);
    }

    #[test]
    fn every_change_changes_the_revision() {
        let pool = pool(&[1, 2]);
        let mut counts = InFlight::new(2);
        let mut seen = vec![counts.revision()];
        let mut ticket = Ticket::begin(&mut counts, &pool, 0, load(1, 10));
        seen.push(counts.revision());
        ticket.prompt_read(&mut counts, &pool);
        seen.push(counts.revision());
        ticket.moved(&mut counts, &pool, address(9));
        seen.push(counts.revision());
        ticket.end(&mut counts, &pool);
        seen.push(counts.revision());
        assert!(
            seen.is_sorted_by(|before, after| before < after),
            "{seen:?}"
        );
    }
}
