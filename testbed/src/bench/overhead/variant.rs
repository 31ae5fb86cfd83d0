//! What is compared: the same Envoy with different filters between its listener and its router.
//!
//! All variants are the configuration of `envoy/original-dst-header`, with the same
//! `ORIGINAL_DST` cluster behind the router, without the access log. They get the same requests,
//! which name an endpoint in the destination header, by turns. Where nothing picks, the guard that
//! removes the header from what clients send is taken away, and the request goes where it says; so
//! bare Envoy spreads its requests over the same endpoints, through the same cluster.

use std::{fs, net::SocketAddr, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::{
    envoy::{self, Configuration, Envoy, HandOver, Options},
    poll,
    process::Process,
};

use super::machine;

/// Where the connection manager is in the tree of a shipped configuration.
const CONNECTION_MANAGER: &str =
    "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";

/// How long the ext_proc server may take to start.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is in the filter chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Variant {
    /// Nothing but the router.
    Bare,
    /// A Wasm filter that returns `Continue` from every callback.
    NoOp,
    /// This filter, with the configuration it is shipped with.
    EndpointPicker,
    /// Envoy's ext_proc filter, and a server that answers at once.
    ExtProc,
}

impl Variant {
    /// All of them.
    pub(super) const ALL: [Self; 4] = [Self::Bare, Self::NoOp, Self::EndpointPicker, Self::ExtProc];

    /// As in a table.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::NoOp => "no-op wasm",
            Self::EndpointPicker => "endpoint-picker",
            Self::ExtProc => "null ext_proc",
        }
    }
}

/// A variant that runs.
#[derive(Debug)]
pub(super) struct Deployment {
    pub(super) variant: Variant,
    pub(super) envoy: Envoy,
    /// Of Envoy, and of the server beside it.
    pub(super) processes: Vec<i32>,
    /// Stopped after Envoy, which would log that it is gone.
    _ext_proc: Option<ExtProc>,
}

impl Deployment {
    /// Starts a variant in front of endpoints.
    ///
    /// # Errors
    ///
    /// As [`Envoy::start`], or when the ext_proc server does not start.
    pub(super) async fn start(variant: Variant, endpoints: &[SocketAddr]) -> Result<Self> {
        let mut ext_proc = None;
        let mut configuration = Configuration::shipped(HandOver::OriginalDstHeader)?;
        configuration = match variant {
            Variant::Bare => edit(configuration.without_header_guard()?, |filters, _| {
                filters.retain(|filter| !is_picker(filter));
                Ok(())
            })?,
            Variant::NoOp => edit(configuration.without_header_guard()?, |filters, _| {
                let module = envoy::repository().join("dist/noop_filter.wasm");
                ensure!(module.exists(), "there is no {}", module.display());
                *picker(filters)?
                    .pointer_mut("/typed_config/config/vm_config/code/local/filename")
                    .context("the filter has no module")? = json!(module);
                Ok(())
            })?,
            Variant::EndpointPicker => edit(configuration, |_, _| Ok(()))?
                .merge_plugin_configuration(&json!({ "endpoints": { "static": endpoints } }))?,
            Variant::ExtProc => {
                let server = ext_proc.insert(ExtProc::start(endpoints).await?);
                let address = server.address;
                edit(configuration, |filters, clusters| {
                    *picker(filters)? = ext_proc_filter();
                    clusters.push(ext_proc_cluster(address));
                    Ok(())
                })?
            }
        };
        let options = Options {
            workers: 1,
            log_decisions: false,
        };
        let envoy = Envoy::start_with(configuration, options)
            .await
            .with_context(|| format!("{} does not start", variant.name()))?;
        let mut processes = machine::members(envoy.process_group())?;
        if let Some(server) = &ext_proc {
            processes.extend(machine::members(server.process.group())?);
        }
        Ok(Self {
            variant,
            envoy,
            processes,
            _ext_proc: ext_proc,
        })
    }
}

