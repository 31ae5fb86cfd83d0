//! From whole expositions to signals: the presets, and what a configuration makes of them.

mod configured;
mod counters;
mod lora;
mod names;
mod presets;
mod recognition;
mod restarts;
mod sglang_ranks;
// Marked as what it is: the lints let tests alone unwrap.
#[cfg(test)]
mod support;
mod traps;
