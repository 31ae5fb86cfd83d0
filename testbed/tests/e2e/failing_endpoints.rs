//! An endpoint that fails takes nothing from the others: their metrics stay fresh, and requests go to
//! them.

use anyhow::Result;
use hyper::StatusCode;
use serde_json::json;
use testbed::{
    bed::{self, Bed},
    client::{Connection, Protocol},
    envoy::{Envoy, HandOver, LOG_DELAY},
    model_server::{ClosedPort, Load, MetricsFault, ModelServer, SimulatorConfig},
    poll,
};

use crate::support::{
    INTERVAL, PATIENCE, addresses, assert_filter_never_failed, bed, bed_with, chat, chat_as,
    connections_to_every_worker, filter_stats, get, held_by, loads_known_to, long_chat_as, queue,
    retries, scraping_every, served_by, server_of, servers_and_metrics, with_metrics_of,
};

/// A response header that tells who has served.
const SERVED: &str = "x-served";

/// A response header that tells where the session is.
const TOKEN: &str = "x-session-token";

/// In the line that tells of a server from which a request got no answer.
const NO_ANSWER: &str = "it gave a request no answer";

#[tokio::test]
async fn healthy_servers_stay_fresh_beside_failing_ones() -> Result<()> {
    for hand_over in HandOver::ALL {
        let dead = ClosedPort::new()?;
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
            dead.address(),
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
            loads_known_to(&mut connections, [&first, &second]).await?;
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
        loads_known_to(&mut connections, [&garbage]).await?;
        for connection in &mut connections {
            assert_eq!(served_by(connection, chat()?).await?, garbage.address());
        }
        assert_filter_never_failed(&envoy).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_refuses_a_request_gets_no_other_until_it_is_back() -> Result<()> {
    for hand_over in HandOver::ALL {
        let mut bed = bed(hand_over, &[queue(0), queue(500)]).await?;
        // Of one worker: each has to find out by itself, if the scrapes do not before.
        let mut connection = bed.connect(Protocol::Http1).await?;
        let gone = bed.servers.remove(0).close().await?;
        let address = gone.address();

        let mut lost = 0;
        for _ in 0..10 {
            let reply = connection.send(chat()?).await?;
            match reply.status {
                StatusCode::OK => assert_eq!(server_of(&reply)?, bed.servers[0].address()),
                StatusCode::SERVICE_UNAVAILABLE => lost += 1,
                status => panic!("{status}: {}", reply.text()),
            }
        }
        // A retry goes to the next of the ranking, where there is one.
        let retried = retries(&bed.envoy).await?;
        assert!(lost + retried <= 1, "{hand_over}: {lost}, {retried}");
        assert!(lost == 0 || hand_over != HandOver::OverrideHost);

        let config = SimulatorConfig {
            model: "llama".to_owned(),
            ..SimulatorConfig::default()
        };
        let _back = ModelServer::simulate_at(address, config).await?;
        poll::until("the server to be chosen again", PATIENCE, async || {
            let served = served_by(&mut connection, chat()?).await?;
            Ok((served == address).then_some(()))
        })
        .await?;
        assert_filter_never_failed(&bed.envoy).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_prompt_that_no_server_got_is_held_by_none() -> Result<()> {
    for hand_over in HandOver::ALL {
        for has_room in [true, false] {
            let (mut servers, metrics) = servers_and_metrics(&[0, 0]).await?;
            let mut configuration = scraping_every(INTERVAL, hand_over)?
                .with_pool(&with_metrics_of(&metrics, &servers))?;
            if !has_room {
                let thresholds = json!([{ "max_requests": 0, "max_pending_requests": 0 }]);
                let cluster = configuration.cluster("model-servers")?;
                cluster["circuit_breakers"]["thresholds"] = thresholds;
            }
            let envoy = Envoy::start(configuration).await?;
            bed::loads_known(&metrics).await?;
            let all = addresses(&servers);
            let mut gone = Vec::new();
            if has_room {
                for server in servers.drain(..) {
                    gone.push(server.close().await?);
                }
            }
            for id in ["first", "second"] {
                let mut connection = Connection::open(envoy.address(), Protocol::Http1).await?;
                let reply = connection.send(long_chat_as(id)?).await?;
                assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{hand_over}");
                let decision = envoy.decision_on(id).await?;
                let held = held_by(&decision, &all)?;
                assert_eq!(held, [0.0, 0.0], "{hand_over}, {has_room}: {decision:?}");
                // They are candidates again.
                bed::loads_known(&metrics).await?;
            }
            assert_filter_never_failed(&envoy).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_server_whose_metrics_alone_fail_serves_on_by_what_they_told() -> Result<()> {
    let patch = json!({ "metrics": { "timeout": "1s" } });
    let loads = [queue(0), queue(500)];
    let bed = bed_with(HandOver::OriginalDstHeader, &patch, &loads).await?;
    let [silent, other] = [&bed.servers[0], &bed.servers[1]];
    let mut connections = connections_to_every_worker(&bed.envoy, Protocol::Http1).await?;
    for (fault, reason) in [
        (MetricsFault::Hang, "timeout"),
        (MetricsFault::Status(404), "status"),
        (MetricsFault::Huge, "too_large"),
    ] {
        let counter = format!("scrape_failures.{reason}");
        let before = filter_stats(&bed.envoy).await?[&counter];
        silent.set_metrics_fault(Some(fault));
        poll::until(&counter, PATIENCE, async || {
            let counted = filter_stats(&bed.envoy).await?[&counter];
            Ok((counted > before).then_some(()))
        })
        .await?;
        // Every worker knows what the scrapes have found by now.
        loads_known_to(&mut connections, [other]).await?;
        for connection in &mut connections {
            assert_eq!(served_by(connection, chat()?).await?, silent.address());
        }
        silent.set_metrics_fault(None);
        bed::loads_known([silent]).await?;
    }
    assert_filter_never_failed(&bed.envoy).await
}

#[tokio::test]
async fn metrics_are_as_old_as_the_scrape_that_asked_for_them() -> Result<()> {
    // Longer than any machine stands still, for the other's sake.
    let patch = json!({ "metrics": { "staleAfter": "5s" } });
    let loads = [queue(0), queue(500)];
    let bed = bed_with(HandOver::OriginalDstHeader, &patch, &loads).await?;
    let [late, other] = [&bed.servers[0], &bed.servers[1]];
    let mut connection = bed.connect(Protocol::Http1).await?;
    assert_eq!(served_by(&mut connection, chat()?).await?, late.address());

    // What it answers tells of a time that is too long ago when it comes.
    late.set_metrics_fault(Some(MetricsFault::Late(7_000)));
    let asked = late.scrapes().len();
    poll::until("its metrics to be stale", PATIENCE, async || {
        let served = served_by(&mut connection, chat()?).await?;
        Ok((served == other.address()).then_some(()))
    })
    .await?;
    poll::until("two late answers", PATIENCE, async || {
        assert_eq!(served_by(&mut connection, chat()?).await?, other.address());
        Ok((late.scrapes().len() >= asked + 3).then_some(()))
    })
    .await?;

    late.set_metrics_fault(None);
    poll::until("it to be chosen again", PATIENCE, async || {
        let served = served_by(&mut connection, chat()?).await?;
        Ok((served == late.address()).then_some(()))
    })
    .await?;
    assert_filter_never_failed(&bed.envoy).await
}

#[tokio::test]
async fn where_nobody_is_scraped_a_server_that_refuses_a_request_gets_no_other() -> Result<()> {
    let unknown = json!({ "metrics": { "cluster": "nowhere" } });
    for hand_over in [
        HandOver::OriginalDstHeader,
        HandOver::OriginalDstFilterState,
    ] {
        let dead = ClosedPort::new()?;
        let alive = ModelServer::start().await?;
        let configuration = scraping_every(INTERVAL, hand_over)?
            .merge_plugin_configuration(&unknown)?
            .with_pool(&json!([dead.address(), alive.address()]))?;
        let envoy = Envoy::start(configuration).await?;
        let mut connection = Connection::open(envoy.address(), Protocol::Http1).await?;
        let mut lost = 0;
        for _ in 0..20 {
            // Without a prompt they take turns.
            let reply = connection.send(get("/v1/models")?).await?;
            lost += u32::from(reply.status != StatusCode::OK);
        }
        assert!(lost <= 1, "{hand_over}: {lost} lost");
        assert_filter_never_failed(&envoy).await?;
    }
    Ok(())
}

#[tokio::test]
async fn where_a_route_leads_elsewhere_nobody_of_the_pool_is_found_to_fail() -> Result<()> {
    let dead = ClosedPort::new()?;
    let alive = ModelServer::start().await?;
    for hand_over in HandOver::ALL {
        let mut configuration = scraping_every(INTERVAL, hand_over)?;
        for (name, address) in [("dead", dead.address()), ("alive", alive.address())] {
            let endpoint = json!({ "endpoint": { "address": { "socket_address": {
                "address": address.ip(), "port_value": address.port(),
            } } } });
            configuration.clusters()?.push(json!({
                "name": name,
                "type": "STATIC",
                "load_assignment": {
                    "cluster_name": name,
                    "endpoints": [{ "lb_endpoints": [endpoint] }],
                },
            }));
            let prefix = format!("/{name}");
            let route = json!({ "match": { "prefix": prefix }, "route": { "cluster": name } });
            configuration = configuration.with_route(&route)?;
        }
        let bed = Bed::start(configuration, &[queue(0), queue(0)]).await?;
        let mut connection = bed.connect(Protocol::Http1).await?;
        for _ in 0..4 {
            let reply = connection.send(get("/dead")?).await?;
            assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{hand_over}");
            let reply = connection.send(get("/alive/v1/models")?).await?;
            assert_eq!(reply.status, StatusCode::NOT_FOUND, "{hand_over}");
        }
        served_by(&mut connection, chat()?).await?;
        let not_reached = bed.envoy.log_lines_containing(NO_ANSWER);
        assert_eq!(not_reached, Vec::<String>::new(), "{hand_over}");
        assert_filter_never_failed(&bed.envoy).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_refuses_a_scrape_is_no_candidate_in_any_worker() -> Result<()> {
    let loads = [queue(0), queue(500)];
    let mut bed = bed(HandOver::OriginalDstHeader, &loads).await?;
    let mut connections = connections_to_every_worker(&bed.envoy, Protocol::Http1).await?;
    // The busy one: no request goes there, and none finds out.
    let closed = bed.servers.remove(1).close().await?;
    let gone = closed.address();
    let mut attempts = 0;
    for (number, connection) in connections.iter_mut().enumerate() {
        poll::until("a decision without the server", PATIENCE, async || {
            attempts += 1;
            let id = format!("{number}-{attempts}");
            let reply = connection.send(chat_as(&id)?).await?;
            assert_eq!(server_of(&reply)?, bed.servers[0].address());
            let decision = bed.envoy.decision_on(&id).await?;
            Ok(decision.candidate(gone).is_none().then_some(()))
        })
        .await?;
    }
    assert_filter_never_failed(&bed.envoy).await
}

#[tokio::test]
async fn a_cluster_that_takes_no_scrapes_is_named_in_the_log_and_stops_no_request() -> Result<()> {
    const SCRAPES: &str = "model-servers-metrics";

    let shipped = || scraping_every(INTERVAL, HandOver::OriginalDstHeader);
    let unknown = json!({ "metrics": { "cluster": "nowhere" } });
    let unknown = shipped()?.merge_plugin_configuration(&unknown)?;
    let mut without_hosts = shipped()?;
    without_hosts.cluster(SCRAPES)?["original_dst_lb_config"] = json!({});
    let mut without_room = shipped()?;
    let thresholds = json!([{ "max_requests": 0, "max_pending_requests": 0 }]);
    without_room.cluster(SCRAPES)?["circuit_breakers"]["thresholds"] = thresholds;
    for (named, configuration) in [
        ("nowhere", unknown),
        (SCRAPES, without_hosts),
        (SCRAPES, without_room),
    ] {
        let server = ModelServer::start().await?;
        let configuration = configuration.with_pool(&json!([server.address()]))?;
        let envoy = Envoy::start(configuration).await?;
        let sign = format!("through the cluster {named:?}");
        poll::until("a line that names the cluster", LOG_DELAY, async || {
            Ok((!envoy.log_lines_containing(&sign).is_empty()).then_some(()))
        })
        .await?;
        for connection in &mut connections_to_every_worker(&envoy, Protocol::Http1).await? {
            assert_eq!(served_by(connection, chat()?).await?, server.address());
        }
        let stats = filter_stats(&envoy).await?;
        assert!(stats["scrape_failures.not_sent"] > 0, "{stats:?}");
        assert!(server.scrapes().is_empty());
        assert_filter_never_failed(&envoy).await?;
    }
    Ok(())
}

#[tokio::test]
async fn where_envoy_answers_nobody_has_served_and_no_session_begins() -> Result<()> {
    let patch = json!({
        "destination": { "servedHeader": SERVED },
        "scheduling": { "scorers": [
            { "type": "session-affinity", "parameters": { "header": TOKEN } },
        ] },
    });
    for hand_over in HandOver::ALL {
        let mut bed = bed_with(hand_over, &patch, &[queue(0)]).await?;
        let mut connection = bed.connect(Protocol::Http1).await?;
        let reply = connection.send(chat()?).await?;
        assert_eq!(reply.headers[SERVED], server_of(&reply)?.to_string());
        assert!(reply.headers.contains_key(TOKEN), "{hand_over}");

        let _gone = bed.servers.remove(0).close().await?;
        let reply = connection.send(chat()?).await?;
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{hand_over}");
        for name in [SERVED, TOKEN] {
            assert_eq!(reply.headers.get(name), None, "{hand_over}");
        }
        assert_filter_never_failed(&bed.envoy).await?;
    }
    Ok(())
}
