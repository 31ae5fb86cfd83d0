//! Pickers: from totals to a ranking.

use fastrand::Rng;

/// Chooses by the totals. Names are the Endpoint Picker's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Picker {
    /// The highest total first, equals by their turn. `max-score-picker`.
    #[default]
    MaxScore,
    /// Any, whatever the totals. `random-picker`.
    Random,
    /// By lot, in which a total of twice as much is twice as likely. `weighted-random-picker`.
    WeightedRandom,
    /// Of two that are drawn the one with the higher total first, then all others as
    /// [`MaxScore`](Self::MaxScore) ranks them: two are enough to keep clear of the most loaded, and
    /// gateways that know the same seldom draw the same.
    PowerOfTwo,
}

/// Totals that differ by no more are equal: sums of the same scores in different orders are.
const EQUAL: f64 = 1e-9;

impl Picker {
    /// Every picker.
    pub const ALL: [Self; 4] = [
        Self::MaxScore,
        Self::Random,
        Self::WeightedRandom,
        Self::PowerOfTwo,
    ];

    /// Its name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MaxScore => "max-score",
            Self::Random => "random",
            Self::WeightedRandom => "weighted-random",
            Self::PowerOfTwo => "power-of-two",
        }
    }

    /// Puts the indexes of the `count` totals it picks into `ranking`, the best first; fewer if there
    /// are fewer. Of equals the one comes first whose `turn` is the greatest. `lots` is memory for as
    /// many numbers as there are totals.
    pub(super) fn rank(
        self,
        totals: &[f64],
        count: usize,
        turn: impl Fn(usize) -> u64,
        rng: &mut Rng,
        lots: &mut Vec<f64>,
        ranking: &mut Vec<usize>,
    ) {
        ranking.clear();
        match self {
            Self::MaxScore => {}
            Self::Random => {
                ranking.extend(0..totals.len());
                // As far as it is asked for.
                for place in 0..count.min(totals.len()) {
                    ranking.swap(place, rng.usize(place..totals.len()));
                }
                ranking.truncate(count);
            }
            Self::WeightedRandom => {
                lots.clear();
                lots.extend(totals.iter().map(|&total| lot(total, rng)));
                return highest_first(lots, count, turn, ranking);
            }
            Self::PowerOfTwo => ranking.extend(better_of_two(totals, rng).filter(|_| count > 0)),
        }
        highest_first(totals, count, turn, ranking);
    }
}

/// Adds the indexes of the highest totals to `ranking` until it has `count`, leaving out what it has
/// already. Few are asked for, of many: a pass for each is less than to sort them all.
fn highest_first(
    totals: &[f64],
    count: usize,
    turn: impl Fn(usize) -> u64,
    ranking: &mut Vec<usize>,
) {
    while ranking.len() < count {
        let open = || {
            let totals = totals.iter().copied().enumerate();
            totals.filter(|(index, _)| !ranking.contains(index))
        };
        // Compared: what `f64::max` does about NaN costs as much again in a Wasm VM.
        let higher = |highest, (_, total)| if total > highest { total } else { highest };
        let highest = open().fold(f64::NEG_INFINITY, higher);
        let equals = open().filter(|&(_, total)| total >= highest - EQUAL);
        let Some((first, _)) = equals.max_by_key(|&(index, _)| turn(index)) else {
            return;
        };
        ranking.push(first);
    }
}

/// A key for each, of which the greatest wins: `ln(u) / total` with `u` of the interval 0 to 1, which
/// orders as `u^(1 / total)` does and keeps apart what that rounds to 0 (A-Res, Efraimidis and
/// Spirakis 2006). Those without a total come last, by lot.
fn lot(total: f64, rng: &mut Rng) -> f64 {
    // Up to 1 instead of from 0 on, which has no logarithm.
    let u = 1.0 - rng.f64();
    if total > 0.0 {
        u.ln() / total
    } else {
        f64::MIN * ((1.0 + u) / 2.0)
    }
}

