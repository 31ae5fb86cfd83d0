//! The lease: which VM scrapes.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Ticks without a renewal after which a lease is free. Its holder renews at every tick, so
/// another VM has it within three ticks of the holder's end, if these are long enough.
const TICKS_TO_EXPIRE: u32 = 2;

/// A thread that gets no processor for some ticks of 20 or 40 ms is not dead, only on a busy machine.
/// Whoever took the lease from it would know less than it does, and say again what it has said;
/// half a second without scrapes is little beside the time that metrics stay fresh.
const SHORTEST_EXPIRY: Duration = Duration::from_millis(500);

/// The lease as the VMs share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    claim: Claim,
    renewed_at: Timestamp,
}

/// What a VM says of itself when it asks for the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// A random number that tells one VM from another.
    pub holder: u64,
    /// A digest of its configuration.
    pub configuration: u64,
    /// When it was configured.
    pub configured_at: Timestamp,
    /// Whether it serves requests: whether it is a worker's, as far as it can tell.
    pub serves_requests: bool,
}

/// What a VM is to do about the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is this VM's: renew it.
    Renew,
    /// It is free: take it.
    Take,
    /// Another VM has it.
    Leave,
}

impl Claim {
    /// Judges the lease as it stands; `current` is `None` while nobody ever held it.
    ///
    /// While Envoy changes configurations, VMs of both tick side by side. Then the newer
    /// configuration's take the lease from the older one's at once: the older endpoints are on
    /// their way out. A configuration that is applied again while its connections still drain remains
    /// as old as it was, because Envoy uses its root contexts again without a call to them; the one
    /// in between scrapes until it has drained. By their streams the two could not be told apart: those
    /// of a draining listener go on as well.
    ///
    /// Among VMs of one configuration, one that serves no requests takes it from one that does.
    /// No VM is told which thread it is on, but only workers get requests; so under traffic the
    /// lease ends up with the main thread's, where scraping delays no request.
    #[must_use]
    pub fn judge(&self, current: Option<Lease>, now: Timestamp, tick: Duration) -> Verdict {
        let Some(Lease { claim, renewed_at }) = current else {
            return Verdict::Take;
        };
        let yields = if claim.configuration == self.configuration {
            claim.serves_requests && !self.serves_requests
        } else {
            claim.configured_at < self.configured_at
        };
        // Either way, so that a clock set back does not make a dead holder's lease last.
        let age = now.since(renewed_at).max(renewed_at.since(now));
        if claim.holder == self.holder {
            Verdict::Renew
        } else if yields || age >= (tick * TICKS_TO_EXPIRE).max(SHORTEST_EXPIRY) {
            Verdict::Take
        } else {
            Verdict::Leave
        }
    }

    /// Whether whoever held `lease` was of the same configuration, so that this VM has nothing to say
    /// again if it takes it.
    #[must_use]
    pub const fn succeeds(&self, lease: Lease) -> bool {
        lease.claim.configuration == self.configuration
    }

    /// The lease as this VM writes it to take or renew it.
    #[must_use]
    pub const fn lease(self, now: Timestamp) -> Lease {
        Lease {
            claim: self,
            renewed_at: now,
        }
    }
}

impl Lease {
    /// Its shared form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).unwrap_or_default()
    }

    /// Reads the shared form. Anything else counts as no lease, and is overwritten.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(40);

    const fn claim(holder: u64, configuration: u64, configured_at: u64) -> Claim {
        Claim {
            holder,
            configuration,
            configured_at: Timestamp::from_millis(configured_at),
            serves_requests: false,
        }
    }

    const fn serving(claim: Claim) -> Claim {
        Claim {
            serves_requests: true,
            ..claim
        }
    }

    #[test]
    fn the_lease_goes_to_whom_it_should() {
        use Verdict::{Leave, Renew, Take};

        let at = Timestamp::from_millis;
        let held = Some(claim(1, 7, 100).lease(at(1_000)));
        let by_worker = Some(serving(claim(1, 7, 100)).lease(at(1_000)));
        let holder = claim(1, 7, 100);
        let other = claim(2, 7, 900);
        let newer = claim(2, 8, 101);
        let older = claim(2, 8, 99);
        for (case, claimant, lease, now, expected) in [
            ("never held", other, None, 1_000, Take),
            ("my own", holder, held, 1_010, Renew),
            ("my own, late", holder, held, 9_000, Renew),
            ("another's", other, held, 1_499, Leave),
            ("a dead holder's", other, held, 1_500, Take),
            ("the clock set back a little", other, held, 751, Leave),
            ("the clock set back", other, held, 500, Take),
            ("an older configuration's", newer, held, 1_001, Take),
            ("a newer configuration's", older, held, 1_001, Leave),
            ("a worker's", other, by_worker, 1_001, Take),
            (
                "a worker's, to another",
                serving(other),
                by_worker,
                1_001,
                Leave,
            ),
            (
                "no worker's, to a worker",
                serving(other),
                held,
                1_001,
                Leave,
            ),
            ("a newer worker's", older, by_worker, 1_001, Leave),
        ] {
            assert_eq!(claimant.judge(lease, at(now), TICK), expected, "{case}");
        }
    }

    #[test]
    fn a_successor_is_of_the_same_configuration() {
        let lease = claim(1, 7, 100).lease(Timestamp::from_millis(1_000));
        assert!(claim(2, 7, 900).succeeds(lease));
        assert!(!claim(2, 8, 900).succeeds(lease));
    }

    #[test]
    fn long_ticks_make_a_lease_last_longer() {
        let held = Some(claim(1, 7, 100).lease(Timestamp::from_millis(1_000)));
        let tick = Duration::from_millis(300);
        for (now, expected) in [(1_599, Verdict::Leave), (1_600, Verdict::Take)] {
            let verdict = claim(2, 7, 900).judge(held, Timestamp::from_millis(now), tick);
            assert_eq!(verdict, expected, "{now}");
        }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let lease = claim(u64::MAX, 7, 100).lease(Timestamp::from_millis(1));
        assert_eq!(Lease::decode(&lease.encode()), Some(lease));
        assert_eq!(Lease::decode(b""), None);
    }
}
