//! The requests whose bodies are awaited, and those that have waited too long.

use core::time::Duration;

use hashbrown::HashMap;

use super::Api;
use crate::time::Timestamp;

/// The requests of one VM that are held for their bodies, by an id.
///
/// A request tells of itself without asking a clock: how long it has been quiet is counted from the
/// first look that finds it so.
#[derive(Debug, Clone, Default)]
pub struct HeldRequests {
    requests: HashMap<u32, Held>,
    bodies_come: bool,
}

#[derive(Debug, Clone)]
struct Held {
    api: Api,
    /// The first look since it arrived or since more of its body came.
    quiet_since: Option<Timestamp>,
}

/// A request that has waited too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overdue {
    /// Its id.
    pub id: u32,
    /// What it speaks.
    pub api: Api,
}

impl HeldRequests {
    /// Holds the request `id`.
    pub fn hold(&mut self, id: u32, api: Api) {
        let quiet_since = None;
        self.requests.insert(id, Held { api, quiet_since });
    }

    /// Takes note that more of the body of `id` has come. Tells whether it is still held.
    #[must_use]
    pub fn body_came(&mut self, id: u32) -> bool {
        self.bodies_come = true;
        let held = self.requests.get_mut(&id);
        held.map(|held| held.quiet_since = None).is_some()
    }

    /// Lets go of the request `id`.
    pub fn release(&mut self, id: u32) {
        self.requests.remove(&id);
    }

    /// Whether any body has ever come. If none has, it may be that none can.
    #[must_use]
    pub const fn bodies_come(&self) -> bool {
        self.bodies_come
    }

    /// Lets go of the requests that have been quiet for `timeout`, and tells which those are.
    pub fn overdue(&mut self, now: Timestamp, timeout: Duration) -> Vec<Overdue> {
        let mut overdue = Vec::new();
        self.requests.retain(|&id, held| {
            let quiet_since = *held.quiet_since.get_or_insert(now);
            let is_overdue = now.since(quiet_since) >= timeout;
            if is_overdue {
                let api = held.api;
                overdue.push(Overdue { id, api });
            }
            !is_overdue
        });
        overdue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(1_000);

    fn overdue(held: &mut HeldRequests, at: u64) -> Vec<u32> {
        let overdue = held.overdue(Timestamp::from_millis(at), TIMEOUT);
        let mut ids: Vec<_> = overdue.into_iter().map(|overdue| overdue.id).collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn a_quiet_request_is_overdue_once() {
        let mut held = HeldRequests::default();
        held.hold(1, Api::Messages);
        assert!(overdue(&mut held, 5_000).is_empty());
        assert!(overdue(&mut held, 5_999).is_empty());
        let now = Timestamp::from_millis(6_000);
        let api = Api::Messages;
        assert_eq!(held.overdue(now, TIMEOUT), [Overdue { id: 1, api }]);
        assert!(overdue(&mut held, 9_000).is_empty());
        assert!(!held.body_came(1));
    }

    #[test]
    fn more_of_a_body_begins_the_wait_anew() {
        let mut held = HeldRequests::default();
        held.hold(1, Api::Messages);
        held.hold(2, Api::Messages);
        assert!(!held.bodies_come());
        assert!(overdue(&mut held, 5_000).is_empty());
        assert!(held.body_came(2));
        assert!(held.bodies_come());
        assert_eq!(overdue(&mut held, 6_000), [1]);
        assert!(overdue(&mut held, 6_999).is_empty());
        assert_eq!(overdue(&mut held, 7_000), [2]);
    }

    #[test]
    fn what_is_let_go_is_never_overdue() {
        let mut held = HeldRequests::default();
        held.hold(1, Api::Messages);
        assert!(overdue(&mut held, 5_000).is_empty());
        held.release(1);
        assert!(overdue(&mut held, 9_000).is_empty());
        assert!(!held.body_came(1));
    }
}
