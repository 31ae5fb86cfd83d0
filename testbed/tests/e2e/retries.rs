//! With `override-host` an attempt that fails goes on to the next endpoint of the ranking.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use hyper::StatusCode;
use serde_json::json;
use testbed::{
    bed::{Bed, loads_known},
    client::{self, Connection, Protocol},
    envoy::{Envoy, HandOver},
    model_server::{self, ModelServer},
    poll,
};
use tokio::{sync::Notify, task::JoinSet};

use crate::support::{
    CHAT, INTERVAL, PATIENCE, addresses, assert_filter_never_failed, bed_with, chat,
    connections_to_every_worker, held_by, long_chat_as, post, queue, retries, scraping_every,
    served_by, server_of, servers_and_metrics, with_metrics_of,
};

/// Of four servers the second is the best, the third comes next.
const QUEUES: [u32; 4] = [200, 0, 100, 300];

/// The header of the ranking.
const DESTINATION: &str = "x-gateway-destination-endpoint";

#[tokio::test]
async fn no_request_is_lost_when_the_first_choice_dies_under_load() -> Result<()> {
    let (mut servers, metrics) = servers_and_metrics(&QUEUES).await?;
    let envoy = with_metrics_elsewhere(&servers, &metrics).await?;
    let first = servers[1].address();
    let second = servers[2].address();

    let load = Load::start(&envoy, 8);
    poll::until("the first choice to be under load", PATIENCE, async || {
        Ok((servers[1].requests().len() >= 200).then_some(()))
    })
    .await?;
    let _gone = servers.remove(1).close().await?;
    let second_server = &servers[1];
    poll::until("the second choice to be under load", PATIENCE, async || {
        Ok((second_server.requests().len() >= 200).then_some(()))
    })
    .await?;
    let served = load.stop().await?;
    assert!(served.contains(&first));
    assert!(
        served.iter().all(|server| [first, second].contains(server)),
        "somebody else has served"
    );
    assert!(retries(&envoy).await? > 0);
    assert_filter_never_failed(&envoy).await
}

#[tokio::test]
async fn attempts_walk_the_ranking_from_the_best_to_the_worst() -> Result<()> {
    let (mut servers, metrics) = servers_and_metrics(&QUEUES).await?;
    let envoy = with_metrics_elsewhere(&servers, &metrics).await?;

    let ranking = [1, 2, 0].map(|server: usize| servers[server].address());
    let last = servers.swap_remove(0);
    let mut gone = Vec::new();
    for server in servers {
        gone.push(server.close().await?);
    }
    let mut connection = Connection::open(envoy.address(), Protocol::Http1).await?;
    assert_eq!(served_by(&mut connection, chat()?).await?, last.address());
    assert_eq!(retries(&envoy).await?, 2);
    let received = last.requests().pop().context("nothing")?;
    let list = received.headers.get(DESTINATION).context("no list")?;
    assert_eq!(list, &ranking.map(|address| address.to_string()).join(","));
    assert_filter_never_failed(&envoy).await
}

#[tokio::test]
async fn a_prompt_is_held_by_who_has_read_it_after_a_retry() -> Result<()> {
    let (mut servers, metrics) = servers_and_metrics(&[500, 0, 250]).await?;
    let configuration = scraping_every(INTERVAL, HandOver::OverrideHost)?
        .merge_plugin_configuration(&json!({ "destination": { "ranked": 3 } }))?
        .with_pool(&with_metrics_of(&metrics, &servers))?;
    let envoy = Envoy::start(configuration).await?;
    loads_known(&metrics).await?;
    let all = addresses(&servers);
    let mut connections = connections_to_every_worker(&envoy, Protocol::Http2).await?;

    let _gone = servers.remove(1).close().await?;
    let served = served_by(&mut connections[0], long_chat_as("first")?).await?;
    assert_eq!(served, all[2]);
    assert_eq!(envoy.decision_on("first").await?.endpoint, all[1]);
    assert_eq!(retries(&envoy).await?, 1);

    // The one that was chosen is a candidate again, which has not read it, whoever is asked.
    for server in &metrics {
        server.set_load(queue(0));
    }
    loads_known(&metrics).await?;
    for (number, connection) in connections.iter_mut().enumerate() {
        // Answered by the filter itself: whose thread got no processor has ticked when it reads the next,
        // and nobody has found again who is gone.
        let reply = connection.send(post(CHAT, client::whole("{"))?).await?;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{}", reply.text());
        let id = format!("next-{number}");
        let served = served_by(connection, long_chat_as(&id)?).await?;
        let decision = envoy.decision_on(&id).await?;
        assert_eq!(held_by(&decision, &all)?, [0.0, 0.0, 1.0], "{decision:?}");
        assert_eq!((decision.endpoint, served), (all[2], all[2]));
    }
    assert_eq!(retries(&envoy).await?, 1);
    assert_filter_never_failed(&envoy).await
}

