//! What a decision weighs.

use super::{Picker, Scorer};

/// A scorer and how much it counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WeightedScorer {
    /// The scorer.
    pub scorer: Scorer,
    /// The factor of its score, finite and not negative.
    pub weight: f64,
}

/// The scorers and the picker of a decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Summed by weight.
    pub scorers: Vec<WeightedScorer>,
    /// Chooses by the sums.
    pub picker: Picker,
}

/// Queue and free KV cache count alike, as they do in the Endpoint Picker's defaults.
impl Default for Profile {
    fn default() -> Self {
        Self {
            scorers: [Scorer::Queue, Scorer::KvCacheUtilization]
                .map(|scorer| WeightedScorer {
                    scorer,
                    weight: 2.0,
                })
                .to_vec(),
            picker: Picker::default(),
        }
    }
}