/// Of two different ones, drawn, the one with the higher total, or the one drawn first.
fn better_of_two(totals: &[f64], rng: &mut Rng) -> Option<usize> {
    if totals.len() < 2 {
        return None;
    }
    let first = rng.usize(0..totals.len());
    let second = (first + rng.usize(1..totals.len())) % totals.len();
    let total = |index: usize| totals.get(index).copied().unwrap_or_default();
    Some(if total(second) > total(first) + EQUAL {
        second
    } else {
        first
    })
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;
    use proptest::prelude::*;

    use super::*;

    /// The ranking, by turns that fall from the first total to the last.
    fn rank(picker: Picker, totals: &[f64], count: usize, rng: &mut Rng) -> Vec<usize> {
        let turn = |index| u64::MAX - index as u64;
        let (mut lots, mut ranking) = (vec![7.0], vec![7]);
        picker.rank(totals, count, turn, rng, &mut lots, &mut ranking);
        ranking
    }

    /// Whether `ranking` is of different ones, as many as were asked for and are there.
    fn is_ranking(ranking: &[usize], of: usize, count: usize) -> bool {
        let mut unique = ranking.to_vec();
        unique.sort_unstable();
        unique.dedup();
        unique.len() == count.min(of)
            && unique.len() == ranking.len()
            && ranking.iter().all(|&index| index < of)
    }

    fn totals() -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec(0_u8..6, 0..20)
            .prop_map(|totals| totals.into_iter().map(f64::from).collect())
    }

    proptest! {
        #[test]
        fn the_highest_come_first_and_equals_in_turn(
            totals in totals(), count in 0_usize..25, seed: u64,
        ) {
            let mut sorted: Vec<usize> = (0..totals.len()).collect();
            // Stable: equals stay in their order, which is that of their turns.
            sorted.sort_by(|&a, &b| totals[b].total_cmp(&totals[a]));
            sorted.truncate(count);
            let ranking = rank(Picker::MaxScore, &totals, count, &mut Rng::with_seed(seed));
            prop_assert_eq!(ranking, sorted);
        }

        #[test]
        fn every_picker_ranks_each_once(totals in totals(), count in 0_usize..25, seed: u64) {
            for picker in Picker::ALL {
                let ranking = rank(picker, &totals, count, &mut Rng::with_seed(seed));
                prop_assert!(is_ranking(&ranking, totals.len(), count), "{picker:?} {ranking:?}");
            }
        }

        #[test]
        fn the_worst_of_different_ones_never_wins_of_two(
            totals in prop::collection::btree_set(0_u8..100, 2..20), seed: u64,
        ) {
            let totals: Vec<f64> = totals.into_iter().map(f64::from).collect();
            let ranking = rank(Picker::PowerOfTwo, &totals, 20, &mut Rng::with_seed(seed));
            prop_assert_ne!(ranking[0], 0);
            // Behind the winner they stand by their totals, which rise here.
            let others = (0..totals.len()).rev().filter(|&index| index != ranking[0]);
            prop_assert_eq!(&ranking[1..], others.collect::<Vec<_>>());
        }

        #[test]
        fn who_has_no_total_comes_last_by_weight(totals in totals(), seed: u64) {
            let ranking = rank(Picker::WeightedRandom, &totals, 20, &mut Rng::with_seed(seed));
            let has_total = ranking.iter().map(|&index| totals[index] > 0.0);
            prop_assert!(has_total.is_sorted_by(|a, b| a >= b));
        }
    }

    /// How often each of `totals` stands at `place` of `draws` rankings.
    fn counts<const N: usize>(picker: Picker, totals: [f64; N], place: usize) -> [f64; N] {
        const DRAWS: usize = 20_000;
        let mut rng = Rng::with_seed(7);
        let mut counts = [0.0; N];
        for _ in 0..DRAWS {
            counts[rank(picker, &totals, N, &mut rng)[place]] += 1.0 / DRAWS as f64;
        }
        counts
    }

    #[test]
    fn lots_fall_as_often_as_they_should() {
        let even = [0.25; 4];
        for (picker, totals, place, expected) in [
            (Picker::Random, [9.0, 0.0, 1.0, 1.0], 0, even),
            (Picker::Random, [9.0, 0.0, 1.0, 1.0], 2, even),
            (
                Picker::WeightedRandom,
                [4.0, 3.0, 2.0, 1.0],
                0,
                [0.4, 0.3, 0.2, 0.1],
            ),
            (
                Picker::WeightedRandom,
                [4e-9, 3e-9, 2e-9, 1e-9],
                0,
                [0.4, 0.3, 0.2, 0.1],
            ),
            (
                Picker::WeightedRandom,
                [0.0, 1.0, 0.0, 1.0],
                0,
                [0.0, 0.5, 0.0, 0.5],
            ),
            (
                Picker::WeightedRandom,
                [0.0, 1.0, 0.0, 1.0],
                2,
                [0.5, 0.0, 0.5, 0.0],
            ),
            (Picker::WeightedRandom, [0.0; 4], 0, even),
            // Of the 6 pairs 3 have the best, 2 the second without the best, and 1 the others.
            (
                Picker::PowerOfTwo,
                [4.0, 3.0, 2.0, 1.0],
                0,
                [3.0 / 6.0, 2.0 / 6.0, 1.0 / 6.0, 0.0],
            ),
            (Picker::PowerOfTwo, [1.0; 4], 0, even),
        ] {
            let found = counts(picker, totals, place);
            let near = |(found, expected): (&f64, &f64)| (found - expected).abs() < 0.015;
            assert!(
                found.iter().zip(&expected).all(near),
                "{picker:?} of {totals:?}: {found:?}"
            );
        }
    }

    #[test]
    fn a_rounding_makes_no_difference() {
        let totals = [0.1 + 0.2, 0.3, 0.3 + 2e-9];
        let rank = |totals: &[f64]| rank(Picker::MaxScore, totals, 3, &mut Rng::with_seed(1));
        assert_eq!(rank(&totals[..2]), [0, 1]);
        assert_eq!(rank(&[totals[1], totals[0]]), [0, 1]);
        assert_eq!(rank(&totals), [2, 0, 1]);
    }
}
