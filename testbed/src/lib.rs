//! What the filter is tried on: simulated model servers behind a real Envoy.
//!
//! - [`model_server`]: a model server that answers like vLLM and whose load is set by hand.
//! - [`envoy`]: a real Envoy, started from one of the configurations in `envoy/` and always
//!   stopped.
//! - [`bed`]: the two together, the situation most tests and the demo start from.
//! - [`client`]: one HTTP connection with everything a hostile or unusual client may send.
//! - [`decision`]: what the filter says about its decisions in Envoy's log.
//! - [`poll`]: waiting, never for longer than a limit.
//!
//! Everything listens on free ports of the loopback interface, so that any number of test beds run
//! side by side.

pub mod bed;
pub mod client;
pub mod decision;
pub mod envoy;
pub mod model_server;
pub mod poll;
