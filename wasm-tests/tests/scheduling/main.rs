//! Scores by their formulas, and the decisions that follow.

mod scorers_affinity;
mod scorers_cache;
mod scorers_load;
mod scorers_measured;
mod sessions;
// Marked as what they are: the lints let tests alone unwrap.
#[cfg(test)]
mod decisions;
#[cfg(test)]
mod disaggregation;
#[cfg(test)]
mod explanations;
#[cfg(test)]
mod filters;
#[cfg(test)]
mod pickers;
#[cfg(test)]
mod profiles;
#[cfg(test)]
mod scene;
#[cfg(test)]
mod support;
