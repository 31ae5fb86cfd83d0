//! Simulated model servers behind a real Envoy.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use anyhow::Result;
use serde_json::{Value, json};

use crate::{
    client::{Connection, Protocol},
    envoy::{Configuration, Envoy},
    model_server::{Load, ModelServer},
    poll,
};

/// How long the filter may take until it has scraped everyone: many intervals, whatever the
/// interval, on whatever machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two ticks of a VM at the slowest pace: within that each tells what it has routed and what of it is
/// over, and hears what was published.
const TWO_TICKS: Duration = Duration::from_millis(40);

/// Model servers, and an Envoy whose pool they are.
#[derive(Debug)]
pub struct Bed {
    /// The Envoy.
    pub envoy: Envoy,
    /// The model servers, in the order of their loads.
    pub servers: Vec<ModelServer>,
}

impl Bed {
    /// Starts a model server for each of `loads`, and an Envoy with exactly these in its pool;
    /// waits until the filter knows their loads.
    ///
    /// # Errors
    ///
    /// As [`ModelServer::start`] and [`Envoy::start`]; or when nobody scrapes the servers.
    pub async fn start(configuration: Configuration, loads: &[Load]) -> Result<Self> {
        let mut servers = Vec::new();
        for load in loads {
            let server = ModelServer::start().await?;
            server.set_load(*load);
            servers.push(server);
        }
        let pool: Vec<SocketAddr> = servers.iter().map(ModelServer::address).collect();
        let bed = Self::around(configuration, servers, &json!(pool)).await?;
        loads_known(&bed.servers).await?;
        Ok(bed)
    }

    /// Starts an Envoy for these model servers, with them in its pool as `pool` writes them into
    /// the configuration.
    ///
    /// # Errors
    ///
    /// As [`Envoy::start`].
    pub async fn around(
        configuration: Configuration,
        servers: Vec<ModelServer>,
        pool: &Value,
    ) -> Result<Self> {
        let envoy = Envoy::start(configuration.with_pool(pool)?).await?;
        Ok(Self { envoy, servers })
    }

    /// Opens a connection to the listener `inference`.
    ///
    /// # Errors
    ///
    /// When Envoy does not accept it.
    pub async fn connect(&self, protocol: Protocol) -> Result<Connection> {
        Connection::open(self.envoy.address(), protocol).await
    }
}

/// Waits until the filter knows, in every worker, the loads that these servers have at the moment
/// of the call: until each was scraped three times more. The first may have been under way when the
/// load was set. The second brings it. By the third the second was read, since one scrape of a
/// server is in flight at a time, and was published, which goes before the third is sent. Scrapes
/// that were held up come one right after the other, so the workers have their ticks before and
/// after.
///
/// A worker whose thread gets no processor meanwhile reads what comes on its connections before it
/// ticks. On a connection that is opened later its tick goes first: it has to accept that.
///
/// # Errors
///
/// When they are not scraped.
pub async fn loads_known<'server>(
    servers: impl IntoIterator<Item = &'server ModelServer>,
) -> Result<()> {
    tokio::time::sleep(TWO_TICKS).await;
    let before: Vec<(&ModelServer, usize)> = servers
        .into_iter()
        .map(|server| (server, server.scrapes().len()))
        .collect();
    poll::until("every model server to be scraped", PATIENCE, async || {
        Ok(before
            .iter()
            .all(|(server, scrapes)| server.scrapes().len() >= scrapes + 3)
            .then_some(()))
    })
    .await?;
    tokio::time::sleep(TWO_TICKS).await;
    Ok(())
}

/// As [`loads_known`], for any model servers: goes by what Envoy counts.
///
/// # Errors
///
/// When they are not scraped, or the admin interface does not answer.
pub async fn scraped(envoy: &Envoy, pool: &[SocketAddr]) -> Result<()> {
    let before = envoy.scrapes().await?;
    let count =
        |scrapes: &BTreeMap<_, _>, address| scrapes.get(address).copied().unwrap_or_default();
    poll::until("every model server to be scraped", PATIENCE, async || {
        let scrapes = envoy.scrapes().await?;
        Ok(pool
            .iter()
            .all(|address| count(&scrapes, address) >= count(&before, address) + 3)
            .then_some(()))
    })
    .await
}