/// Takes the access log away, since writing it costs each variant the same and is no part of what is
/// compared, and changes the HTTP filters and the clusters.
fn edit(
    mut configuration: Configuration,
    change: impl FnOnce(&mut Vec<Value>, &mut Vec<Value>) -> Result<()>,
) -> Result<Configuration> {
    let tree = configuration.tree_mut();
    let clusters = tree.pointer_mut("/static_resources/clusters");
    let mut clusters = clusters.context("no clusters")?.take();
    let manager = tree
        .pointer_mut(CONNECTION_MANAGER)
        .and_then(Value::as_object_mut)
        .context("no HTTP connection manager")?;
    manager.remove("access_log");
    let filters = manager
        .get_mut("http_filters")
        .and_then(Value::as_array_mut)
        .context("no HTTP filters")?;
    change(
        filters,
        clusters.as_array_mut().context("clusters are no list")?,
    )?;
    if let Some(place) = tree.pointer_mut("/static_resources/clusters") {
        *place = clusters;
    }
    Ok(configuration)
}

fn is_picker(filter: &Value) -> bool {
    filter.get("name").and_then(Value::as_str) == Some("endpoint-picker")
}

fn picker(filters: &mut [Value]) -> Result<&mut Value> {
    filters
        .iter_mut()
        .find(|filter| is_picker(filter))
        .context("the configuration has no filter endpoint-picker")
}

/// As gateways configure it for the EPP; but responses are not sent to it.
fn ext_proc_filter() -> Value {
    json!({
        "name": "ext-proc",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor",
            "grpc_service": { "envoy_grpc": { "cluster_name": "ext-proc" } },
            "processing_mode": {
                "request_header_mode": "SEND",
                "request_body_mode": "FULL_DUPLEX_STREAMED",
                "request_trailer_mode": "SEND",
                "response_header_mode": "SKIP",
                "response_body_mode": "NONE",
                "response_trailer_mode": "SKIP",
            },
            // Otherwise the destination header, whose name starts with x-envoy, is ignored.
            "mutation_rules": { "allow_envoy": true, "allow_all_routing": true },
        },
    })
}

fn ext_proc_cluster(address: SocketAddr) -> Value {
    let endpoint = json!({
        "endpoint": {
            "address": {
                "socket_address": { "address": address.ip(), "port_value": address.port() },
            },
        },
    });
    let unlimited = json!({
        "max_connections": 1_000_000, "max_pending_requests": 1_000_000, "max_requests": 1_000_000,
    });
    json!({
        "name": "ext-proc",
        "type": "STATIC",
        "connect_timeout": "1s",
        "circuit_breakers": { "thresholds": [unlimited] },
        "load_assignment": {
            "cluster_name": "ext-proc",
            "endpoints": [{ "lb_endpoints": [endpoint] }],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": { "http2_protocol_options": {} },
            },
        },
    })
}

/// The ext_proc server, a process of its own.
#[derive(Debug)]
struct ExtProc {
    // Dropped in this order: the process is gone before its folder.
    process: Process,
    _folder: TempDir,
    address: SocketAddr,
}

impl ExtProc {
    async fn start(endpoints: &[SocketAddr]) -> Result<Self> {
        let program = envoy::repository().join("dist/null-ext-proc");
        ensure!(program.exists(), "there is no {}", program.display());
        let folder = tempfile::Builder::new()
            .prefix("endpoint-picker-ext-proc-")
            .tempdir()?;
        let mut command = Command::new(program);
        command.args(endpoints.iter().map(ToString::to_string));
        let log = folder.path().join("log");
        let mut process = Process::start(&command, folder.path(), &log)?;
        let address = poll::until("the ext_proc server to listen", PATIENCE, async || {
            let log = fs::read_to_string(&log)?;
            ensure!(
                !process.has_ended()?,
                "the ext_proc server has ended:\n{log}"
            );
            Ok(log
                .lines()
                .find_map(|line| line.strip_prefix("listening on ")?.parse().ok()))
        })
        .await?;
        Ok(Self {
            process,
            _folder: folder,
            address,
        })
    }
}
