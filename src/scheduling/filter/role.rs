//! Endpoints that prefill, and endpoints that decode.

use crate::{pool::Endpoint, scheduling::Candidates};

/// Parameters of [`Filter::Role`](super::Filter::Role).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleFilter {
    /// The label that tells an endpoint's roles: `prefill`, `decode`, or both with a `-` or `,` between,
    /// or `both`.
    pub label: String,
    /// The role.
    pub role: Role,
}

/// What an endpoint does of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It reads the prompt.
    Prefill,
    /// It writes the answer. An endpoint without the label does too.
    Decode,
}

impl Role {
    /// What a label calls it.
    const fn name(self) -> &'static str {
        match self {
            Self::Prefill => "prefill",
            Self::Decode => "decode",
        }
    }
}

impl RoleFilter {
    fn is_of(&self, endpoint: &Endpoint) -> bool {
        match endpoint.labels().get(&self.label) {
            // A server that nobody gave a part does the whole work: it can decode without a prefiller.
            None => self.role == Role::Decode,
            Some(roles) => roles
                .split(['-', ','])
                .map(str::trim)
                .any(|role| role == self.role.name() || role == "both"),
        }
    }

    pub(super) fn keep(&self, candidates: Candidates<'_>, keep: &mut Vec<bool>) {
        keep.extend(candidates.endpoints().map(|endpoint| self.is_of(endpoint)));
    }
}
