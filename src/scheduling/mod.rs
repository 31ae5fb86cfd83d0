//! The decision: filter, score, pick.
//!
//! The candidates are the healthy endpoints, or all of them when none is healthy: a pool whose
//! scrapes fail still serves. Each [`Scorer`] of the profile gives every candidate a score from
//! 0 to 1, the scores are summed with the scorers' weights, and the [`Picker`] ranks by the sums: the
//! first is the choice, the others are for attempts after it. [`Terms`] may narrow the candidates.
//! It is the pipeline of the Gateway API Inference Extension's Endpoint Picker, with its names,
//! formulas and defaults, so that its operators find what they know.
//!
//! ```
//! use core::time::Duration;
//! use endpoint_picker::{
//!     discovery::DiscoveredEndpoint,
//!     pool::{EndpointMetrics, Freshness, Pool, Signal},
//!     scheduling::{Profile, Scheduler},
//!     time::Timestamp,
//! };
//!
//! let now = Timestamp::from_millis(1_000);
//! let servers = ["10.0.0.1:8000", "10.0.0.2:8000"].map(|a| a.parse().unwrap());
//! let mut pool = Pool::new(&servers.map(DiscoveredEndpoint::at));
//! for (server, waiting) in servers.into_iter().zip([9.0, 0.0]) {
//!     let mut metrics = EndpointMetrics::default();
//!     metrics.observe(Signal::WaitingRequests, waiting, now);
//!     metrics.observe(Signal::KvCacheUsage, 0.5, now);
//!     pool.record(server, metrics, now);
//! }
//!
//! let mut scheduler = Scheduler::new(Profile::default());
//! let freshness = Freshness { now, stale_after: Duration::from_secs(2) };
//! let decision = scheduler
//!     .schedule(&pool, freshness, &mut fastrand::Rng::with_seed(1))
//!     .unwrap();
//! assert_eq!(decision.endpoint().address(), servers[1]);
//! ```

mod candidates;
mod decision;
mod picker;
mod profile;
mod scheduler;
mod scorer;

pub use candidates::{Candidates, Terms};
pub use decision::{CandidateScores, Decision, Explanation};
pub use picker::Picker;
pub use profile::{Profile, WeightedScorer};
pub use scheduler::Scheduler;
pub use scorer::Scorer;
