//! What a decision weighs: profiles, and when which of them counts.

use super::{Disaggregation, Filter, Picker, PrefixCache, Request, Scorer, TokenLoad};

/// A scorer and how much it counts.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightedScorer {
    /// The scorer.
    pub scorer: Scorer,
    /// The factor of its score, finite and not negative.
    pub weight: f64,
}

/// Who may be chosen, what counts, and who wins.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Its name in the configuration and in explanations.
    pub name: String,
    /// The requests that it is for.
    pub when: Condition,
    /// Each leaves out candidates, in this order.
    pub filters: Vec<Filter>,
    /// Summed by weight.
    pub scorers: Vec<WeightedScorer>,
    /// Chooses by the sums.
    pub picker: Picker,
}

/// Which requests a profile is for: those for which all of it holds. Of an empty list all do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Condition {
    /// Headers of which each has the value, or is there where none is said.
    pub headers: Vec<HeaderCondition>,
    /// The models of which one is asked for.
    pub models: Vec<crate::models::ModelPattern>,
    /// Paths of which the request's ends with one.
    pub paths: Vec<String>,
}

/// What a header must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderCondition {
    /// The header's place in [`WatchedHeaders`](super::WatchedHeaders).
    pub header: usize,
    /// Its value; any if it is not said.
    pub value: Option<String>,
}

/// How one endpoint of a pool is chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Scheduling {
    /// The first whose condition holds counts, and the last where none does. At least one.
    pub profiles: Vec<Profile>,
    /// How prefill and decode are split between endpoints, if they are.
    pub disaggregation: Option<Disaggregation>,
}

/// Tokens in flight and not yet read that make an endpoint as good as taken: some seconds of prefill.
const TAKEN_TOKENS: u64 = 16_384;

/// What serves a fleet near saturation better than the [Endpoint Picker's](Profile::endpoint_picker), by
/// `scripts/bench routing`: that lets a queue that is longer by one request outweigh a prompt that has
/// been read, where tokens in flight tell sooner and finer who has time.
impl Default for Profile {
    fn default() -> Self {
        let tokens = TokenLoad {
            queue_threshold_tokens: TAKEN_TOKENS,
        };
        Self::of([
            (Scorer::Queue, 1.0),
            (Scorer::KvCacheUtilization, 1.0),
            (Scorer::PrefixCache(PrefixCache::default()), 3.0),
            (Scorer::LoraAffinity, 3.0),
            (Scorer::TokenLoad(tokens), 4.0),
        ])
    }
}

impl Profile {
    /// The Endpoint Picker's default.
    #[must_use]
    pub fn endpoint_picker() -> Self {
        Self::of([
            (Scorer::Queue, 2.0),
            (Scorer::KvCacheUtilization, 2.0),
            (Scorer::PrefixCache(PrefixCache::default()), 3.0),
        ])
    }

    fn of<const N: usize>(scorers: [(Scorer, f64); N]) -> Self {
        let weighted = |(scorer, weight)| WeightedScorer { scorer, weight };
        Self {
            name: "default".to_owned(),
            when: Condition::default(),
            filters: Vec::new(),
            scorers: scorers.map(weighted).into(),
            picker: Picker::default(),
        }
    }

    /// Whether it asks which endpoints hold the prompt's beginning.
    #[must_use]
    pub fn needs_prefixes(&self) -> bool {
        self.filters.iter().any(Filter::needs_prefixes)
            || self.scorers.iter().any(|it| it.scorer.needs_prefixes())
    }
}

impl Default for Scheduling {
    fn default() -> Self {
        Profile::default().into()
    }
}

/// By this profile alone.
impl From<Profile> for Scheduling {
    fn from(profile: Profile) -> Self {
        Self {
            profiles: vec![profile],
            disaggregation: None,
        }
    }
}

impl Condition {
    /// Whether a profile is for this request.
    #[must_use]
    pub fn holds(&self, request: Request<'_>) -> bool {
        let Request {
            headers,
            model,
            path,
            ..
        } = request;
        let says = |condition: &HeaderCondition| {
            let value = headers.get(condition.header).and_then(Option::as_deref);
            match (&condition.value, value) {
                (_, None) => false,
                (None, Some(_)) => true,
                (Some(expected), Some(value)) => expected.as_bytes() == value,
            }
        };
        self.headers.iter().all(says)
            && (self.models.is_empty()
                || model.is_some_and(|model| self.models.iter().any(|it| it.matches(model))))
            && (self.paths.is_empty()
                || self
                    .paths
                    .iter()
                    .any(|suffix| path.ends_with(suffix.as_bytes())))
    }
}
