//! Which profile runs, over what.

use fastrand::Rng;

use super::{
    Decision, Disaggregation, Picker, Profile, Request, Scheduling, Terms, View,
    decision::Chosen,
    profile::Condition,
    run::{Ground, Plan, Run},
    turns::Turns,
};
use crate::request::Rejection;

/// Decides for one pool. It keeps the memory of its last decision for the next one, so a decision
/// allocates nothing once the pool's size has been seen.
#[derive(Debug, Clone)]
pub struct Scheduler {
    plans: Vec<Plan>,
    /// Of requests that cost no endpoint much.
    any: Plan,
    disaggregation: Option<Disaggregation>,
    needs_prefixes: bool,
    /// By the endpoints' positions in the pool.
    matched: Vec<u32>,
    run: Run,
    prefill_run: Run,
    turns: Turns,
}

/// Why no endpoint was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoCandidate {
    /// There is none to choose: the pool is empty, or has none of those allowed.
    #[error("there is no endpoint to choose from")]
    Empty,
    /// A filter left none.
    #[error("the filter {filter} leaves no endpoint")]
    Filtered {
        /// Its name.
        filter: &'static str,
        /// Whether it is because all have too much to do, which passes.
        saturated: bool,
    },
}

impl NoCandidate {
    /// The answer to a request for which the pool of this name has nobody.
    #[must_use]
    pub fn rejection(self, pool: &str) -> Rejection {
        let pool = pool.to_owned();
        if self.is_saturated() {
            Rejection::Saturated { pool }
        } else {
            Rejection::NoEndpoint { pool }
        }
    }

    /// Whether all endpoints have too much to do.
    #[must_use]
    pub const fn is_saturated(self) -> bool {
        matches!(
            self,
            Self::Filtered {
                saturated: true,
                ..
            }
        )
    }
}

impl Scheduler {
    /// A scheduler by `scheduling`.
    #[must_use]
    pub fn new(scheduling: impl Into<Scheduling>) -> Self {
        let Scheduling {
            profiles,
            disaggregation,
        } = scheduling.into();
        Self {
            // The split is for prompts of which the decoder holds little.
            needs_prefixes: disaggregation.is_some()
                || profiles.iter().any(Profile::needs_prefixes),
            plans: profiles.into_iter().map(Plan::from).collect(),
            any: Plan::from(Profile {
                name: "any-healthy".to_owned(),
                when: Condition::default(),
                filters: Vec::new(),
                scorers: Vec::new(),
                picker: Picker::MaxScore,
            }),
            disaggregation,
            matched: Vec::new(),
            run: Run::default(),
            prefill_run: Run::default(),
            turns: Turns::default(),
        }
    }

    /// Whether its decisions ask which endpoints hold a prompt's beginning.
    #[must_use]
    pub const fn needs_prefixes(&self) -> bool {
        self.needs_prefixes
    }

    /// Ranks the endpoints for a request that has a model at work.
    ///
    /// # Errors
    ///
    /// If there is no endpoint to choose.
    pub fn schedule<'a>(
        &'a mut self,
        view: View<'a>,
        terms: impl Into<Terms<'a>>,
        rng: &mut Rng,
    ) -> Result<Decision<'a>, NoCandidate> {
        let terms = terms.into();
        let prefill = self.disaggregation.as_ref().map(|it| it.prefill);
        let plan = choose(&self.plans, prefill, terms.request).unwrap_or(&self.any);

        // Without blocks nobody holds any.
        self.matched.clear();
        if self.needs_prefixes && !terms.request.blocks.is_empty() {
            view.prefixes
                .matched(terms.request.blocks, &mut self.matched);
        }
        self.turns.reserve(view.pool.endpoints().len(), rng);
        let ground = Ground {
            view,
            terms,
            matched: &self.matched,
            healthy_only: false,
        };
        let decoding = Chosen::new(self.run.rank(plan, ground, &self.turns, rng)?)?;
        self.turns.take(decoding.position());

        let prefill = self
            .disaggregation
            .as_ref()
            .filter(|it| it.pays_off(decoding.uncached_tokens()))
            .and_then(|it| self.plans.get(it.prefill));
        // A decoder that answers does better alone than with a prefiller that does not.
        let ground = Ground {
            healthy_only: decoding.is_healthy(),
            ..ground
        };
        let prefilling = prefill
            .and_then(|plan| self.prefill_run.rank(plan, ground, &self.turns, rng).ok())
            .and_then(|ranked| Chosen::new(ranked).ok())
            // Who does both needs no help.
            .filter(|prefilling| prefilling.position() != decoding.position());
        if let Some(prefilling) = &prefilling {
            self.turns.take(prefilling.position());
        }
        Ok(Decision::new(decoding, prefilling))
    }

    /// Ranks any healthy endpoints, for a request that costs none of them much.
    ///
    /// # Errors
    ///
    /// If there is no endpoint to choose.
    pub fn any_healthy<'a>(
        &'a mut self,
        view: View<'a>,
        terms: impl Into<Terms<'a>>,
        rng: &mut Rng,
    ) -> Result<Decision<'a>, NoCandidate> {
        self.matched.clear();
        self.turns.reserve(view.pool.endpoints().len(), rng);
        let ground = Ground {
            view,
            terms: terms.into(),
            matched: &self.matched,
            healthy_only: false,
        };
        let chosen = Chosen::new(self.run.rank(&self.any, ground, &self.turns, rng)?)?;
        self.turns.take(chosen.position());
        Ok(Decision::new(chosen, None))
    }
}

/// The first plan whose condition holds, the last where none does, leaving out the one that chooses
/// prefillers as long as there is another.
fn choose<'a>(plans: &'a [Plan], prefill: Option<usize>, request: Request<'_>) -> Option<&'a Plan> {
    let mut decoding = plans
        .iter()
        .enumerate()
        .filter(|(index, _)| Some(*index) != prefill)
        .map(|(_, plan)| plan);
    let holds = decoding
        .clone()
        .find(|plan| plan.profile.when.holds(request));
    holds.or_else(|| decoding.next_back()).or(plans.last())
}
