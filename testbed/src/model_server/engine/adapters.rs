//! LoRA slots: which adapters are on the GPU.

use std::sync::Arc;

/// What it takes to run a sequence with an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Its adapter is in a slot.
    Resident,
    /// Its adapter has to be loaded, into a slot that is free or not in use.
    Load,
    /// All slots are in use by others.
    Wait,
}

#[derive(Debug)]
struct Slot {
    adapter: Arc<str>,
    /// How many sequences run with it.
    users: usize,
}

/// The slots, those used least recently first.
#[derive(Debug)]
pub(super) struct AdapterSlots {
    slots: Vec<Slot>,
    capacity: usize,
}

impl AdapterSlots {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            slots: Vec::new(),
            capacity,
        }
    }

    pub(super) fn admission(&self, adapter: &str) -> Admission {
        if self.slots.iter().any(|slot| &*slot.adapter == adapter) {
            Admission::Resident
        } else if self.slots.len() < self.capacity || self.slots.iter().any(|slot| slot.users == 0)
        {
            Admission::Load
        } else {
            Admission::Wait
        }
    }

    /// Counts in a sequence whose [admission](Self::admission) is not [`Admission::Wait`].
    pub(super) fn acquire(&mut self, adapter: &Arc<str>) {
        let resident = self.slots.iter().position(|slot| slot.adapter == *adapter);
        let users = match resident {
            Some(index) => self.slots.remove(index).users,
            None if self.slots.len() < self.capacity => 0,
            None => {
                if let Some(unused) = self.slots.iter().position(|slot| slot.users == 0) {
                    self.slots.remove(unused);
                }
                0
            }
        };
        self.slots.push(Slot {
            adapter: Arc::clone(adapter),
            users: users + 1,
        });
    }

    /// Counts out a sequence.
    pub(super) fn release(&mut self, adapter: &str) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| &*slot.adapter == adapter) {
            slot.users -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_adapter_that_is_not_in_use_is_evicted() {
        let [a, b, c, d] = ["a", "b", "c", "d"].map(Arc::<str>::from);
        let mut slots = AdapterSlots::new(2);
        assert_eq!(slots.admission(&a), Admission::Load);
        slots.acquire(&a);
        slots.acquire(&a);
        slots.acquire(&b);
        assert_eq!(slots.admission(&c), Admission::Wait);
        assert_eq!(slots.admission(&a), Admission::Resident);

        slots.release(&a);
        assert_eq!(
            slots.admission(&c),
            Admission::Wait,
            "one still runs with a"
        );
        slots.release(&b);
        assert_eq!(slots.admission(&c), Admission::Load);
        slots.acquire(&c);
        assert_eq!(slots.admission(&b), Admission::Wait, "b was evicted, not a");
        assert_eq!(slots.admission(&a), Admission::Resident);

        slots.release(&a);
        slots.release(&c);
        slots.acquire(&a);
        slots.release(&a);
        slots.acquire(&d);
        assert_eq!(
            slots.admission(&a),
            Admission::Resident,
            "a was used after c"
        );
    }
}
