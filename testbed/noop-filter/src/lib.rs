//! A filter that does nothing.
//!
//! Envoy calls into its VM for the headers and for every piece of the body of each request and each
//! response, and it returns `Continue` at once. What remains is the price of having a Wasm filter
//! at all, below which no filter can come.
//!
//! On any other target than WASI this crate is empty, so that the workspace builds natively.

#[cfg(target_os = "wasi")]
mod plugin;
