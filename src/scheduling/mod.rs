//! The decision: filter, score, pick.
//!
//! A [`Request`] meets what is known of the endpoints, their load and their prefix caches: a
//! [`View`]. The [`Scheduler`] chooses the [`Profile`] whose [`Condition`] holds. Each [`Filter`] of
//! the profile leaves out candidates, each [`Scorer`] gives those that stay a score from 0 to 1, the
//! scores are summed with the scorers' weights, and the [`Picker`] ranks by the sums: the first is the
//! choice, the others are for attempts after it. [`Terms`] may narrow the candidates. It is the
//! pipeline of the Gateway API Inference Extension's Endpoint Picker, with its names, formulas and
//! defaults of parameters, so that its operators find what they know.
//!
//! The candidates are the healthy endpoints, those that answer scrapes. Where a profile leaves none of
//! them, it decides on all, those that were found to fail only if there is no other, by what this
//! gateway has in flight to each instead of by metrics: a pool whose scrapes fail still serves.
//!
//! Equals take turns. What a prompt begins with decides between them first, by rendezvous hashing, so
//! that gateways which share nothing send it the same way; without a prompt it is the one's turn who
//! was chosen the longest ago.
//!
//! With [`Disaggregation`] a second profile chooses who reads the prompt, where the first choice holds
//! little of it.
//!
//! ```
//! use core::time::Duration;
//! use endpoint_picker::{
//!     discovery::DiscoveredEndpoint,
//!     load::{InFlight, Load},
//!     pool::{EndpointMetrics, Freshness, Pool, Signal},
//!     prefix::PrefixIndex,
//!     scheduling::{Profile, Scheduler, View},
//!     time::Timestamp,
//! };
//!
//! let now = Timestamp::from_millis(1_000);
//! let servers = ["10.0.0.1:8000", "10.0.0.2:8000"].map(|a| a.parse().unwrap());
//! let mut pool = Pool::new(&servers.map(DiscoveredEndpoint::at));
//! for (server, waiting) in servers.into_iter().zip([4.0, 0.0]) {
//!     let mut metrics = EndpointMetrics::default();
//!     metrics.observe(Signal::WaitingRequests, waiting, now);
//!     metrics.observe(Signal::KvCacheUsage, 0.5, now);
//!     pool.record(server, metrics, now);
//! }
//! let (mut load, prefixes) = (InFlight::new(2), PrefixIndex::new(2, 1 << 20));
//!
//! let mut scheduler = Scheduler::new(Profile::default());
//! let mut rng = fastrand::Rng::with_seed(1);
//! let freshness = Freshness { now, stale_after: Duration::from_secs(2) };
//! let mut choose = |load: &InFlight| {
//!     let view = View { pool: &pool, load, prefixes: &prefixes };
//!     let decision = scheduler.schedule(view, freshness, &mut rng).unwrap();
//!     decision.endpoint().address()
//! };
//! assert_eq!(choose(&load), servers[1]);
//!
//! // What has set out since the scrape counts as if it were told.
//! load.begin(1, Load { requests: 5, tokens: 0 });
//! assert_eq!(choose(&load), servers[0]);
//! ```

mod candidates;
mod decision;
mod disaggregation;
mod explanation;
mod filter;
#[cfg(test)]
mod oracle;
mod picker;
mod profile;
mod request;
mod run;
mod scheduler;
mod scorer;
mod session;
mod turns;

pub use candidates::Candidates;
pub use decision::Decision;
pub use disaggregation::Disaggregation;
pub use explanation::{CandidateScores, Explanation};
pub use filter::{
    Filter, LabelExpression, LabelOperator, LabelSelector, PrefixCacheAffinity, Role, RoleFilter,
    Utilization, UtilizationCondition, UtilizationMetric,
};
pub use picker::Picker;
pub use profile::{Condition, HeaderCondition, Profile, Scheduling, WeightedScorer};
pub use request::{Request, Terms, View};
pub use scheduler::{NoCandidate, Scheduler};
pub use scorer::{
    ActiveRequest, ContextLengthAware, EndpointAttribute, Latency, LoadAware, LoadBand,
    PrefixCache, Scorer, SignalsNeeded, TokenLoad,
};
pub use session::{Session, SessionForm, WatchedHeaders};
