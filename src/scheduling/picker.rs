//! Pickers: from totals to a ranking.

use fastrand::Rng;
use serde::Deserialize;

/// A picker by its name in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Picker {
    /// The highest total first; among equals each is as likely as the others, so that equal endpoints
    /// share their requests. The Endpoint Picker's `max-score-picker`.
    #[default]
    MaxScore,
}

impl Picker {
    /// Puts the indexes of the `count` totals it picks into `ranking`, the best first; fewer if there
    /// are fewer.
    pub fn rank(self, totals: &[f64], count: usize, rng: &mut Rng, ranking: &mut Vec<usize>) {
        ranking.clear();
        match self {
            Self::MaxScore => {
                // Few are asked for, of many: a pass for each is less than to sort them all.
                while ranking.len() < count
                    && let Some(index) = max_score(totals, ranking, rng)
                {
                    ranking.push(index);
                }
            }
        }
    }
}

/// One pass: the `n`-th of the equals seen so far replaces the one held with probability `1/n`,
/// which leaves each with the same chance (reservoir sampling, Vitter 1985).
fn max_score(totals: &[f64], ranked: &[usize], rng: &mut Rng) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    let mut equals = 1;
    for (index, &total) in totals.iter().enumerate() {
        match best {
            Some((_, highest)) if total < highest => {}
            _ if ranked.contains(&index) => {}
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
    use proptest::{prop_assert_eq, proptest};

    use super::*;

    fn rank(totals: &[f64], count: usize, rng: &mut Rng) -> Vec<usize> {
        let mut ranking = vec![7];
        Picker::MaxScore.rank(totals, count, rng, &mut ranking);
        ranking
    }

    #[test]
    fn equals_are_equally_likely_at_every_place() {
        let mut rng = Rng::with_seed(7);
        let mut picked = [[0_u32; 5]; 4];
        for _ in 0..3_000 {
            let ranking = rank(&[1.0, 3.0, 3.0, 2.0, 3.0], 4, &mut rng);
            for (place, index) in ranking.into_iter().enumerate() {
                picked[place][index] += 1;
            }
        }
        assert_eq!(picked[3], [0, 0, 0, 3_000, 0]);
        for place in 0..3 {
            assert_eq!((picked[place][0], picked[place][3]), (0, 0));
            for index in [1, 2, 4] {
                // 3000 draws of probability 1/3: the standard deviation is 26.
                assert!((850..1150).contains(&picked[place][index]), "{picked:?}");
            }
        }
    }

    #[test]
    fn nothing_is_picked_of_nothing() {
        assert!(rank(&[], 3, &mut Rng::with_seed(1)).is_empty());
    }

    proptest! {
        #[test]
        fn a_ranking_is_the_beginning_of_the_sorted_totals(
            totals in proptest::collection::vec(0_u8..6, 0..20), count in 0_usize..25, seed: u64,
        ) {
            let totals: Vec<f64> = totals.into_iter().map(f64::from).collect();
            let ranking = rank(&totals, count, &mut Rng::with_seed(seed));
            let mut sorted = totals.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            sorted.truncate(count);
            let ranked: Vec<f64> = ranking.iter().map(|&index| totals[index]).collect();
            prop_assert_eq!(ranked, sorted);
            let mut unique = ranking.clone();
            unique.sort_unstable();
            unique.dedup();
            prop_assert_eq!(unique.len(), ranking.len());
        }
    }
}
