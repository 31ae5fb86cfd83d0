//! What the cluster of the scrapes decides: whether they are encrypted, by the very examples of
//! `docs/configuration.md`, and to which port they go.

use std::{
    fs,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::{Value, json};
use testbed::{
    bed::{self, Bed},
    client::Protocol,
    envoy::{self, Configuration, Envoy, HandOver},
    model_server::{Dialect, MetricsAccess, ModelServer},
    poll,
};
use tokio::{
    io,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer},
    },
};

use crate::support::{
    INTERVAL, PATIENCE, assert_filter_never_failed, chat_as, filter_stats, queue, scraping_every,
    served_by,
};

/// The name that the certificates have in common, in the document.
const NAME: &str = "model-server.inference.svc";

/// What the document calls the cluster of scrapes over TLS.
const HTTPS_CLUSTER: &str = "model-servers-metrics-https";

const BEARER: &str = "Bearer secret";

/// A certificate with its key.
struct Identity {
    certificate: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

impl Identity {
    fn self_signed(name: &str) -> Result<Self> {
        let key = KeyPair::generate()?;
        let certificate = parameters(&[name])?.self_signed(&key)?;
        Ok(Self::new(certificate, key))
    }

    fn signed_by(authority: &Authority, name: &str) -> Result<Self> {
        let key = KeyPair::generate()?;
        let certificate = parameters(&[name])?.signed_by(&key, authority)?;
        Ok(Self::new(certificate, key))
    }

