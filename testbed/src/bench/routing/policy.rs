//! Ways to choose a model server, all of them in the same Envoy.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};
use testbed::{
    envoy::{Configuration, HandOver},
    load::client::PROMPT_HASH_HEADER,
};

/// The names of things in the shipped configuration.
const FILTER: &str = "endpoint-picker";
const CLUSTER: &str = "model-servers";
const METRICS_CLUSTER: &str = "model-servers-metrics";

/// The filter's interval of scraping, in simulated time: its default.
pub(super) const SCRAPE_INTERVAL: Duration = Duration::from_millis(200);

/// The interval of the policy that shows what becomes of decisions between two scrapes that are far
/// apart.
const SLOW_SCRAPE_INTERVAL: Duration = Duration::from_secs(1);

/// A way to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Policy {
    /// This filter, with its default profile or the one that is asked for.
    EndpointPicker,
    /// The same, scraping every second instead of five times as often.
    #[value(name = "endpoint-picker-1s")]
    #[serde(rename = "endpoint-picker-1s")]
    EndpointPicker1s,
    /// This filter, with the scorers `queue` and `kv-cache-utilization` alone.
    QueueKv,
    /// Envoy's `ROUND_ROBIN`.
    RoundRobin,
    /// Envoy's `LEAST_REQUEST`: the less busy of two drawn at random.
    LeastRequest,
    /// Envoy's `RANDOM`.
    Random,
    /// Envoy's `RING_HASH` on the prompt's first bytes, which the client puts into a header as a
    /// hash.
    RingHash,
    /// Envoy's `MAGLEV` on the same.
    Maglev,
}

impl Policy {
    /// Its name, as on the command line.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::EndpointPicker => "endpoint-picker",
            Self::EndpointPicker1s => "endpoint-picker-1s",
            Self::QueueKv => "queue-kv",
            Self::RoundRobin => "round-robin",
            Self::LeastRequest => "least-request",
            Self::Random => "random",
            Self::RingHash => "ring-hash",
            Self::Maglev => "maglev",
        }
    }

    /// How often the filter scrapes, in simulated time.
    pub(super) const fn scrape_interval(self) -> Duration {
        match self {
            Self::EndpointPicker1s => SLOW_SCRAPE_INTERVAL,
            _ => SCRAPE_INTERVAL,
        }
    }

    /// The filter's `scheduling`; its default where none is said.
    fn scheduling(self, asked: Option<&Value>) -> Option<Value> {
        match self {
            Self::QueueKv => Some(json!({ "scorers": [
                { "type": "queue", "weight": 2 },
                { "type": "kv-cache-utilization", "weight": 2 },
            ] })),
            _ => asked.cloned(),
        }
    }

    /// The shipped configuration with this policy between these model servers. The filter scrapes
    /// every `interval`, and decides by `scheduling` where the policy has none of its own.
    ///
    /// For Envoy's own balancers, the filter is taken out and the cluster of the model servers made a
    /// `STATIC` one; listener, limits and the other filters stay.
    pub(super) fn configure(
        self,
        servers: &[SocketAddr],
        interval: Duration,
        scheduling: Option<&Value>,
    ) -> Result<Configuration> {
        let mut configuration = Configuration::shipped(HandOver::OriginalDstHeader)?;
        let Some(balancer) = self.balancer() else {
            let mut patch = json!({
                "endpoints": { "static": servers },
                "metrics": { "interval": humantime::format_duration(interval).to_string() },
            });
            if let (Some(scheduling), Some(patch)) =
                (self.scheduling(scheduling), patch.as_object_mut())
            {
                patch.insert("scheduling".to_owned(), scheduling);
            }
            return configuration.merge_plugin_configuration(&patch);
        };
        let tree = configuration.tree_mut();
        let manager = tree
            .pointer_mut("/static_resources/listeners/0/filter_chains/0/filters/0/typed_config")
            .context("no HTTP connection manager")?;
        named_list(manager, "http_filters")?.retain(|filter| !is_named(filter, FILTER));
        if self.hashes() {
            let route = manager
                .pointer_mut("/route_config/virtual_hosts/0/routes/0/route")
                .and_then(Value::as_object_mut)
                .context("no route")?;
            let header = json!({ "header": { "header_name": PROMPT_HASH_HEADER.as_str() } });
            route.insert("hash_policy".to_owned(), json!([header]));
        }
        let resources = tree
            .get_mut("static_resources")
            .context("no static resources")?;
        let clusters = named_list(resources, "clusters")?;
        clusters.retain(|cluster| !is_named(cluster, METRICS_CLUSTER));
        let cluster = clusters
            .iter_mut()
            .find(|cluster| is_named(cluster, CLUSTER))
            .and_then(Value::as_object_mut)
            .context("no cluster of model servers")?;
        cluster.remove("original_dst_lb_config");
        cluster.insert("type".to_owned(), json!("STATIC"));
        cluster.insert("lb_policy".to_owned(), json!(balancer));
        cluster.insert("load_assignment".to_owned(), load_assignment(servers));
        Ok(configuration)
    }

    /// Envoy's name for it; none where this filter chooses.
    const fn balancer(self) -> Option<&'static str> {
        match self {
            Self::EndpointPicker | Self::EndpointPicker1s | Self::QueueKv => None,
            Self::RoundRobin => Some("ROUND_ROBIN"),
            Self::LeastRequest => Some("LEAST_REQUEST"),
            Self::Random => Some("RANDOM"),
            Self::RingHash => Some("RING_HASH"),
            Self::Maglev => Some("MAGLEV"),
        }
    }

    /// Whether it goes by a hash of the prompt.
    const fn hashes(self) -> bool {
        matches!(self, Self::RingHash | Self::Maglev)
    }
}

