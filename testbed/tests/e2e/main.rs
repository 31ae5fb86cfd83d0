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

mod answers_renamed;
mod body_based_routing;
mod bounded_affinity;
mod choice;
mod clients;
mod configuration;
mod demo;
mod destination_header;
mod disaggregation;
mod early_decision;
mod engines;
mod errors;
mod explanation;
mod failing_endpoints;
mod hand_over;
mod header_contract;
mod hostile_requests;
mod istio;
mod missing_signals;
mod model_names;
mod no_ghost_load;
mod passing_through;
mod pools;
mod prefix_affinity;
mod profiles;
mod retries;
mod scrape_economy;
mod scrapes_elsewhere;
mod scraping;
mod sessions;
mod surface;
mod vllm;
mod workers;
