//! The model in a body chooses among routes, and among the pools of one filter.

use anyhow::{Context, Result};
use hyper::{StatusCode, header::HeaderValue};
use serde_json::{Value, json};
use testbed::{
    bed::loads_known,
    client::{Connection, Protocol, Reply},
    envoy::{Configuration, Envoy, HandOver, REQUEST_CLUSTER},
    model_server::{ModelServer, Received},
};

use crate::support::{
    INTERVAL, addresses, assert_filter_never_failed, chat_for, get, queue, scraping_every,
};

/// The response header in which a route says that it was taken.
const ROUTE: &str = "x-route";

/// The request headers that tell routes the model.
const MODEL: &str = "x-gateway-model-name";
const BASE: &str = "x-gateway-base-model-name";

#[tokio::test]
async fn routes_are_chosen_by_the_model_in_the_body() -> Result<()> {
    for hand_over in HandOver::BY_HEADER {
        let server = ModelServer::start().await?;
        let patch = json!({
            "headers": { "modelHeaders": true },
            "models": { "names": {
                "gpt-4o": { "targets": [{ "model": "llama-70b" }] },
                "sql": { "base": "llama-70b" },
            } },
        });
        let mut configuration = scraping_every(INTERVAL, hand_over)?
            .merge_plugin_configuration(&patch)?
            .with_pool(&json!([server.address()]))?;
        add_route(&mut configuration, "base-is-70b", BASE, "llama-70b")?;
        add_route(&mut configuration, "named-phi", MODEL, "phi")?;
        let envoy = Envoy::start(configuration).await?;
        loads_known([&server]).await?;

        for protocol in [Protocol::Http1, Protocol::Http2] {
            let mut connection = Connection::open(envoy.address(), protocol).await?;
            for (requested, base, route) in [
                ("llama-70b", "llama-70b", Some("base-is-70b")),
                ("gpt-4o", "llama-70b", Some("base-is-70b")),
                ("sql", "llama-70b", Some("base-is-70b")),
                ("phi", "phi", Some("named-phi")),
                ("other", "other", None),
            ] {
                let reply = connection.send(chat_for(requested)?).await?;
                let case = format!("{requested}, {protocol:?}, {hand_over}");
                assert_eq!(reply.status, StatusCode::OK, "{}: {case}", reply.text());
                assert_eq!(route_of(&reply), route, "{case}");
                let received = server.requests().pop().context("nothing")?;
                assert_eq!(header(&received, MODEL), [requested], "{case}");
                assert_eq!(header(&received, BASE), [base], "{case}");
            }
            // What a client says of it chooses nothing.
            for (requested, route) in [("phi", Some("named-phi")), ("other", None)] {
                let mut request = chat_for(requested)?;
                for name in [MODEL, BASE] {
                    let forged = HeaderValue::from_static("llama-70b");
                    request.headers_mut().append(name, forged.clone());
                    request.headers_mut().append(name, forged);
                }
                let reply = connection.send(request).await?;
                assert_eq!(route_of(&reply), route, "{requested}");
                let received = server.requests().pop().context("nothing")?;
                assert_eq!(header(&received, MODEL), [requested]);
                assert_eq!(header(&received, BASE), [requested]);
            }
            let mut request = get("/v1/models")?;
            let forged = HeaderValue::from_static("llama-70b");
            request.headers_mut().append(BASE, forged);
            let reply = connection.send(request).await?;
            assert_eq!((reply.status, route_of(&reply)), (StatusCode::OK, None));
        }
        assert_filter_never_failed(&envoy).await?;
    }
    Ok(())
}

