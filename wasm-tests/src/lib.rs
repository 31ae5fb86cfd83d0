//! The core's tables of cases, in `tests/`.
//!
//! The filter runs inside a Wasm VM, so its core is tested inside one too: each table runs
//! natively by `cargo test -p wasm-tests`, and in Node by the same command with
//! `--target wasm32-unknown-unknown`. What needs a source of entropy, such as property tests, stands
//! beside the code it tests and runs natively.