fn load_assignment(servers: &[SocketAddr]) -> Value {
    let endpoint = |(number, server): (usize, &SocketAddr)| {
        let address = json!({ "address": server.ip().to_string(), "port_value": server.port() });
        // Where a server is on the ring: by its number, since its port is another in each run.
        let place = json!({ "envoy.lb": { "hash_key": format!("server-{number}") } });
        json!({
            "endpoint": { "address": { "socket_address": address } },
            "metadata": { "filter_metadata": place },
        })
    };
    let endpoints: Vec<Value> = servers.iter().enumerate().map(endpoint).collect();
    json!({ "cluster_name": CLUSTER, "endpoints": [{ "lb_endpoints": endpoints }] })
}

fn named_list<'tree>(parent: &'tree mut Value, name: &str) -> Result<&'tree mut Vec<Value>> {
    parent
        .get_mut(name)
        .and_then(Value::as_array_mut)
        .with_context(|| format!("no list {name}"))
}

fn is_named(value: &Value, name: &str) -> bool {
    value.get("name").and_then(Value::as_str) == Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(policy: Policy) -> Result<String> {
        let servers = ["127.0.0.1:1".parse()?, "127.0.0.1:2".parse()?];
        let asked = json!({ "scorers": [{ "type": "running-requests" }] });
        let configuration = policy.configure(&servers, Duration::from_millis(20), Some(&asked))?;
        Ok(configuration.tree().to_string())
    }

    #[test]
    fn the_profile_asked_for_is_that_of_policies_without_their_own() -> Result<()> {
        for policy in Policy::value_variants() {
            let text = configured(*policy)?;
            let asked = policy.balancer().is_none() && *policy != Policy::QueueKv;
            assert_eq!(text.contains("running-requests"), asked, "{policy:?}");
        }
        assert!(configured(Policy::QueueKv)?.contains("kv-cache-utilization"));
        Ok(())
    }

    #[test]
    fn only_the_pickers_envoy_has_the_filter() -> Result<()> {
        for policy in Policy::value_variants() {
            let text = configured(*policy)?;
            let expected = policy.balancer().is_none();
            assert_eq!(text.contains("filters.http.wasm"), expected, "{policy:?}");
            assert_eq!(text.contains("ORIGINAL_DST"), expected, "{policy:?}");
            assert_eq!(text.contains("STATIC"), !expected, "{policy:?}");
        }
        Ok(())
    }

    #[test]
    fn each_balancer_is_envoys_and_only_hashes_look_at_the_prompt() -> Result<()> {
        for policy in Policy::value_variants() {
            let text = configured(*policy)?;
            if let Some(balancer) = policy.balancer() {
                assert!(text.contains(&format!("\"lb_policy\":\"{balancer}\"")));
                assert!(text.contains("\"port_value\":2"));
            }
            let hashes = [Policy::RingHash, Policy::Maglev].contains(policy);
            assert_eq!(text.contains("hash_policy"), hashes, "{policy:?}");
        }
        Ok(())
    }
}
