//! Pickers: from totals to a choice.

use fastrand::Rng;
use serde::Deserialize;

/// A picker by its name in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Picker {
    /// The highest total; among equals each is as likely as the others, so that equal endpoints
    /// share their requests. The Endpoint Picker's `max-score-picker`.
    #[default]
    MaxScore,
}

impl Picker {
    /// The index of the total it picks; `None` of no totals.
    pub fn pick(self, totals: &[f64], rng: &mut Rng) -> Option<usize> {
        match self {
            Self::MaxScore => max_score(totals, rng),
        }
    }
}

/// One pass: the `n`-th of the equals seen so far replaces the one held with probability `1/n`,
/// which leaves each with the same chance (reservoir sampling, Vitter 1985).
fn max_score(totals: &[f64], rng: &mut Rng) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    let mut equals = 1;
    for (index, &total) in totals.iter().enumerate() {
        match best {
            Some((_, highest)) if total < highest => {}
            Some((_, highest)) if total == highest => {
                equals += 1;
                if rng.usize(0..equals) == 0 {
                    best = Some((index, total));
                }
            }
            _ => {
                best = Some((index, total));
                equals = 1;
            }
        }
    }
    best.map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_are_equally_likely() {
        let mut rng = Rng::with_seed(7);
        let mut picked = [0_u32; 5];
        for _ in 0..3_000 {
            picked[Picker::MaxScore
                .pick(&[1.0, 3.0, 3.0, 2.0, 3.0], &mut rng)
                .unwrap()] += 1;
        }
        assert_eq!((picked[0], picked[3]), (0, 0));
        for index in [1, 2, 4] {
            // 3000 draws of probability 1/3: the standard deviation is 26.
            assert!((850..1150).contains(&picked[index]), "{picked:?}");
        }
    }

    #[test]
    fn nothing_is_picked_of_nothing() {
        assert_eq!(Picker::MaxScore.pick(&[], &mut Rng::with_seed(1)), None);
    }
}
