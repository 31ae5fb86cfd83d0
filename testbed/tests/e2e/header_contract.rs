//! The headers by which gateways and the filter tell each other things: a client that sends them gains
//! nothing, and a gateway that is trusted is heard.

use anyhow::{Context, Result};
use hyper::{
    Request, StatusCode,
    header::{HeaderName, HeaderValue},
};
use serde_json::{Value, json};
use testbed::{
    bed::Bed,
    client::{Body, Protocol},
    envoy::HandOver,
    model_server::ModelServer,
};

use crate::support::{
    INTERVAL, addresses, assert_filter_never_failed, bed_with, chat, chat_as, chat_for,
    filter_stats, get, model_of, queue, scraping_every, served_by,
};

const SUBSET: &str = "x-gateway-destination-endpoint-subset";
const REWRITE: &str = "x-llm-d-model-name-rewrite";
const REWRITE_ALIAS: &str = "x-gateway-model-name-rewrite";
const SERVED: &str = "x-gateway-destination-endpoint-served";

/// A header of the destination's that is not the default of any hand-over.
const OWN_DESTINATION: &str = "x-own-destination";

/// Every header that is not for clients to send.
const FORGED: [&str; 9] = [
    "x-envoy-original-dst-host",
    "x-gateway-destination-endpoint",
    OWN_DESTINATION,
    SERVED,
    SUBSET,
    REWRITE,
    REWRITE_ALIAS,
    "x-gateway-model-name",
    "x-gateway-base-model-name",
];

#[tokio::test]
async fn a_client_gains_nothing_by_the_gateways_own_headers() -> Result<()> {
    for hand_over in HandOver::ALL {
        for has_own_header in [false, true] {
            let is_header = hand_over != HandOver::OriginalDstFilterState;
            if has_own_header && !is_header {
                continue;
            }
            let decoy = ModelServer::start().await?;
            let bed = guarded_by_the_filter_alone(hand_over, has_own_header).await?;
            let forged = FORGED
                .into_iter()
                .filter(|name| has_own_header || *name != OWN_DESTINATION);
            for protocol in [Protocol::Http1, Protocol::Http2] {
                let mut connection = bed.connect(protocol).await?;
                for name in forged.clone() {
                    let case = format!("{name}, {protocol:?}, {hand_over}, own {has_own_header}");
                    for value in [decoy.address(), bed.servers[2].address()] {
                        let value = HeaderValue::from_str(&value.to_string())?;
                        not_heard(&bed, &mut connection, name, &[&value])
                            .await
                            .context(case.clone())?;
                        let empty = HeaderValue::from_static("");
                        let bytes = HeaderValue::from_bytes(b"\xff\xfe")?;
                        not_heard(&bed, &mut connection, name, &[&empty, &value])
                            .await
                            .context(case.clone())?;
                        not_heard(&bed, &mut connection, name, &[&bytes, &value])
                            .await
                            .context(case.clone())?;
                    }
                }
            }
            assert!(decoy.requests().is_empty(), "{:?}", decoy.requests());
            assert_filter_never_failed(&bed.envoy).await?;
        }
    }
    Ok(())
}

/// Sends a header with these values, and asserts that all is as if it had not been sent.
async fn not_heard(
    bed: &Bed,
    connection: &mut testbed::client::Connection,
    name: &str,
    values: &[&HeaderValue],
) -> Result<()> {
    for (request, is_inference) in [(chat()?, true), (get("/v1/models")?, false)] {
        let request = with(request, name, values)?;
        let reply = connection.send(request).await?;
        assert_eq!(reply.status, StatusCode::OK, "{name}: {}", reply.text());
        let server = reply.model_server().context("Envoy has answered")?;
        let server = bed
            .servers
            .iter()
            .find(|it| it.address() == server)
            .with_context(|| format!("{server} is not of the pool"))?;
        if is_inference {
            assert_eq!(server.address(), bed.servers[1].address(), "{name}");
        }
        let received = server.requests().pop().context("nothing")?;
        // What the filter has set itself may be there.
        let own = server.address().to_string();
        for value in received
            .headers
            .get_all(name)
            .iter()
            .filter(|it| **it != own)
        {
            assert!(!values.contains(&value), "{name}: {value:?} has arrived");
        }
        if is_inference {
            assert_eq!(model_of(&received)?, "llama", "{name}");
        }
        assert_eq!(reply.headers.get(SERVED), None);
    }
    Ok(())
}

