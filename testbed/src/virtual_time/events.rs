//! What is to happen, in the order of time.

use std::{cmp::Ordering, collections::BinaryHeap};

/// Events, each at its time. Of those at one time the one planned first comes first, so that a run
/// goes the same way each time.
#[derive(Debug)]
pub(super) struct Events<T> {
    heap: BinaryHeap<Planned<T>>,
    planned: u64,
}

#[derive(Debug)]
struct Planned<T> {
    time: f64,
    number: u64,
    event: T,
}

impl<T> Events<T> {
    pub(super) const fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            planned: 0,
        }
    }

    pub(super) fn plan(&mut self, time: f64, event: T) {
        let number = self.planned;
        self.planned += 1;
        self.heap.push(Planned {
            time,
            number,
            event,
        });
    }

    /// Takes out the first, with its time.
    pub(super) fn next(&mut self) -> Option<(f64, T)> {
        let Planned { time, event, .. } = self.heap.pop()?;
        Some((time, event))
    }
}

/// The first is the greatest: the heap gives out its maximum.
impl<T> Ord for Planned<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        let later = self.time.total_cmp(&other.time);
        later.then(self.number.cmp(&other.number)).reverse()
    }
}

impl<T> PartialOrd for Planned<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Planned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Planned<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_their_time_and_then_as_they_were_planned() {
        let mut events = Events::new();
        for number in 0..100 {
            events.plan(f64::from(number % 5), number);
        }
        let found: Vec<_> = std::iter::from_fn(|| events.next()).collect();
        let mut expected: Vec<_> = (0..100).map(|it| (f64::from(it % 5), it)).collect();
        // Which leaves equals as they are.
        expected.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        assert_eq!(found, expected);
    }
}
