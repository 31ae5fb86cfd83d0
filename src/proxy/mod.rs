//! The shell around the core: Envoy's callbacks in, host calls out. The only room that names
//! `proxy_wasm`, and one without decisions.
//!
//! A panic takes the VM of its worker down, and every request of that worker with it until Envoy
//! has made a new one. So nothing here panics: host calls go through [`host`], which asks for nothing
//! that makes the SDK panic, and what goes wrong for one request is answered for that request.

mod bindings;
mod destination;
mod host;
mod metrics;
mod peers;
mod plugin;
mod pool_sync;
mod request_metrics;
mod scrape;
mod scraper;
mod shared_state;
mod stream;
mod worker;

proxy_wasm::main! {{
    // No host call can be made yet; the level is Envoy's own from configuration on.
    proxy_wasm::set_log_level(proxy_wasm::types::LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(plugin::Plugin::default()));
}}
