//! An endpoint that fails takes nothing from the others: their metrics stay fresh, and no request
//! is lost.

use std::net::SocketAddr;

use anyhow::Result;
use serde_json::json;
use testbed::{
    bed,
    client::{Connection, Protocol},
    envoy::{Envoy, HandOver},
    model_server::{Load, MetricsFault, ModelServer},
    poll,
};
use tokio::net::TcpSocket;

use crate::support::{
    INTERVAL, PATIENCE, assert_filter_never_failed, chat, connections_to_every_worker,
    scraping_every, served_by,
};

/// An address at which connections are refused: its port is taken, and nobody listens.
struct DeadEndpoint {
    _holds_the_port: TcpSocket,
    address: SocketAddr,
}

impl DeadEndpoint {
    fn new() -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(([127, 0, 0, 1], 0).into())?;
        Ok(Self {
            address: socket.local_addr()?,
            _holds_the_port: socket,
        })
    }
}

#[tokio::test]
async fn healthy_servers_stay_fresh_beside_failing_ones() -> Result<()> {
    for hand_over in HandOver::ALL {
        let dead = DeadEndpoint::new()?;
        let [first, second, hanging, garbage, refusing] = [
            ModelServer::start().await?,
            ModelServer::start().await?,
            ModelServer::start().await?,
            ModelServer::start().await?,
            ModelServer::start().await?,
        ];
        hanging.set_metrics_fault(Some(MetricsFault::Hang));
        garbage.set_metrics_fault(Some(MetricsFault::Garbage));
        refusing.set_metrics_fault(Some(MetricsFault::Status(500)));
        let failing = [&hanging, &garbage, &refusing].map(ModelServer::address);
        let pool = [
            dead.address,
            failing[0],
            first.address(),
            failing[1],
            second.address(),
            failing[2],
        ];
        let configuration = scraping_every(INTERVAL, hand_over)?.with_pool(&json!(pool))?;
        let envoy = Envoy::start(configuration).await?;
        bed::loads_known([&first, &second]).await?;
        let mut connections = connections_to_every_worker(&envoy, Protocol::Http1).await?;

        // However loaded they are, even without any free KV cache: those who cannot tell their load
        // are never taken for idle.
        for (best, other) in [(&first, &second), (&second, &first), (&first, &second)] {
            for (server, waiting) in [(best, 20), (other, 40)] {
                server.set_load(Load {
                    waiting,
                    running: 64,
                    kv_cache_usage: 1.0,
                });
            }
            bed::loads_known([&first, &second]).await?;
            for connection in &mut connections {
                assert_eq!(served_by(connection, chat()?).await?, best.address());
            }
        }
        assert!(
            !hanging.scrapes().is_empty()
                && !garbage.scrapes().is_empty()
                && !refusing.scrapes().is_empty()
        );

        // And who can tell again is believed again.
        garbage.set_metrics_fault(None);
        bed::loads_known([&garbage]).await?;
        for connection in &mut connections {
            assert_eq!(served_by(connection, chat()?).await?, garbage.address());
        }
        assert_filter_never_failed(&envoy).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_named() -> Result<()> {
    let server = ModelServer::start().await?;
    let configuration = scraping_every(INTERVAL, HandOver::OriginalDstHeader)?
        .with_pool(&json!([server.address()]))?
        .merge_plugin_configuration(&json!({ "metrics": { "cluster": "modelservers" } }))?;
    let envoy = Envoy::start(configuration).await?;
    let said = "failed: not sent through the cluster \"modelservers\"";
    poll::until("the log to name it", PATIENCE, async || {
        Ok((!envoy.log_lines_containing(said).is_empty()).then_some(()))
    })
    .await?;
    // What cannot be scraped still serves.
    let mut connection = Connection::open(envoy.address(), Protocol::Http1).await?;
    served_by(&mut connection, chat()?).await?;
    assert_filter_never_failed(&envoy).await
}