/// A bed with no other guard than the filter: not the header mutation in front of it, and none on the
/// way out, so that model servers see what is left.
async fn guarded_by_the_filter_alone(hand_over: HandOver, has_own_header: bool) -> Result<Bed> {
    let mut configuration = scraping_every(INTERVAL, hand_over)?
        .without_header_guard()?
        .without_upstream_filters()?;
    if has_own_header {
        let patch = json!({ "destination": { "header": OWN_DESTINATION } });
        configuration = configuration
            .merge_plugin_configuration(&patch)?
            .with_destination_header(OWN_DESTINATION)?;
    }
    Bed::start(configuration, &[queue(300), queue(0), queue(600)]).await
}

#[tokio::test]
async fn a_subset_counts_if_the_gateway_is_trusted() -> Result<()> {
    let patch = json!({ "headers": { "trusted": [SUBSET] } });
    for hand_over in HandOver::ALL {
        let bed = bed_with(hand_over, &patch, &[queue(300), queue(0), queue(600)]).await?;
        let all: Vec<String> = addresses(&bed.servers)
            .iter()
            .map(ToString::to_string)
            .collect();
        for protocol in [Protocol::Http1, Protocol::Http2] {
            let mut connection = bed.connect(protocol).await?;
            for (subset, best) in [
                (format!("{}, {}", all[0], all[2]), 0),
                (all[2].clone(), 2),
                (format!("10.0.0.1:80,{}", all[2]), 2),
                (all.join(","), 1),
            ] {
                let value = HeaderValue::from_str(&subset)?;
                let server = served_by(&mut connection, with(chat()?, SUBSET, &[&value])?).await?;
                let case = format!("{subset}, {protocol:?}, {hand_over}");
                assert_eq!(server, bed.servers[best].address(), "{case}");
            }
            let value = HeaderValue::from_static("10.0.0.1:80");
            let reply = connection.send(with(chat()?, SUBSET, &[&value])?).await?;
            assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{hand_over}");
            assert_eq!(reply.json::<Value>()?["error"]["code"], "no_endpoint");
            assert!(reply.headers.contains_key("retry-after"));
        }
        assert_filter_never_failed(&bed.envoy).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_model_is_renamed_if_the_gateway_is_trusted() -> Result<()> {
    for hand_over in HandOver::ALL {
        for trusted in [REWRITE, REWRITE_ALIAS] {
            let patch = json!({
                "headers": { "trusted": [trusted] },
                "models": { "names": { "alias": { "targets": [{ "model": "target" }] } } },
            });
            let bed = bed_with(hand_over, &patch, &[queue(0)]).await?;
            for protocol in [Protocol::Http1, Protocol::Http2] {
                let mut connection = bed.connect(protocol).await?;
                for name in [REWRITE, REWRITE_ALIAS] {
                    for (requested, value, as_trusted, otherwise) in [
                        ("llama", "phi", "phi", "llama"),
                        // What the configuration says of a name goes first.
                        ("alias", "phi", "target", "target"),
                    ] {
                        let value = HeaderValue::from_static(value);
                        let request = with(chat_for(requested)?, name, &[&value])?;
                        served_by(&mut connection, request).await?;
                        let received = bed.servers[0].requests().pop().context("nothing")?;
                        let expected = if name == trusted {
                            as_trusted
                        } else {
                            otherwise
                        };
                        let case = format!("{name}, {trusted} is trusted, {hand_over}");
                        assert_eq!(model_of(&received)?, expected, "{case}");
                    }
                }
            }
            assert_filter_never_failed(&bed.envoy).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_answer_names_who_has_served() -> Result<()> {
    for name in [SERVED, "x-served-by-endpoint"] {
        let patch = json!({ "destination": { "servedHeader": name } });
        for hand_over in HandOver::ALL {
            let bed = bed_with(hand_over, &patch, &[queue(100), queue(0)]).await?;
            for protocol in [Protocol::Http1, Protocol::Http2] {
                let mut connection = bed.connect(protocol).await?;
                for request in [chat()?, get("/v1/models")?] {
                    let forged = HeaderValue::from_static("10.0.0.1:80");
                    let reply = connection.send(with(request, name, &[&forged])?).await?;
                    let server = reply.model_server().context("Envoy has answered")?;
                    let told: Vec<_> = reply.headers.get_all(name).iter().collect();
                    assert_eq!(told, [&server.to_string()], "{hand_over}");
                }
            }
            assert_filter_never_failed(&bed.envoy).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_anyone_may_say_is_in_the_decision_and_nonsense_is_counted() -> Result<()> {
    let said = [
        (
            "x-llm-d-inference-objective",
            "x-gateway-inference-objective",
            "objective",
            "urgent",
            json!("urgent"),
        ),
        (
            "x-llm-d-inference-fairness-id",
            "x-gateway-inference-fairness-id",
            "fairnessId",
            "team-a",
            json!("team-a"),
        ),
        (
            "x-llm-d-slo-ttft-ms",
            "x-slo-ttft-ms",
            "sloTtftMs",
            "250",
            json!(250.0),
        ),
        (
            "x-llm-d-slo-tpot-ms",
            "x-slo-tpot-ms",
            "sloTpotMs",
            "12.5",
            json!(12.5),
        ),
    ];
    for hand_over in HandOver::ALL {
        let bed = bed_with(hand_over, &json!({}), &[queue(0)]).await?;
        let mut connection = bed.connect(Protocol::Http1).await?;
        let mut invalid = 0;
        for (number, (name, alias, field, value, expected)) in said.iter().enumerate() {
            let value = HeaderValue::from_static(value);
            for header in [name, alias] {
                let id = format!("{header}-{number}");
                served_by(&mut connection, with(chat_as(&id)?, header, &[&value])?).await?;
                let hints = hints_of(&bed, &id)?;
                assert_eq!(hints[field], *expected, "{hints}");
            }
            let too_long = HeaderValue::from_str(&"1".repeat(5000))?;
            let no_text = HeaderValue::from_bytes(b"\xff")?;
            for (kind, nonsense) in [("long", too_long), ("bytes", no_text)] {
                let id = format!("{kind}-{number}");
                served_by(&mut connection, with(chat_as(&id)?, name, &[&nonsense])?).await?;
                invalid += 1;
                let hints = hints_of(&bed, &id)?;
                assert_eq!(hints[field], Value::Null, "{hints}");
            }
        }
        for (number, nonsense) in ["-1", "NaN", "inf", "soon", ""].into_iter().enumerate() {
            let value = HeaderValue::from_static(nonsense);
            let id = format!("number-{number}");
            let request = with(chat_as(&id)?, "x-llm-d-slo-ttft-ms", &[&value])?;
            served_by(&mut connection, request).await?;
            invalid += u64::from(!nonsense.is_empty());
            assert_eq!(hints_of(&bed, &id)?["sloTtftMs"], Value::Null, "{nonsense}");
        }
        let counted = filter_stats(&bed.envoy).await?["requests.invalid_hints"];
        assert!(
            (invalid..=invalid + 1).contains(&counted),
            "{counted}, not {invalid}"
        );
        assert_filter_never_failed(&bed.envoy).await?;
    }
    Ok(())
}

/// The hints that the decision on a request with this id tells.
fn hints_of(bed: &Bed, id: &str) -> Result<Value> {
    let id = format!("\"requestId\":\"{id}\"");
    let lines = bed.envoy.log_lines_containing(&id);
    let line = lines
        .iter()
        .find(|line| line.contains("decision {"))
        .context("no decision")?;
    let (_, object) = line.split_once("decision ").context("no object")?;
    Ok(serde_json::from_str::<Value>(object)?["hints"].clone())
}

fn with(mut request: Request<Body>, name: &str, values: &[&HeaderValue]) -> Result<Request<Body>> {
    let name = HeaderName::try_from(name)?;
    for value in values {
        request.headers_mut().append(&name, (*value).clone());
    }
    Ok(request)
}
