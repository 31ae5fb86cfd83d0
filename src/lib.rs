//! LLM-aware load balancing inside stock Envoy.
//!
//! A proxy-wasm HTTP filter that picks the model-server endpoint for every inference request: it
//! reads model and prompt from the request's body, keeps every endpoint's Prometheus metrics
//! fresh, scores the endpoints and hands its choice to Envoy, all inside the proxy that the
//! request passes anyway.
//!
//! # The rooms
//!
//! A functional core, and a thin shell around it:
//!
//! | question | room |
//! | --- | --- |
//! | What can be configured, and what does it mean? | [`config`] |
//! | What does a request ask for, and when is it refused? | [`request`] |
//! | Which model does a name stand for, and how do bodies follow? | [`models`] |
//! | How is Prometheus text read? | [`exposition`] |
//! | What does each engine call its metrics? | [`model_server`] |
//! | Where do endpoints come from? | [`discovery`] |
//! | What is known of the endpoints, and how is it shared? | [`pool`] |
//! | Who scrapes, and when? | [`scraping`] |
//! | Which prompts begin alike, and who has read them? | [`prefix`] |
//! | What has been sent and is not answered yet? | [`load`] |
//! | Which endpoint is best? | [`scheduling`] |
//! | How does this meet Envoy? | `proxy`, compiled for `wasm32-wasip1` alone, by the feature `filter` |
//!
//! The core knows no proxy, no clock and no randomness: time is an argument ([`time`]), so is the
//! random source. That is what lets its tests run natively, in a Wasm VM and from a seed.

mod bytes;
pub mod config;
pub mod discovery;
pub mod exposition;
pub mod load;
pub mod model_server;
pub mod models;
pub mod pool;
pub mod prefix;
#[cfg(all(target_os = "wasi", feature = "filter"))]
mod proxy;
pub mod request;
pub mod scheduling;
pub mod scraping;
pub mod time;
