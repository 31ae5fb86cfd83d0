//! When users come.

use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Gamma};

/// The times between arrivals: independent, from a gamma distribution.
///
/// Its shape is what vLLM's and SGLang's serving benchmarks call burstiness: 1 is a Poisson process,
/// less comes in bursts. The coefficient of variation of the gaps is `1 / sqrt(burstiness)`.
#[derive(Clone, Copy, Debug)]
pub struct Arrivals {
    gaps: Gamma<f64>,
}

/// A rate or burstiness that is not a positive, finite number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InvalidArrivals {
    /// Arrivals a second.
    pub rate: f64,
    /// The shape of the gamma distribution.
    pub burstiness: f64,
}

impl std::error::Error for InvalidArrivals {}

impl std::fmt::Display for InvalidArrivals {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "no arrivals with rate {} and burstiness {}: both must be positive",
            self.rate, self.burstiness
        )
    }
}

impl Arrivals {
    /// Arrivals at a mean `rate`, in 1/s.
    ///
    /// # Errors
    ///
    /// When one of the two is not positive and finite.
    pub fn new(rate: f64, burstiness: f64) -> Result<Self, InvalidArrivals> {
        let invalid = InvalidArrivals { rate, burstiness };
        let positive = |number: f64| number.is_finite() && number > 0.0;
        if !(positive(rate) && positive(burstiness)) {
            return Err(invalid);
        }
        Gamma::new(burstiness, 1.0 / (rate * burstiness))
            .map(|gaps| Self { gaps })
            .map_err(|_| invalid)
    }

    /// The times of arrival from `from` until before `until`, ascending, in seconds.
    pub fn between(
        self,
        from: f64,
        until: f64,
        random: &mut ChaCha8Rng,
    ) -> impl Iterator<Item = f64> {
        let mut now = from;
        std::iter::repeat_with(move || {
            now += self.gaps.sample(random);
            now
        })
        .take_while(move |time| *time < until)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn times(burstiness: f64, seed: u64) -> Vec<f64> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let arrivals = Arrivals::new(20.0, burstiness).expect("valid");
        arrivals.between(-10.0, 990.0, &mut random).collect()
    }

    fn coefficient_of_variation(times: &[f64]) -> f64 {
        let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>();
        (variance / gaps.len() as f64).sqrt() / mean
    }

    #[test]
    fn the_rate_is_kept_whatever_the_burstiness() {
        for (burstiness, tolerance) in [(1.0, 0.03), (0.25, 0.06), (4.0, 0.02)] {
            // 20 000 gaps: the standard error of their mean is their variation / 141.
            let rate = times(burstiness, 1).len() as f64 / 1000.0;
            assert!(
                (rate / 20.0 - 1.0).abs() < tolerance,
                "{burstiness}: {rate}"
            );
        }
    }

    #[test]
    fn less_burstiness_than_one_comes_in_bursts() {
        for (burstiness, expected) in [(1.0, 1.0), (0.25, 2.0), (4.0, 0.5)] {
            let found = coefficient_of_variation(&times(burstiness, 2));
            assert!(
                (found / expected - 1.0).abs() < 0.06,
                "{burstiness}: {found}"
            );
        }
    }

    #[test]
    fn times_ascend_within_the_span_and_repeat_with_the_seed() {
        let first = times(1.0, 3);
        assert!(first.iter().all(|time| (-10.0..990.0).contains(time)));
        assert!(first.is_sorted());
        assert_eq!(first, times(1.0, 3));
        assert_ne!(first, times(1.0, 4));
    }

    #[test]
    fn a_rate_that_is_none_is_refused() {
        for (rate, burstiness) in [(0.0, 1.0), (-1.0, 1.0), (1.0, 0.0), (f64::NAN, 1.0)] {
            assert!(Arrivals::new(rate, burstiness).is_err());
        }
    }
}
