//! What the headers of a request say that is to count in its routing, and what of it means anything.

use core::str::FromStr;
use std::net::SocketAddr;

use serde::Serialize;

/// Longer than any name that is meant.
pub(super) const MAX_HINT: usize = 256;
/// A thousand endpoints of IPv4.
pub(super) const MAX_SUBSET: usize = 24 << 10;

/// What the headers say of a request that is to count in its routing.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestHints {
    /// The name of the objective that the request serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objective: Option<Box<str>>,
    /// Whom this request is counted to where requests compete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fairness_id: Option<Box<str>>,
    /// Milliseconds within which the first token should come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slo_ttft_ms: Option<f64>,
    /// Milliseconds that each token after it should take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slo_tpot_ms: Option<f64>,
    /// The model to ask for instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_rewrite: Option<Box<str>>,
    /// The endpoints to choose from; all of the pool if it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subset: Option<Vec<SocketAddr>>,
    /// How many values were ignored.
    #[serde(skip_serializing_if = "is_zero")]
    pub invalid: u32,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What a header hints at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hint {
    Objective,
    FairnessId,
    SloTtft,
    SloTpot,
    ModelRewrite,
    Subset,
}

/// By which of its two names a hint comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Proper,
    Alias,
}

/// The hints as they come.
#[derive(Debug, Default)]
pub(super) struct HintReader {
    objective: Slot<Box<str>>,
    fairness_id: Slot<Box<str>>,
    slo_ttft_ms: Slot<f64>,
    slo_tpot_ms: Slot<f64>,
    model_rewrite: Slot<Box<str>>,
    subset: Option<Vec<SocketAddr>>,
    invalid: u32,
}

/// The value that counts so far, and by which name it came.
type Slot<T> = Option<(Name, T)>;

impl HintReader {
    /// Takes a header's value.
    pub(super) fn take(&mut self, hint: Hint, name: Name, value: &[u8]) {
        let is_valid = match hint {
            Hint::Objective => put(&mut self.objective, name, text(value)),
            Hint::FairnessId => put(&mut self.fairness_id, name, text(value)),
            Hint::SloTtft => put(&mut self.slo_ttft_ms, name, milliseconds(value)),
            Hint::SloTpot => put(&mut self.slo_tpot_ms, name, milliseconds(value)),
            Hint::ModelRewrite => put(&mut self.model_rewrite, name, text(value)),
            Hint::Subset => return self.narrow(value),
        };
        self.invalid += u32::from(!is_valid);
    }

    /// What has been taken.
    pub(super) fn finish(self) -> RequestHints {
        RequestHints {
            objective: self.objective.map(|(_, value)| value),
            fairness_id: self.fairness_id.map(|(_, value)| value),
            slo_ttft_ms: self.slo_ttft_ms.map(|(_, value)| value),
            slo_tpot_ms: self.slo_tpot_ms.map(|(_, value)| value),
            model_rewrite: self.model_rewrite.map(|(_, value)| value),
            subset: self.subset,
            invalid: self.invalid,
        }
    }

    /// Takes addresses separated by commas. What is none is ignored, but not that there should have
    /// been some: a list of which nothing is left allows nothing.
    fn narrow(&mut self, mut list: &[u8]) {
        let subset = self.subset.get_or_insert_default();
        if let Some((kept, _)) = list.split_at_checked(MAX_SUBSET + 1) {
            self.invalid += 1;
            // What is cut in two is no address that was meant.
            let end = kept.iter().rposition(|&byte| byte == b',');
            list = kept.get(..end.unwrap_or_default()).unwrap_or_default();
        }
        for entry in list.split(|&byte| byte == b',') {
            let entry = entry.trim_ascii();
            match parse(entry) {
                Some(address) => subset.push(address),
                None => self.invalid += u32::from(!entry.is_empty()),
            }
        }
    }
}

/// Tells whether there is a value, and keeps it if it counts more than the one before.
fn put<T>(slot: &mut Slot<T>, name: Name, value: Option<T>) -> bool {
    let Some(value) = value else {
        return false;
    };
    let is_better = match slot {
        None => true,
        Some((before, _)) => (*before, name) == (Name::Alias, Name::Proper),
    };
    if is_better {
        *slot = Some((name, value));
    }
    true
}

fn bounded(value: &[u8]) -> Option<&str> {
    let value = value.trim_ascii();
    let is_bounded = (1..=MAX_HINT).contains(&value.len());
    core::str::from_utf8(value).ok().filter(|_| is_bounded)
}

fn text(value: &[u8]) -> Option<Box<str>> {
    let text = bounded(value)?;
    (!text.contains(char::is_control)).then(|| text.into())
}

fn milliseconds(value: &[u8]) -> Option<f64> {
    let number: f64 = bounded(value)?.parse().ok()?;
    (number.is_finite() && number > 0.0).then_some(number)
}

/// Of a value's bytes.
pub(super) fn parse<T: FromStr>(value: &[u8]) -> Option<T> {
    core::str::from_utf8(value).ok()?.parse().ok()
}
