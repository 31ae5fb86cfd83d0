//! Which VM has which slot of shared data.
//!
//! Keys of shared data can never be deleted, so VMs cannot each have keys of their own: there is a
//! fixed number of slots, and one value that says whose each is. It is changed by compare-and-swap.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Twice the workers of a machine with 32 cores, for while Envoy changes from one configuration to
/// the next, the VMs of both have requests.
pub const MAX_SLOTS: usize = 64;

/// A VM with requests under way that has said nothing for so long is gone, and its load with it:
/// Envoy resets the streams of a VM that fails. Twenty ticks of the slowest pace, since a thread
/// that gets no processor for some of them is only on a busy machine.
pub(super) const PEER_TIMEOUT: Duration = Duration::from_secs(2);

/// So long the slot of a VM that is gone, or has nothing to say, is left to it as long as there are
/// others: whoever comes late reads there what it has sent where.
const KEPT: Duration = Duration::from_secs(60);

/// A VM that has a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// A random number that tells one VM from another.
    pub nonce: u64,
    /// Since when it has the slot, or has something to say again: until the others listen to it, nothing
    /// else tells that it lives.
    pub since: Timestamp,
}

/// The slots of one pool, each free or somebody's.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Slots(Vec<Option<Owner>>);

impl Slots {
    /// Reads the shared form. Anything else counts as no slots at all, and is overwritten.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Self {
        let mut slots: Self = postcard::from_bytes(bytes).unwrap_or_default();
        slots.0.truncate(MAX_SLOTS);
        slots
    }

    /// Its shared form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).unwrap_or_default()
    }

    /// How many there have been at once so far, at most [`MAX_SLOTS`].
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there has never been one.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Who has `slot`.
    #[must_use]
    pub fn owner(&self, slot: usize) -> Option<Owner> {
        self.0.get(slot).copied().flatten()
    }

    /// Gives `owner` a slot that is free, or whose owner has been `silent_for` long. `None` if there is
    /// none.
    pub fn claim(&mut self, owner: Owner, silent_for: impl Fn(usize) -> Duration) -> Option<usize> {
        let silences = self.0.iter().enumerate().map(|(slot, owner)| {
            let silence = owner.map_or(Duration::MAX, |_| silent_for(slot));
            (silence, slot)
        });
        let is_full = self.0.len() >= MAX_SLOTS;
        let enough = if is_full { PEER_TIMEOUT } else { KEPT };
        let slot = match silences.max() {
            Some((silence, slot)) if silence >= enough => slot,
            _ if is_full => return None,
            _ => {
                self.0.push(None);
                self.0.len() - 1
            }
        };
        *self.0.get_mut(slot)? = Some(owner);
        Some(slot)
    }

    /// Has `owner`, whose `slot` is, written there anew; `None` if it is not.
    pub fn renew(&mut self, slot: usize, owner: Owner) -> Option<usize> {
        let current = self.0.get_mut(slot)?.as_mut()?;
        (current.nonce == owner.nonce).then(|| {
            *current = owner;
            slot
        })
    }

    /// Frees `slot` if the VM of this `nonce` has it; tells whether it had.
    pub fn free(&mut self, slot: usize, nonce: u64) -> bool {
        match self.0.get_mut(slot) {
            Some(current) if current.is_some_and(|owner| owner.nonce == nonce) => {
                *current = None;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn owner(nonce: u64) -> Owner {
        Owner {
            nonce,
            since: Timestamp::from_millis(7),
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn who_has_been_silent_for_longest_gives_its_slot() {
        let mut slots = Slots::default();
        for (nonce, expected) in [(1, 0), (2, 1), (3, 2)] {
            // Not for as long as what it has sent is of use.
            assert_eq!(slots.claim(owner(nonce), |_| 59 * SECOND), Some(expected));
        }
        assert!(!slots.free(0, 2));
        assert!(slots.free(1, 2));
        assert!(!slots.free(1, 2));
        assert_eq!((slots.owner(0), slots.owner(1)), (Some(owner(1)), None));
        assert_eq!(
            (slots.renew(0, owner(1)), slots.renew(0, owner(2))),
            (Some(0), None)
        );

        assert_eq!(slots.claim(owner(4), |_| 70 * SECOND), Some(1), "is free");
        let silences = [60 * SECOND, 62 * SECOND, 61 * SECOND];
        assert_eq!(slots.claim(owner(5), |slot| silences[slot]), Some(1));
        assert_eq!(slots.owner(1), Some(owner(5)));
        assert_eq!(slots.len(), 3);
    }

    #[test]
    fn there_is_an_end_to_slots() {
        let mut slots = Slots::default();
        for nonce in 0..MAX_SLOTS {
            let slot = slots.claim(owner(nonce as u64), |_| 59 * SECOND);
            assert_eq!(slot, Some(nonce));
        }
        let nearly = PEER_TIMEOUT - Duration::from_millis(1);
        assert_eq!(slots.claim(owner(99), |_| nearly), None);
        let one_is_gone = |slot| if slot == 7 { PEER_TIMEOUT } else { nearly };
        assert_eq!(slots.claim(owner(99), one_is_gone), Some(7));
        assert_eq!(Slots::decode(&slots.encode()), slots);

        let too_many = Slots(vec![None; MAX_SLOTS + 1]);
        assert_eq!(Slots::decode(&too_many.encode()).len(), MAX_SLOTS);
    }

    proptest! {
        #[test]
        fn any_bytes_are_slots(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(Slots::decode(&bytes).len() <= MAX_SLOTS);
        }
    }
}
