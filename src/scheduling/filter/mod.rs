//! Filters: each leaves out candidates that must not be chosen.
//!
//! A filter that states a preference gives way where it leaves none: all stay. One that states what
//! must be does not, and the request is refused.

mod affinity;
mod context_length;
mod label;
mod role;
mod utilization;

pub use affinity::PrefixCacheAffinity;
pub use label::{LabelExpression, LabelOperator, LabelSelector};
pub use role::{Role, RoleFilter};
pub use utilization::{Utilization, UtilizationCondition, UtilizationMetric};

use fastrand::Rng;

use super::{Candidates, ContextLengthAware};

/// A filter and its parameters. Names are the Endpoint Picker's.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// Endpoints with these labels. `label-selector-filter`.
    LabelSelector(LabelSelector),
    /// Endpoints of a role. `prefill-filter`, `decode-filter`.
    Role(RoleFilter),
    /// Endpoints below every threshold. `utilization-filter`.
    Utilization(Utilization),
    /// Endpoints that hold most of the prompt, while waiting for them pays off.
    /// `prefix-cache-affinity-filter`.
    PrefixCacheAffinity(PrefixCacheAffinity),
    /// Endpoints whose range of context lengths has the prompt's. `context-length-aware`.
    ContextLengthAware(ContextLengthAware),
}

impl Filter {
    /// Its name in explanations and refusals.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::LabelSelector(_) => "label-selector",
            Self::Role(_) => "role",
            Self::Utilization(_) => "utilization",
            Self::PrefixCacheAffinity(_) => "prefix-cache-affinity",
            Self::ContextLengthAware(_) => "context-length-aware",
        }
    }

    /// Whether it asks which endpoints hold the prompt's beginning.
    #[must_use]
    pub const fn needs_prefixes(&self) -> bool {
        matches!(self, Self::PrefixCacheAffinity(_))
    }

    /// Whether all stay where it leaves none.
    #[must_use]
    pub const fn falls_back(&self) -> bool {
        match self {
            Self::LabelSelector(_) | Self::Role(_) => false,
            Self::Utilization(it) => it.fallback_on_empty,
            Self::PrefixCacheAffinity(_) | Self::ContextLengthAware(_) => true,
        }
    }

    /// Whether it leaves none because all have too much to do, which passes.
    #[must_use]
    pub const fn tells_saturation(&self) -> bool {
        matches!(self, Self::Utilization(_))
    }

    /// Appends of each candidate, in their order, whether it stays.
    pub fn keep(&self, candidates: Candidates<'_>, rng: &mut Rng, keep: &mut Vec<bool>) {
        match self {
            Self::LabelSelector(it) => it.keep(candidates, keep),
            Self::Role(it) => it.keep(candidates, keep),
            Self::Utilization(it) => it.keep(candidates, keep),
            Self::PrefixCacheAffinity(it) => it.keep(candidates, rng, keep),
            Self::ContextLengthAware(it) => it.keep(candidates, keep),
        }
    }
}
