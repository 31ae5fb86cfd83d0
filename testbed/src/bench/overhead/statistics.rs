//! Medians of repeats, ratios within a repeat, quantiles of latencies.

use std::time::Duration;

use serde::Serialize;

/// A number measured several times.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Repeated {
    /// The middle one.
    pub(super) median: f64,
    /// The least.
    pub(super) min: f64,
    /// The greatest.
    pub(super) max: f64,
}

impl Repeated {
    /// Nothing of nothing.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_unstable_by(f64::total_cmp);
        let half = values.len() / 2;
        let upper = *values.get(half)?;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(*values.get(half - 1)?, upper)
        } else {
            upper
        };
        Some(Self {
            median,
            min: *values.first()?,
            max: *values.last()?,
        })
    }

    /// Of two series, each repeat of one against the same repeat of the other, since what disturbs a
    /// machine for a while disturbs neighbours in time alike.
    pub(super) fn paired(
        left: &[f64],
        right: &[f64],
        compare: impl Fn(f64, f64) -> f64,
    ) -> Option<Self> {
        Self::of(
            left.iter()
                .zip(right)
                .map(|(left, right)| compare(*left, *right)),
        )
    }
}

/// Latencies, or how late something was.
#[derive(Debug, Default)]
pub(super) struct Durations {
    values: Vec<Duration>,
}

impl Durations {
    pub(super) fn record(&mut self, value: Duration) {
        self.values.push(value);
    }

    pub(super) fn count(&self) -> usize {
        self.values.len()
    }

    /// The least value that a share of `q`, 0 to 1, of all values does not exceed, in microseconds:
    /// the nearest rank. Nothing of nothing.
    pub(super) fn quantile(&mut self, q: f64) -> Option<f64> {
        let rank = (q * self.values.len() as f64).ceil() as usize;
        let index = rank.max(1) - 1;
        if index >= self.values.len() {
            return None;
        }
        let (_, value, _) = self.values.select_nth_unstable(index);
        Some(micros(*value))
    }
}

/// In microseconds.
pub(super) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_or_between_the_middle_two() {
        let odd = Repeated::of([9.0, 1.0, 4.0]);
        assert_eq!(
            odd,
            Some(Repeated {
                median: 4.0,
                min: 1.0,
                max: 9.0
            })
        );
        assert_eq!(
            Repeated::of([4.0, 1.0, 2.0, 8.0]).map(|it| it.median),
            Some(3.0)
        );
        assert_eq!(Repeated::of([]), None);
    }

    #[test]
    fn ratios_are_taken_within_a_repeat() {
        // The machine was half as fast in the second repeat; the ratio was the same.
        let ratio = Repeated::paired(&[80.0, 40.0], &[100.0, 50.0], |left, right| left / right);
        assert_eq!(
            ratio,
            Some(Repeated {
                median: 0.8,
                min: 0.8,
                max: 0.8
            })
        );
    }

    #[test]
    fn quantiles_are_nearest_ranks() {
        let mut durations = Durations::default();
        for micros in (1..=200).rev() {
            durations.record(Duration::from_micros(micros));
        }
        let rounded = |it: Option<f64>| it.map(f64::round);
        assert_eq!(rounded(durations.quantile(0.0)), Some(1.0));
        assert_eq!(rounded(durations.quantile(0.5)), Some(100.0));
        assert_eq!(rounded(durations.quantile(0.99)), Some(198.0));
        assert_eq!(rounded(durations.quantile(1.0)), Some(200.0));
        assert_eq!(Durations::default().quantile(0.5), None);
    }
}
