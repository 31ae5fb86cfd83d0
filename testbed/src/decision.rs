//! What the filter says about its decisions, in Envoy's log at level debug of the component `wasm`.

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::{Context, Result};
use serde::Deserialize;

/// What stands before the JSON object in a log line.
const MARK: &str = "decision {";

/// One decision on one inference request.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// The request's `x-request-id`.
    pub request_id: Option<String>,
    /// The model it asks for.
    pub model: Option<String>,
    /// Whether it asks for a streamed answer.
    pub stream: bool,
    /// The length of its prompt, in bytes.
    pub prompt_bytes: u64,
    /// The profile that it was made by.
    #[serde(default)]
    pub profile: Option<String>,
    /// The endpoint that was picked.
    pub endpoint: SocketAddr,
    /// Every endpoint that could have been picked.
    pub candidates: Vec<Candidate>,
}

/// What an endpoint scored.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// The endpoint.
    pub endpoint: SocketAddr,
    /// The weighted sum of its scores.
    pub total: f64,
    /// Its scores, 0 to 1, by the scorer's type.
    pub scores: BTreeMap<String, f64>,
    /// What was on its way to it before this decision, as far as this worker knew.
    #[serde(default)]
    pub in_flight: Option<InFlight>,
}

/// What is on its way to an endpoint.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct InFlight {
    /// How many requests.
    pub requests: u32,
    /// How many tokens of their prompts.
    pub tokens: u64,
}

impl Decision {
    /// What was known of an endpoint that could have been picked.
    #[must_use]
    pub fn candidate(&self, endpoint: SocketAddr) -> Option<&Candidate> {
        let mut candidates = self.candidates.iter();
        candidates.find(|candidate| candidate.endpoint == endpoint)
    }

    /// What was on its way to all candidates together.
    ///
    /// # Errors
    ///
    /// When the log does not say it of one.
    pub fn in_flight(&self) -> Result<InFlight> {
        let mut sum = InFlight::default();
        for candidate in &self.candidates {
            let one = candidate.in_flight;
            let one = one.with_context(|| format!("no load in flight in {self:?}"))?;
            sum.requests += one.requests;
            sum.tokens += one.tokens;
        }
        Ok(sum)
    }

    /// The decision that a line of the log tells, if it tells one.
    #[must_use]
    pub fn in_line(line: &str) -> Option<Self> {
        let object = line.get(line.find(MARK)? + MARK.len() - 1..)?;
        serde_json::from_str(object).ok()
    }
}

/// The thread that wrote a line of Envoy's log: `[time][thread][level]…`. The first line is the
/// main thread's.
#[must_use]
pub fn thread_of(line: &str) -> Option<u32> {
    line.split(['[', ']']).nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_is_found_behind_envoys_prefix() {
        let line = concat!(
            "[2026-01-01 00:00:00.000][7][debug][wasm] [source/extensions/common/wasm/context.cc:1] wasm log ",
            r#"endpoint_picker: decision {"requestId":null,"model":"llama","stream":true,"promptBytes":5,"#,
            r#""endpoint":"127.0.0.1:1","candidates":[{"endpoint":"127.0.0.1:1","total":3.2,"scores":{"queue":1.0},"#,
            r#""inFlight":{"requests":2,"tokens":30}}]}"#,
        );
        assert_eq!(thread_of(line), Some(7));
        let decision = Decision::in_line(line).expect("a decision");
        assert_eq!(decision.model.as_deref(), Some("llama"));
        assert_eq!(decision.request_id, None);
        assert_eq!(decision.candidates[0].scores["queue"], 1.0);
        let in_flight = decision.in_flight().expect("a sum");
        assert_eq!((in_flight.requests, in_flight.tokens), (2, 30));
    }

    #[test]
    fn other_lines_tell_none() {
        assert_eq!(Decision::in_line("[debug][wasm] no decision {yet"), None);
        assert_eq!(Decision::in_line(""), None);
    }
}