    fn new(certificate: rcgen::Certificate, key: KeyPair) -> Self {
        Self {
            pem: certificate.pem(),
            certificate: certificate.into(),
            key,
        }
    }
}

type Authority = CertifiedIssuer<'static, KeyPair>;

/// A certificate for these names, with a subject of its own: one whose subject is its issuer's counts
/// as self-signed, and of issuers with one subject a single one is looked at.
fn parameters(names: &[&str]) -> Result<CertificateParams> {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut parameters = CertificateParams::new(names)?;
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let subject = &mut parameters.distinguished_name;
    subject.push(DnType::CommonName, format!("certificate {number}"));
    Ok(parameters)
}

fn authority() -> Result<Authority> {
    let mut parameters = parameters(&[])?;
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(Authority::self_signed(parameters, KeyPair::generate()?)?)
}

/// Ends TLS in front of a model server, until it is dropped.
struct TlsFront {
    address: SocketAddr,
    /// The server name (SNI) of each connection whose handshake was completed.
    names: Arc<Mutex<Vec<Option<String>>>>,
    serving: JoinHandle<()>,
}

impl TlsFront {
    async fn start(behind: SocketAddr, identity: &Identity) -> Result<Self> {
        let key = PrivateKeyDer::try_from(identity.key.serialize_der());
        let key = key.map_err(anyhow::Error::msg)?;
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![identity.certificate.clone()], key)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let names = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&names);
        let serving = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
                // How a connection ends is its client's affair.
                tokio::spawn(async move {
                    let mut connection = acceptor.accept(connection).await?;
                    let name = connection.get_ref().1.server_name().map(str::to_owned);
                    seen.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(name);
                    let mut server = TcpStream::connect(behind).await?;
                    io::copy_bidirectional(&mut connection, &mut server).await
                });
            }
        });
        Ok(Self {
            address,
            names,
            serving,
        })
    }

    fn names(&self) -> Vec<Option<String>> {
        let names = self.names.lock();
        names.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The example that begins with this fence in the document's section on TLS.
fn documented(fence: &str) -> Result<String> {
    let file = envoy::repository().join("docs/configuration.md");
    let text = fs::read_to_string(file)?;
    let section = text.split("\n### Over TLS\n").nth(1);
    let example = section.and_then(|section| section.split(fence).nth(1));
    let example = example.and_then(|example| example.split("```").next());
    Ok(example.context("no such example")?.to_owned())
}

/// The document's cluster, which trusts `authorities` in the place of the document's file.
fn documented_cluster(authorities: &str) -> Result<Value> {
    let mut clusters: Vec<Value> = serde_saphyr::from_str(&documented("```yaml\n")?)?;
    let mut cluster = clusters.pop().context("no cluster")?;
    assert_eq!(cluster["name"], HTTPS_CLUSTER);
    let tls = &mut cluster["transport_socket"]["typed_config"];
    let trusted = &mut tls["common_tls_context"]["validation_context"]["trusted_ca"];
    assert!(trusted["filename"].is_string());
    *trusted = json!({ "inline_string": authorities });
    // Has the handshake in it, for which a busy machine may have no time.
    cluster["connect_timeout"] = json!("60s");
    Ok(cluster)
}

/// The shipped configuration with `cluster` beside the others, and the document's `metrics`.
fn configuration(cluster: Value) -> Result<Configuration> {
    let metrics: Value = serde_json::from_str(&format!("{{{}}}", documented("```json\n")?))?;
    let mut configuration = scraping_every(INTERVAL, HandOver::OriginalDstHeader)?
        .merge_plugin_configuration(&metrics)?;
    configuration.clusters()?.push(cluster);
    Ok(configuration)
}

/// A server of the engine that the document scrapes over TLS, which shows its metrics to nobody
/// without the document's token.
async fn behind_tls(identity: &Identity) -> Result<(ModelServer, TlsFront)> {
    let access = MetricsAccess {
        header: Some(("authorization", BEARER)),
        ..MetricsAccess::default()
    };
    let server = ModelServer::start_with(Dialect::Sglang, access).await?;
    let front = TlsFront::start(server.address(), identity).await?;
    Ok((server, front))
}

fn endpoint(server: &ModelServer, front: &TlsFront) -> Value {
    json!({
        "address": server.address(),
        "engine": "sglang",
        "scrape": { "port": front.address.port() },
    })
}

/// Asserts that each of the servers at `told` is chosen when it has the shortest queue, and that of
/// the others nothing is known: they would be chosen each time.
async fn assert_told(bed: &Bed, told: &[usize]) -> Result<()> {
    let mut connection = bed.connect(Protocol::Http1).await?;
    for best in told {
        for (index, server) in bed.servers.iter().enumerate() {
            let is_told = told.contains(&index);
            server.set_load(queue(match (is_told, index == *best) {
                (false, _) => 0,
                (true, true) => 100,
                (true, false) => 800,
            }));
        }
        bed::loads_known(told.iter().map(|index| &bed.servers[*index])).await?;
        let id = format!("best-{best}");
        let chosen = served_by(&mut connection, chat_as(&id)?).await?;
        assert_eq!(chosen, bed.servers[*best].address(), "{id}");
    }
    for (index, server) in bed.servers.iter().enumerate() {
        let scrapes = server.scrapes().len();
        assert_eq!(scrapes > 0, told.contains(&index), "{index}: {scrapes}");
    }
    Ok(())
}

/// Waits until Envoy has refused certificates for each of these reasons.
async fn refused(envoy: &Envoy, reasons: &[&str]) -> Result<()> {
    let prefix = format!("cluster.{HTTPS_CLUSTER}.ssl.");
    poll::until("certificates to be refused", PATIENCE, async || {
        let stats = envoy.stats(&prefix).await?;
        let counted = |reason: &&str| stats.get(&format!("{prefix}{reason}"));
        let all = reasons
            .iter()
            .all(|reason| counted(reason).is_some_and(|count| *count > 0));
        Ok(all.then_some(()))
    })
    .await
}

#[tokio::test]
async fn one_engine_is_scraped_over_tls_as_documented() -> Result<()> {
    let (ours, theirs) = (authority()?, authority()?);
    let identities = [
        Identity::signed_by(&ours, NAME)?,
        Identity::signed_by(&ours, "other.inference.svc")?,
        Identity::signed_by(&theirs, NAME)?,
    ];
    let plain = ModelServer::start().await?;
    let mut pool = vec![json!({ "address": plain.address(), "engine": "vllm" })];
    let mut servers = vec![plain];
    let mut fronts = Vec::new();
    for identity in &identities {
        let (server, front) = behind_tls(identity).await?;
        pool.push(endpoint(&server, &front));
        servers.push(server);
        fronts.push(front);
    }
    let cluster = documented_cluster(&ours.pem())?;
    let bed = Bed::around(configuration(cluster)?, servers, &json!(pool)).await?;

    assert_told(&bed, &[0, 1]).await?;
    refused(&bed.envoy, &["fail_verify_san", "fail_verify_error"]).await?;

    let [name, ..] = &fronts[0].names()[..] else {
        panic!("no connection");
    };
    assert_eq!(name.as_deref(), Some(NAME));
    let sent = bed.servers[1].last_scrape();
    assert_eq!(sent["authorization"], BEARER);
    assert_eq!(sent["host"], fronts[0].address.to_string());
    assert!(!sent.contains_key("x-envoy-original-dst-host"), "{sent:?}");
    let sent = bed.servers[0].last_scrape();
    assert!(!sent.contains_key("authorization"), "{sent:?}");
    // Of the servers whose certificates are refused, and of no other.
    let failing = bed.envoy.log_lines_containing("failed: ");
    for (index, server) in bed.servers.iter().enumerate() {
        let address = format!("endpoint {}:", server.address());
        let fails = failing.iter().any(|line| line.contains(&address));
        assert_eq!(fails, index > 1, "{failing:?}");
    }
    assert_filter_never_failed(&bed.envoy).await
}

#[tokio::test]
async fn servers_with_certificates_for_their_ip_addresses_are_scraped_over_tls() -> Result<()> {
    let identities = [
        Identity::self_signed("127.0.0.1")?,
        Identity::self_signed("127.0.0.1")?,
        Identity::self_signed("127.0.0.2")?,
        Identity::self_signed(NAME)?,
    ];
    let mut servers = Vec::new();
    let mut pool = Vec::new();
    let mut fronts = Vec::new();
    for identity in &identities {
        let (server, front) = behind_tls(identity).await?;
        pool.push(endpoint(&server, &front));
        servers.push(server);
        fronts.push(front);
    }
    // All are trusted: what is refused has another name.
    let trusted: String = identities.iter().map(|it| it.pem.as_str()).collect();
    let mut cluster = documented_cluster(&trusted)?;
    let tls = &mut cluster["transport_socket"]["typed_config"];
    let validation = &mut tls["common_tls_context"]["validation_context"];
    let names = validation
        .as_object_mut()
        .and_then(|it| it.remove("match_typed_subject_alt_names"));
    let sni = tls.as_object_mut().and_then(|it| it.remove("sni"));
    assert!(names.is_some() && sni.is_some());
    let options = &mut cluster["typed_extension_protocol_options"];
    options["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]["upstream_http_protocol_options"] =
        json!({ "auto_sni": true, "auto_san_validation": true });
    let bed = Bed::around(configuration(cluster)?, servers, &json!(pool)).await?;

    assert_told(&bed, &[0, 1]).await?;
    refused(&bed.envoy, &["fail_verify_san"]).await?;
    for front in &fronts[..2] {
        let names = front.names();
        assert!(
            !names.is_empty() && names.iter().all(Option::is_none),
            "{names:?}"
        );
    }
    assert_filter_never_failed(&bed.envoy).await
}

#[tokio::test]
async fn a_cluster_replaces_the_port_of_every_scrape() -> Result<()> {
    let access = MetricsAccess {
        own_port: true,
        ..MetricsAccess::default()
    };
    let shows = ModelServer::start_with(Dialect::Vllm, access).await?;
    let others = [ModelServer::start().await?, ModelServer::start().await?];
    // The address is said for all, the port for one of the others too.
    let pool = json!([
        shows.address(),
        others[0].address(),
        { "address": others[1].address(), "scrape": { "port": others[1].address().port() } },
    ]);
    let mut configuration = scraping_every(INTERVAL, HandOver::OriginalDstHeader)?;
    configuration.cluster("model-servers-metrics")?["original_dst_lb_config"] = json!({
        "use_http_header": true,
        "upstream_port_override": shows.metrics_address().port(),
    });
    let [first, second] = others;
    let bed = Bed::around(configuration, vec![shows, first, second], &pool).await?;
    bed::loads_known(&bed.servers[..1]).await?;

    poll::until("every endpoint to be scraped", PATIENCE, async || {
        let recognized = bed.envoy.log_lines_containing("\"vllm\" recognized");
        let all = bed.servers.iter().all(|server| {
            let address = format!("endpoint {}:", server.address());
            recognized.iter().any(|line| line.contains(&address))
        });
        Ok(all.then_some(()))
    })
    .await?;
    for other in &bed.servers[1..] {
        assert!(other.scrapes().is_empty(), "scraped at its own port");
    }
    let stats = filter_stats(&bed.envoy).await?;
    let failures = stats
        .iter()
        .filter(|(name, count)| name.starts_with("scrape_failures.") && **count > 0);
    assert_eq!(failures.count(), 0, "{stats:?}");
    assert_filter_never_failed(&bed.envoy).await
}
