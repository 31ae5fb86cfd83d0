//! The changes that tests make to a shipped configuration.

use std::{net::SocketAddr, path::Path};

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

use super::configuration::{
    CONNECTION_MANAGER, Configuration, REQUEST_CLUSTER, listeners, merge, typed,
};

/// The type of the load balancing policy that reads hosts from a header.
const OVERRIDE_HOST: &str =
    "type.googleapis.com/envoy.extensions.load_balancing_policies.override_host.v3.OverrideHost";

/// The type of the buffer filter's configuration.
const BUFFER_FILTER: &str = "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer";

impl Configuration {
    /// Makes these model servers the pool: in the filter's configuration, and in the cluster of a
    /// hand-over whose cluster has hosts of its own.
    ///
    /// # Errors
    ///
    /// When the configuration has no place for them.
    pub fn with_pool(self, pool: &Value) -> Result<Self> {
        let endpoints = json!({ "endpoints": { "static": pool } });
        let mut configuration = self.merge_plugin_configuration(&endpoints)?;
        let addresses = pool.as_array().into_iter().flatten();
        let addresses = addresses.map(|endpoint| endpoint.get("address").unwrap_or(endpoint));
        configuration.set_hosts(addresses.filter_map(Value::as_str))?;
        Ok(configuration)
    }

    /// Makes these addresses the hosts of the cluster that requests go to, if it has any.
    ///
    /// # Errors
    ///
    /// When the configuration has no such cluster, or what is no address is among them.
    pub fn set_hosts<'a>(&mut self, addresses: impl IntoIterator<Item = &'a str>) -> Result<()> {
        let cluster = self.cluster(REQUEST_CLUSTER)?;
        let Some(assignment) = cluster.get_mut("load_assignment") else {
            return Ok(());
        };
        let hosts = addresses.into_iter().map(|address| {
            let address: SocketAddr = address.parse().context("no address")?;
            let socket = json!({ "address": address.ip(), "port_value": address.port() });
            Ok(json!({ "endpoint": { "address": { "socket_address": socket } } }))
        });
        let hosts = hosts.collect::<Result<Vec<Value>>>()?;
        merge(
            assignment,
            &json!({ "endpoints": [{ "lb_endpoints": hosts }] }),
        );
        Ok(())
    }

    /// Runs this module in the place of the one in `dist/`.
    ///
    /// # Errors
    ///
    /// When the configuration has no filter.
    pub fn with_module(mut self, module: &Path) -> Result<Self> {
        let code = json!({ "vm_config": { "code": { "local": { "filename": module } } } });
        merge(self.plugin()?, &code);
        Ok(self)
    }

    /// Puts a route in front of the others that is like the first of them but for this merge patch.
    ///
    /// # Errors
    ///
    /// When there is no route.
    pub fn with_route(mut self, patch: &Value) -> Result<Self> {
        let routes = self.virtual_host()?.get_mut("routes");
        let routes = routes.and_then(Value::as_array_mut).context("no routes")?;
        let mut route = routes.first().context("no route")?.clone();
        merge(&mut route, patch);
        routes.insert(0, route);
        Ok(self)
    }

    /// Sets the limits of what Envoy buffers: of a request, and of a connection, which is how much it
    /// reads at once.
    ///
    /// # Errors
    ///
    /// When the configuration has no listener or no virtual host.
    pub fn with_buffer_limits(mut self, request: u32, connection: u32) -> Result<Self> {
        let limit = json!({ "per_connection_buffer_limit_bytes": connection });
        for listener in listeners(&mut self.tree)? {
            merge(listener, &limit);
        }
        let limit = json!({ "request_body_buffer_limit": request });
        merge(self.virtual_host()?, &limit);
        // Where the body is held by Envoy's own filter.
        if let Some(buffer) = typed(&mut self.tree, BUFFER_FILTER) {
            merge(buffer, &json!({ "max_request_bytes": request }));
        }
        Ok(self)
    }

    /// Takes the permission away that lets the filter hold the headers until it has read the body.
    ///
    /// # Errors
    ///
    /// When it was not there.
    pub fn without_header_hold(mut self) -> Result<Self> {
        let plugin = self.plugin()?.as_object_mut();
        let flag = plugin.and_then(|plugin| plugin.remove("allow_on_headers_stop_iteration"));
        ensure!(flag == Some(json!(true)), "no permission to take away");
        Ok(self)
    }

    /// Takes the filters away that requests pass on their way out of every cluster, which remove
    /// headers, so that model servers see all that was left to them.
    ///
    /// # Errors
    ///
    /// When there are no clusters.
    pub fn without_upstream_filters(mut self) -> Result<Self> {
        for cluster in self.clusters()? {
            let options = cluster.get_mut("typed_extension_protocol_options");
            let options = options.and_then(Value::as_object_mut).into_iter();
            for protocol in options.flat_map(Map::values_mut) {
                if let Some(protocol) = protocol.as_object_mut() {
                    protocol.remove("http_filters");
                }
            }
        }
        Ok(self)
    }

    /// Lets the cluster that requests go to read the choice from this header.
    ///
    /// # Errors
    ///
    /// When it reads none.
    pub fn with_destination_header(mut self, name: &str) -> Result<Self> {
        let cluster = self.cluster(REQUEST_CLUSTER)?;
        if let Some(original_dst) = cluster.get_mut("original_dst_lb_config") {
            merge(original_dst, &json!({ "http_header_name": name }));
            return Ok(self);
        }
        let policy = typed(cluster, OVERRIDE_HOST).context("the cluster reads no header")?;
        merge(
            policy,
            &json!({ "override_host_sources": [{ "header": name }] }),
        );
        Ok(self)
    }

    /// Takes the guard away that removes the destination header from what clients send, so that
    /// only the filter does.
    ///
    /// # Errors
    ///
    /// When there is no such guard.
    pub fn without_header_guard(mut self) -> Result<Self> {
        let manager =
            typed(&mut self.tree, CONNECTION_MANAGER).context("no HTTP connection manager")?;
        let guard = manager
            .as_object_mut()
            .and_then(|manager| manager.remove("early_header_mutation_extensions"));
        ensure!(guard.is_some(), "no header guard to take away");
        Ok(self)
    }
}
