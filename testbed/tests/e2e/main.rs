//! End-to-end tests: requests go through a real Envoy with two workers, and every test says which
//! model server got them.
//!
//! They need an Envoy (`scripts/setup`) and the module (`scripts/build`), use only loopback, and
//! run side by side.

#![expect(
    clippy::indexing_slicing,
    reason = "a test may fail by a panic; clippy.toml says so of test functions, not of helpers"
)]

mod support;

mod choice;
mod configuration;
mod demo;
mod destination_header;
mod engines;
mod failing_endpoints;
mod hand_over;
mod hostile_requests;
mod istio;
mod missing_signals;
mod passing_through;
mod scrape_economy;
mod scraping;
mod vllm;
