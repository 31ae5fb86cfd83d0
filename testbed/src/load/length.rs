//! How long texts are.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// A distribution of lengths, in tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Length {
    /// Each length from the first to the last, with equal probability.
    Between(u32, u32),
    /// Long ones with a probability, short ones otherwise; each within its two bounds.
    ShortOrLong {
        /// The bounds of short ones.
        short: (u32, u32),
        /// The bounds of long ones.
        long: (u32, u32),
        /// The probability of a long one.
        long_share: f64,
    },
}

impl Length {
    /// Draws one.
    pub(super) fn sample(self, random: &mut ChaCha8Rng) -> u32 {
        let (least, most) = match self {
            Self::Between(least, most) => (least, most),
            Self::ShortOrLong {
                short,
                long,
                long_share,
            } => {
                if random.random_bool(long_share.clamp(0.0, 1.0)) {
                    long
                } else {
                    short
                }
            }
        };
        random.random_range(least..=most.max(least))
    }

    /// The mean of all draws.
    #[must_use]
    pub fn mean(self) -> f64 {
        let middle = |(least, most): (u32, u32)| f64::from(least + most) / 2.0;
        match self {
            Self::Between(least, most) => middle((least, most)),
            Self::ShortOrLong {
                short,
                long,
                long_share,
            } => middle(short) * (1.0 - long_share) + middle(long) * long_share,
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn draws_keep_their_bounds_and_their_mean() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for length in [
            Length::Between(50, 150),
            Length::ShortOrLong {
                short: (50, 100),
                long: (1000, 2000),
                long_share: 0.2,
            },
        ] {
            let draws: Vec<u32> = (0..20_000).map(|_| length.sample(&mut random)).collect();
            let mean = draws.iter().copied().map(f64::from).sum::<f64>() / draws.len() as f64;
            assert!((mean / length.mean() - 1.0).abs() < 0.03, "{length:?}");
            assert!(draws.iter().all(|draw| match length {
                Length::Between(least, most) => (least..=most).contains(draw),
                Length::ShortOrLong { short, long, .. } =>
                    (short.0..=short.1).contains(draw) || (long.0..=long.1).contains(draw),
            }));
        }
    }
}
