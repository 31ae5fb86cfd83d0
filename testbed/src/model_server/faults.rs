//! How a model server misbehaves, on request and at run time.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

/// How `/metrics` fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricsFault {
    /// The request is taken and never answered.
    Hang,
    /// The answer comes this many milliseconds late.
    Late(u64),
    /// The answer is 200 with bytes that are no exposition.
    Garbage,
    /// The answer is 200 with an exposition of 5 MiB.
    Huge,
    /// The connection is closed in the middle of the exposition.
    Cut,
    /// The answer has this status and no exposition.
    Status(u16),
    /// The answer lacks these families.
    Missing(Vec<String>),
}

/// All that is wrong with a server; by default nothing is. Over HTTP it is the JSON that
/// `PUT /simulator/faults` takes, in which what is left out is not wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// How many times longer each step takes, more than 0; 1 is as fast as its speed class says.
    pub slow: f64,
    /// The engine stands still: requests are taken, and get no more tokens. Metrics go on.
    pub hang: bool,
    /// The share of inference requests that are answered 500 at once, 0 to 1.
    pub errors: f64,
    /// The share of inference requests whose connection is closed in the middle of their answer,
    /// 0 to 1.
    pub resets: f64,
    /// How `/metrics` fails.
    pub metrics: Option<MetricsFault>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            slow: 1.0,
            hang: false,
            errors: 0.0,
            resets: 0.0,
            metrics: None,
        }
    }
}

impl Faults {
    /// # Errors
    ///
    /// When a value is out of its range; the message names it.
    pub(super) fn check(&self) -> Result<()> {
        ensure!(
            self.slow.is_finite() && self.slow > 0.0,
            "slow: {} is not a factor above 0",
            self.slow
        );
        for (name, share) in [("errors", self.errors), ("resets", self.resets)] {
            ensure!(
                (0.0..=1.0).contains(&share),
                "{name}: {share} is not a share from 0 to 1"
            );
        }
        if let Some(MetricsFault::Status(status)) = self.metrics {
            ensure!(
                (200..600).contains(&status),
                "metrics.status: {status} is not a status from 200 to 599"
            );
        }
        Ok(())
    }
}

/// Picks a share of what comes by, evenly and without chance: of every ten with a share of 0.3,
/// three.
#[derive(Debug, Default)]
pub(super) struct Share {
    due: f64,
}

impl Share {
    /// Whether the next one is picked.
    pub(super) fn picks(&mut self, share: f64) -> bool {
        self.due += share;
        // Sums of shares such as 0.1 fall short of whole numbers by rounding.
        let picked = self.due > 1.0 - 1e-9;
        if picked {
            self.due -= 1.0;
        }
        picked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_picked_evenly() {
        for (share, expected) in [(0.0, 0), (0.1, 10), (0.3, 30), (1.0, 100)] {
            let mut picks = Share::default();
            let picked = (0..100).filter(|_| picks.picks(share)).count();
            assert_eq!(picked, expected, "{share}");
        }
    }

    #[test]
    fn what_is_out_of_range_is_refused_by_name() {
        for (json, complaint) in [
            (r#"{"slow": 0}"#, "slow: "),
            (r#"{"errors": 1.5}"#, "errors: "),
            (r#"{"resets": -1}"#, "resets: "),
            (r#"{"metrics": {"status": 99}}"#, "metrics.status: "),
        ] {
            let faults: Faults = serde_json::from_str(json).unwrap();
            let error = faults.check().unwrap_err().to_string();
            assert!(error.starts_with(complaint), "{error}");
        }
        assert!(serde_json::from_str::<Faults>(r#"{"hangs": true}"#).is_err());
        assert!(Faults::default().check().is_ok());
    }
}