#[tokio::test]
async fn one_filter_serves_several_pools_by_model() -> Result<()> {
    for hand_over in HandOver::ALL {
        let mut servers = Vec::new();
        for waiting in [300, 0, 200, 100, 0] {
            let server = ModelServer::start().await?;
            server.set_load(queue(waiting));
            servers.push(server);
        }
        let all = addresses(&servers);
        let (large, rest) = all.split_at(2);
        let (small, others) = rest.split_at(2);
        let mut configuration = with_pools(
            scraping_every(INTERVAL, hand_over)?,
            &[
                json!({ "name": "large", "models": ["llama-70b*"], "endpoints": { "static": large } }),
                json!({ "name": "small", "models": ["llama-8b", "llama-70b-small"], "endpoints": { "static": small } }),
                json!({ "name": "others", "endpoints": { "static": others } }),
            ],
        )?;
        let models = json!({ "names": {
            "gpt-4o": { "targets": [{ "model": "llama-70b-v2" }] },
            "sql": { "base": "llama-8b" },
        } });
        configuration = configuration.merge_plugin_configuration(&json!({ "models": models }))?;
        let hosts: Vec<String> = all.iter().map(ToString::to_string).collect();
        configuration.set_hosts(hosts.iter().map(String::as_str))?;
        let envoy = Envoy::start(configuration).await?;
        loads_known(&servers).await?;

        for protocol in [Protocol::Http1, Protocol::Http2] {
            let mut connection = Connection::open(envoy.address(), protocol).await?;
            for (model, best) in [
                ("llama-70b", 1),
                ("llama-70b-instruct", 1),
                ("llama-70b-small", 3),
                ("llama-8b", 3),
                ("llama-8b-instruct", 4),
                ("phi", 4),
                ("gpt-4o", 1),
                ("sql", 3),
            ] {
                for _ in 0..3 {
                    let reply = connection.send(chat_for(model)?).await?;
                    let case = format!("{model}, {protocol:?}, {hand_over}: {}", reply.text());
                    assert_eq!(reply.model_server(), Some(all[best]), "{case}");
                }
            }
            let reply = connection.send(get("/v1/models")?).await?;
            assert_eq!(reply.model_server(), Some(all[4]), "{hand_over}");
        }
        assert_filter_never_failed(&envoy).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_model_that_no_pool_serves_is_not_found() -> Result<()> {
    let server = ModelServer::start().await?;
    let pool = json!({ "name": "one", "models": ["llama"], "endpoints": { "static": [server.address()] } });
    let configuration = with_pools(
        scraping_every(INTERVAL, HandOver::OriginalDstHeader)?,
        &[pool],
    )?;
    let envoy = Envoy::start(configuration).await?;
    let mut connection = Connection::open(envoy.address(), Protocol::Http1).await?;
    let reply = connection.send(chat_for("phi")?).await?;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
    let error: Value = reply.json()?;
    assert_eq!(error["error"]["code"], "model_not_found");
    let reply = connection.send(chat_for("llama")?).await?;
    assert_eq!(reply.model_server(), Some(server.address()));
    // What names no model goes to the first.
    let reply = connection.send(get("/v1/models")?).await?;
    assert_eq!(reply.model_server(), Some(server.address()));
    Ok(())
}

/// Puts pools in the place of the one of a shipped configuration, each with its metrics.
fn with_pools(configuration: Configuration, pools: &[Value]) -> Result<Configuration> {
    let metrics = configuration.plugin_settings()?["metrics"].clone();
    let pools: Vec<Value> = pools
        .iter()
        .map(|pool| {
            let mut pool = pool.clone();
            pool["metrics"] = metrics.clone();
            pool
        })
        .collect();
    configuration.merge_plugin_configuration(&json!({
        "pool": null, "endpoints": null, "metrics": null, "scheduling": null, "pools": pools,
    }))
}

/// Puts a route before all others, with a cluster of its own, which is like the one of the others.
fn add_route(
    configuration: &mut Configuration,
    name: &str,
    header: &str,
    value: &str,
) -> Result<()> {
    let mut cluster = configuration.cluster(REQUEST_CLUSTER)?.clone();
    cluster["name"] = json!(name);
    if let Some(assignment) = cluster.get_mut("load_assignment") {
        assignment["cluster_name"] = json!(name);
    }
    configuration.clusters()?.push(cluster);
    let routes = configuration
        .virtual_host()?
        .pointer_mut("/routes")
        .and_then(Value::as_array_mut)
        .context("no routes")?;
    let mut route = routes.last().context("no route")?.clone();
    route["match"]["headers"] = json!([{ "name": header, "string_match": { "exact": value } }]);
    route["route"]["cluster"] = json!(name);
    route["response_headers_to_add"] = json!([{ "header": { "key": ROUTE, "value": name } }]);
    routes.insert(0, route);
    Ok(())
}

fn route_of(reply: &Reply) -> Option<&str> {
    reply.headers.get(ROUTE)?.to_str().ok()
}

fn header<'a>(received: &'a Received, name: &str) -> Vec<&'a str> {
    let values = received.headers.get_all(name).iter();
    values.filter_map(|value| value.to_str().ok()).collect()
}
