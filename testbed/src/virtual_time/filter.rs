//! The filter's configuration.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use endpoint_picker::config::{PoolSettings, Settings};
use serde_json::{Value, json};

/// Before the first of the servers' addresses, which nobody listens on: 10.0.0.0.
const NETWORK: u32 = 0x0a00_0000;

/// Where each serves.
const PORT: u16 = 8000;

/// The filter as it is configured for a run: its defaults, but for what is said here.
#[derive(Clone, Debug)]
pub struct Filter {
    pub(super) settings: Settings,
    pub(super) pool: PoolSettings,
}

impl Filter {
    /// The filter before this many servers, each of which it scrapes once an `interval`. It chooses
    /// by `scheduling`, as it stands in the filter's configuration, or by its default.
    ///
    /// # Errors
    ///
    /// When the filter refuses that configuration: in its own words, which name the field. When
    /// prefill and decode are to be split, which the simulated engines do not do.
    pub fn new(servers: usize, interval: Duration, scheduling: Option<&Value>) -> Result<Self> {
        let addresses: Vec<SocketAddr> = (NETWORK + 1..)
            .take(servers)
            .map(|bits| (Ipv4Addr::from_bits(bits), PORT).into())
            .collect();
        let mut configuration = json!({
            "endpoints": { "static": addresses },
            "metrics": {
                "cluster": "model-servers-metrics",
                "interval": humantime::format_duration(interval).to_string(),
            },
        });
        if let (Some(scheduling), Some(fields)) = (scheduling, configuration.as_object_mut()) {
            fields.insert("scheduling".to_owned(), scheduling.clone());
        }
        let mut settings = Settings::from_json(configuration.to_string().as_bytes())?;
        let pool = settings.pools.pop().context("no pool")?;
        ensure!(
            pool.scheduling.disaggregation.is_none(),
            "scheduling: prefill and decode are not split here, the simulated engines do both"
        );
        Ok(Self { settings, pool })
    }

    /// How many servers it has.
    #[must_use]
    pub fn servers(&self) -> usize {
        self.pool.endpoints.len()
    }

    /// How often it scrapes each, in seconds.
    #[must_use]
    pub fn interval(&self) -> f64 {
        self.pool.metrics.scrape.interval.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(200);

    #[test]
    fn what_the_filter_refuses_is_refused_in_its_words() {
        for (scheduling, path, found) in [
            (
                json!({ "scorers": [{ "type": "queue" }, { "type": "qeue" }] }),
                "scheduling.scorers[1].type",
                "qeue",
            ),
            (
                json!({ "scorers": [{ "type": "queue", "weight": -1 }] }),
                "scheduling.scorers[0].weight",
                "-1",
            ),
            (json!({ "scorer": [] }), "scheduling", "scorer"),
            (
                json!({
                    "profiles": [
                        { "name": "decode", "when": { "paths": ["/x"] } },
                        { "name": "prefill" },
                    ],
                    "disaggregation": { "prefillProfile": "prefill" },
                }),
                "scheduling",
                "",
            ),
        ] {
            let refused = Filter::new(2, INTERVAL, Some(&scheduling));
            let message = refused.expect_err("none of them is possible").to_string();
            assert!(message.starts_with(path), "{message}");
            assert!(message.contains(found), "{message}");
        }
    }

    #[test]
    fn an_endpoint_picker_config_is_a_scheduling_too() -> Result<()> {
        let theirs = json!({
            "apiVersion": "llm-d.ai/v1alpha1",
            "kind": "EndpointPickerConfig",
            "plugins": [{ "type": "queue-scorer" }],
            "schedulingProfiles": [
                { "name": "default", "plugins": [{ "pluginRef": "queue-scorer", "weight": 2 }] },
            ],
        });
        let own = json!({ "scorers": [{ "type": "queue", "weight": 2 }] });
        let theirs = Filter::new(3, INTERVAL, Some(&theirs))?;
        let own = Filter::new(3, INTERVAL, Some(&own))?;
        let scorers = |filter: &Filter| filter.pool.scheduling.profiles[0].scorers.clone();
        assert_eq!(scorers(&theirs), scorers(&own));
        assert_eq!((own.servers(), own.interval()), (3, 0.2));
        Ok(())
    }
}
