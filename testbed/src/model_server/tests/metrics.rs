//! Where metrics are, and who may see them.

use anyhow::Result;
use hyper::{Method, StatusCode, header::AUTHORIZATION};
use serde_json::Value;

use super::{
    super::{Dialect, Load, MetricsAccess, MetricsFault, ModelServer},
    connect, get, metric, request,
};
use crate::client::{Connection, Protocol};

#[tokio::test]
async fn a_canned_server_shows_and_withholds_in_its_own_dialect() -> Result<()> {
    let server = ModelServer::start_as(Dialect::Sglang).await?;
    server.set_load(Load {
        waiting: 3,
        ..Load::default()
    });
    let mut connection = connect(&server).await?;
    let waiting = "sglang:num_queue_reqs";
    assert_eq!(metric(&mut connection, waiting).await?, 3.0);
    server.set_metrics_fault(Some(MetricsFault::Missing(vec![waiting.to_owned()])));
    assert!(metric(&mut connection, waiting).await.is_err());
    assert_eq!(
        metric(&mut connection, "sglang:num_running_reqs").await?,
        0.0
    );
    Ok(())
}

#[tokio::test]
async fn metrics_are_where_they_were_put_and_nowhere_else() -> Result<()> {
    let usual = MetricsAccess::default();
    let elsewhere = MetricsAccess {
        path: "/v1/metrics",
        own_port: true,
        ..usual
    };
    for access in [usual, elsewhere] {
        let server = ModelServer::start_with(Dialect::Vllm, access).await?;
        assert_eq!(
            server.metrics_address() != server.address(),
            access.own_port
        );
        let mut found = Vec::new();
        for (port, address) in [server.address(), server.metrics_address()]
            .into_iter()
            .enumerate()
        {
            let mut connection = Connection::open(address, Protocol::Http1).await?;
            for path in ["/metrics", "/v1/metrics", "/v1/models"] {
                let reply = get(&mut connection, path).await?;
                assert_eq!(reply.model_server(), Some(server.address()));
                if reply.status == StatusCode::OK {
                    found.push((port, path));
                }
            }
        }
        if access.own_port {
            assert_eq!(found, [(0, "/v1/models"), (1, "/v1/metrics")]);
            assert_eq!(server.scrapes().len(), 1);
        } else {
            let everything = ["/metrics", "/v1/models"];
            assert_eq!(
                found,
                [0, 1]
                    .map(|port| everything.map(|path| (port, path)))
                    .concat()
            );
            assert_eq!(server.scrapes().len(), 2);
        }
    }
    Ok(())
}

#[tokio::test]
async fn metrics_behind_a_header_are_for_who_has_it() -> Result<()> {
    let access = MetricsAccess {
        header: Some(("authorization", "Bearer secret")),
        ..MetricsAccess::default()
    };
    let server = ModelServer::start_with(Dialect::Vllm, access).await?;
    let mut connection = connect(&server).await?;
    for (token, status) in [
        (None, StatusCode::UNAUTHORIZED),
        (Some("Bearer other"), StatusCode::UNAUTHORIZED),
        (Some("Bearer secret"), StatusCode::OK),
    ] {
        let mut request = request(Method::GET, "/metrics", &Value::Null)?;
        if let Some(token) = token {
            request.headers_mut().insert(AUTHORIZATION, token.parse()?);
        }
        assert_eq!(connection.send(request).await?.status, status, "{token:?}");
        let seen = server.last_scrape();
        assert_eq!(
            seen.get(AUTHORIZATION)
                .map(|value| value.to_str())
                .transpose()?,
            token
        );
    }
    assert_eq!(server.scrapes().len(), 3, "whatever was answered");
    Ok(())
}
