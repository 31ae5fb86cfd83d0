//! Histograms as Prometheus clients keep them.

use std::sync::Arc;

/// Counts by upper bound, and the sum.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    bounds: Arc<[f64]>,
    /// One count for each bound, and one for what is above them all.
    counts: Vec<u64>,
    sum: f64,
}

impl Histogram {
    /// An empty histogram with these bounds, which ascend.
    pub(crate) fn new(bounds: &Arc<[f64]>) -> Self {
        Self {
            bounds: Arc::clone(bounds),
            counts: vec![0; bounds.len() + 1],
            sum: 0.0,
        }
    }

    pub(crate) fn observe(&mut self, value: f64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.sum += value;
    }

    /// How many values were at most each bound; the last bound is infinite.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        bounds.zip(self.counts.iter().scan(0, |below, count| {
            *below += count;
            Some(*below)
        }))
    }

    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(crate) fn sum(&self) -> f64 {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_counts_what_is_at_most_its_bound() {
        let mut histogram = Histogram::new(&Arc::from([1.0, 2.0]));
        for value in [0.5, 1.0, 1.5, 2.5, 9.0] {
            histogram.observe(value);
        }
        let buckets: Vec<_> = histogram.buckets().collect();
        assert_eq!(buckets, [(1.0, 2), (2.0, 3), (f64::INFINITY, 5)]);
        assert_eq!((histogram.count(), histogram.sum()), (5, 14.5));
    }
}
