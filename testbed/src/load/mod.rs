//! Requests as their users would send them, and what the users see of the answers.
//!
//! The load is open: requests are sent when they are due, whether or not earlier ones are answered,
//! and every duration is counted from the moment a request was due, so that a client which falls
//! behind does not hide how long its users waited (no coordinated omission). The one exception is
//! the nature of a conversation: nobody answers before there is something to answer, so a turn is due
//! a think time after the end of the answer before it, and a slow fleet gets its later turns later.
//!
//! - [`workload`]: kinds of users; from a seed, the same ones each time.
//! - [`arrivals`]: when they come.
//! - [`conversation`]: what one of them sends.
//! - [`client`]: one request, and what is seen of its answer.
//! - [`driver`]: all of them, in time.
//! - [`watch`]: what the servers say of themselves meanwhile.
//! - [`statistics`]: what it comes to.
//!
//! Durations are in simulated seconds, of which a time scale says how many pass in a real one.

pub mod arrivals;
pub mod client;
pub mod conversation;
pub mod driver;
pub mod statistics;
pub mod watch;
pub mod workload;

mod length;
mod text;

pub use length::Length;
