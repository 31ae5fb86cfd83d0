//! Envoy's admin interface.

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::{Context, Result};
use hyper::{Request, http::request::Builder};
use serde_json::Value;

use crate::client::{self, Connection, Protocol, Reply};

/// The admin interface of one Envoy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admin {
    address: SocketAddr,
}

/// What Envoy has done with updates of its listeners.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListenerUpdates {
    /// Listeners added to a worker, summed over the workers. An update counts once a worker.
    pub(super) created_on_workers: u64,
    /// Updates refused.
    pub(super) rejected: u64,
}

impl Admin {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    pub(super) async fn get(&self, path: &str) -> Result<Reply> {
        self.send(Request::get(path)).await
    }

    pub(super) async fn post(&self, path: &str) -> Result<Reply> {
        self.send(Request::post(path)).await
    }

    async fn send(&self, request: Builder) -> Result<Reply> {
        let mut connection = Connection::open(self.address, Protocol::Http1).await?;
        connection.send(request.body(client::empty())?).await
    }

    /// The counters and gauges whose names start with `prefix`.
    pub(super) async fn stats(&self, prefix: &str) -> Result<BTreeMap<String, u64>> {
        let text = self.get("/stats").await?.text();
        let stats = text
            .lines()
            .filter(|line| line.starts_with(prefix))
            .filter_map(|line| {
                let (name, value) = line.split_once(": ")?;
                Some((name.to_owned(), value.parse().ok()?))
            });
        Ok(stats.collect())
    }

    /// One of the counters or gauges of each host in a cluster.
    pub(super) async fn host_stats(
        &self,
        cluster: &str,
        stat: &str,
    ) -> Result<BTreeMap<SocketAddr, u64>> {
        let text = self.get("/clusters").await?.text();
        // cluster::address::stat::value
        let stats = text.lines().filter_map(|line| {
            let line = line.strip_prefix(cluster)?.strip_prefix("::")?;
            let (line, value) = line.rsplit_once("::")?;
            let address = line.strip_suffix(stat)?.strip_suffix("::")?;
            Some((address.parse().ok()?, value.parse().ok()?))
        });
        Ok(stats.collect())
    }

    /// Where a listener listens.
    pub(super) async fn listener(&self, name: &str) -> Result<SocketAddr> {
        let listeners: Value = self.get("/listeners?format=json").await?.json()?;
        let listeners = listeners
            .get("listener_statuses")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        let address = listeners
            .filter(|listener| listener.get("name").and_then(Value::as_str) == Some(name))
            .find_map(|listener| listener.pointer("/local_address/socket_address"))
            .with_context(|| format!("Envoy has no listener {name:?}"))?;
        let ip = address
            .get("address")
            .and_then(Value::as_str)
            .context("a listener without address")?;
        let port = address
            .get("port_value")
            .and_then(Value::as_u64)
            .context("a listener without port")?;
        Ok(SocketAddr::new(ip.parse()?, port.try_into()?))
    }

    pub(super) async fn listener_updates(&self) -> Result<ListenerUpdates> {
        let stats = self.stats("listener_manager.").await?;
        let stat = |name| stats.get(name).copied().unwrap_or_default();
        Ok(ListenerUpdates {
            created_on_workers: stat("listener_manager.listener_create_success"),
            rejected: stat("listener_manager.lds.update_rejected"),
        })
    }
}
