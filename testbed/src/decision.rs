//! What the filter says about its decisions, in Envoy's log at level debug of the component `wasm`.

use std::{collections::BTreeMap, net::SocketAddr};

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
    /// The endpoint that was picked.
    pub endpoint: SocketAddr,
    /// Every endpoint that could have been picked.
    pub candidates: Vec<Candidate>,
}

/// What an endpoint scored.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Candidate {
    /// The endpoint.
    pub endpoint: SocketAddr,
    /// The weighted sum of its scores.
    pub total: f64,
    /// Its scores, 0 to 1, by the scorer's type.
    pub scores: BTreeMap<String, f64>,
}

impl Decision {
    /// The decision that a line of the log tells, if it tells one.
    #[must_use]
    pub fn in_line(line: &str) -> Option<Self> {
        let object = line.get(line.find(MARK)? + MARK.len() - 1..)?;
        serde_json::from_str(object).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_is_found_behind_envoys_prefix() {
        let line = concat!(
            "[2026-01-01 00:00:00.000][7][debug][wasm] [source/extensions/common/wasm/context.cc:1] wasm log ",
            r#"endpoint_picker: decision {"requestId":null,"model":"llama","stream":true,"promptBytes":5,"#,
            r#""endpoint":"127.0.0.1:1","candidates":[{"endpoint":"127.0.0.1:1","total":3.2,"scores":{"queue":1.0}}]}"#,
        );
        let decision = Decision::in_line(line).expect("a decision");
        assert_eq!(decision.model.as_deref(), Some("llama"));
        assert_eq!(decision.request_id, None);
        assert_eq!(decision.candidates[0].scores["queue"], 1.0);
    }

    #[test]
    fn other_lines_tell_none() {
        assert_eq!(Decision::in_line("[debug][wasm] no decision {yet"), None);
        assert_eq!(Decision::in_line(""), None);
    }
}
