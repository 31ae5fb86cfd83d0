//! What the filter is tried on: simulated model servers behind a real Envoy.
//!
//! - [`model_server`]: a model server whose load is set by hand, or that simulates an engine.
//! - [`envoy`]: a real Envoy, started from one of the configurations in `envoy/` and always
//!   stopped.
//! - [`bed`]: the two together, the situation most tests and the demo start from.
//! - [`client`]: one HTTP connection with everything a hostile or unusual client may send.
//! - [`decision`]: what the filter says about its decisions in Envoy's log.
//! - [`poll`]: waiting, never for longer than a limit.
//! - [`process`]: a child process that never outlives its harness.
//! - [`load`]: requests as their users would send them, and what the users see of the answers.
//! - [`usage`]: what a process uses of the machine.
//! - [`virtual_time`]: the filter's decisions over simulated engines, without Envoy and without waiting.
//! - [`workers`]: the same requests behind one worker of Envoy and behind several.
//! - [`vllm`]: real vLLM servers on the CPU, in the place of the simulated ones.
//!
//! Everything listens on free ports of the loopback interface, so that any number of test beds run
//! side by side.

pub mod bed;
pub mod client;
pub mod decision;
pub mod envoy;
pub mod load;
pub mod model_server;
pub mod poll;
pub mod process;
pub mod usage;
pub mod virtual_time;
pub mod vllm;
pub mod workers;