#[tokio::test]
async fn a_retry_takes_back_no_more_than_it_entered() -> Result<()> {
    let (mut servers, metrics) = servers_and_metrics(&[0, 250]).await?;
    let configuration = scraping_every(INTERVAL, HandOver::OverrideHost)?
        .with_pool(&with_metrics_of(&metrics, &servers))?;
    let envoy = Envoy::start(configuration).await?;
    loads_known(&metrics).await?;
    let all = addresses(&servers);
    let mut connection = Connection::open(envoy.address(), Protocol::Http1).await?;
    let mut gone = Vec::new();
    // Which it serves, and cannot when it is asked again.
    for (id, server) in [("first", all[0]), ("second", all[1])] {
        let served = served_by(&mut connection, long_chat_as(id)?).await?;
        assert_eq!(served, server, "{id}");
        assert_eq!(envoy.decision_on(id).await?.endpoint, all[0], "{id}");
        if id == "first" {
            gone.push(servers.remove(0).close().await?);
        }
    }
    metrics[1].set_load(queue(0));
    loads_known(&metrics).await?;
    // Whose worker accepts it after its tick.
    let mut connection = Connection::open(envoy.address(), Protocol::Http1).await?;
    connection.send(long_chat_as("third")?).await?;
    let decision = envoy.decision_on("third").await?;
    assert_eq!(held_by(&decision, &all)?, [1.0, 1.0], "{decision:?}");
    assert_filter_never_failed(&envoy).await
}

#[tokio::test]
async fn the_ranking_is_as_long_as_configured() -> Result<()> {
    for ranked in [1, 2, 4] {
        let bed = ranked_bed(ranked, &[queue(200), queue(0), queue(100)]).await?;
        let all = bed.servers.iter().map(ModelServer::address);
        let all: Vec<String> = all.map(|address| address.to_string()).collect();
        let expected: Vec<&str> = [1, 2, 0].iter().take(ranked).map(|it| &*all[*it]).collect();
        let mut connection = bed.connect(Protocol::Http1).await?;
        served_by(&mut connection, chat()?).await?;
        let received = bed.servers[1].requests().pop().context("nothing")?;
        let list = received.headers.get(DESTINATION).context("no list")?;
        assert_eq!(list, &expected.join(","));
    }
    Ok(())
}

#[tokio::test]
async fn an_answer_is_not_tried_again() -> Result<()> {
    // What a model server has refused, another one would refuse as well.
    let bed = ranked_bed(3, &[queue(0), queue(100)]).await?;
    let mut connection = bed.connect(Protocol::Http1).await?;
    let request = post(CHAT, client::whole("{}"))?;
    let reply = connection.send(request).await?;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{}", reply.text());
    assert_eq!(server_of(&reply)?, bed.servers[0].address());
    assert_eq!(retries(&bed.envoy).await?, 0);
    Ok(())
}

/// An Envoy with rankings of three, which learns by requests alone that one of these servers is gone.
async fn with_metrics_elsewhere(servers: &[ModelServer], metrics: &[ModelServer]) -> Result<Envoy> {
    let configuration = scraping_every(INTERVAL, HandOver::OverrideHost)?
        .merge_plugin_configuration(&json!({ "destination": { "ranked": 3 } }))?
        .with_pool(&with_metrics_of(metrics, servers))?;
    let envoy = Envoy::start(configuration).await?;
    loads_known(metrics).await?;
    Ok(envoy)
}

/// A bed with rankings of this length, which model servers see.
async fn ranked_bed(ranked: usize, loads: &[model_server::Load]) -> Result<Bed> {
    let patch = json!({ "destination": { "ranked": ranked } });
    bed_with(HandOver::OverrideHost, &patch, loads).await
}

/// Requests without end.
struct Load {
    stop: Arc<Notify>,
    clients: JoinSet<Result<Vec<SocketAddr>>>,
}

impl Load {
    fn start(envoy: &Envoy, clients: usize) -> Self {
        let stop = Arc::new(Notify::new());
        let mut tasks = JoinSet::new();
        for number in 0..clients {
            let (address, stop) = (envoy.address(), Arc::clone(&stop));
            let protocol = [Protocol::Http1, Protocol::Http2][number % 2];
            tasks.spawn(async move {
                let mut stopped = std::pin::pin!(stop.notified());
                let mut connection = Connection::open(address, protocol).await?;
                let mut served = Vec::new();
                loop {
                    let reply = connection.send(chat()?).await?;
                    ensure!(
                        reply.status == StatusCode::OK,
                        "{}: {}",
                        reply.status,
                        reply.text()
                    );
                    served.push(server_of(&reply)?);
                    let brief = Duration::from_millis(1);
                    if tokio::time::timeout(brief, stopped.as_mut()).await.is_ok() {
                        return Ok(served);
                    }
                }
            });
        }
        Self {
            stop,
            clients: tasks,
        }
    }

    /// Who has served each request; an error if any was not served.
    async fn stop(mut self) -> Result<Vec<SocketAddr>> {
        self.stop.notify_waiters();
        let mut served = Vec::new();
        while let Some(client) = self.clients.join_next().await {
            served.extend(client??);
        }
        Ok(served)
    }
}
