//! How rows compare.

use serde::Serialize;

/// How a number compares with that of another row with the same seed, over all seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Ratio {
    /// The geometric mean, in which half and twice as much cancel out.
    pub(super) mean: f64,
    pub(super) least: f64,
    pub(super) greatest: f64,
}

impl Ratio {
    /// None where no ratio says anything.
    pub(super) fn of(ratios: impl Iterator<Item = f64>) -> Option<Self> {
        let ratios: Vec<f64> = ratios.filter(|it| it.is_normal()).collect();
        if ratios.is_empty() {
            return None;
        }
        let logarithms: f64 = ratios.iter().map(|ratio| ratio.ln()).sum();
        Some(Self {
            mean: (logarithms / ratios.len() as f64).exp(),
            least: ratios.iter().copied().fold(f64::INFINITY, f64::min),
            greatest: ratios.iter().copied().fold(0.0, f64::max),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_and_twice_as_much_cancel_out() {
        let ratio = Ratio::of([0.5, 2.0, 1.0].into_iter()).expect("three of them");
        assert!((ratio.mean - 1.0).abs() < 1e-9);
        assert_eq!((ratio.least, ratio.greatest), (0.5, 2.0));
    }

    #[test]
    fn what_was_never_answered_has_no_ratio() {
        let nothing = [f64::NAN, f64::INFINITY, 0.0];
        assert_eq!(Ratio::of(nothing.into_iter()), None);
    }
}
