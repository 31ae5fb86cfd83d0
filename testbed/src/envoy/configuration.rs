//! A shipped configuration, read as a tree and changed as one.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::repository;

/// The type of the filter's configuration in the tree.
const WASM_FILTER: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";

/// The type of the HTTP connection manager's configuration.
pub(super) const CONNECTION_MANAGER: &str = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

/// The type of a text, as which the filter's configuration is written.
const STRING_VALUE: &str = "type.googleapis.com/google.protobuf.StringValue";

/// The cluster that requests go to.
pub const REQUEST_CLUSTER: &str = "model-servers";

/// The file of a bootstrap configuration in the folder of an Envoy.
const BOOTSTRAP_FILE: &str = "envoy.json";

/// The file of the listeners, where they are discovered.
const LISTENERS_FILE: &str = "listeners.json";

/// How the filter's choice is handed to Envoy; each has its folder in `envoy/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandOver {
    /// A request header.
    OriginalDstHeader,
    /// Filter state.
    OriginalDstFilterState,
    /// A request header with a list of hosts, of which each attempt takes the next.
    OverrideHost,
}

impl HandOver {
    /// All of them.
    pub const ALL: [Self; 3] = [
        Self::OriginalDstHeader,
        Self::OriginalDstFilterState,
        Self::OverrideHost,
    ];

    /// Those in which the choice is a request header, and the request's headers are held until the
    /// choice has fallen.
    pub const BY_HEADER: [Self; 2] = [Self::OriginalDstHeader, Self::OverrideHost];
}

impl fmt::Display for HandOver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::OriginalDstHeader => "original-dst-header",
            Self::OriginalDstFilterState => "original-dst-filter-state",
            Self::OverrideHost => "override-host",
        })
    }
}

/// What an Envoy is started with: a configuration of `envoy/`, on free ports, with the changes a
/// test asks for.
#[derive(Clone, Debug)]
pub struct Configuration {
    pub(super) tree: Value,
    listeners_discovered: bool,
}

impl Configuration {
    /// The configuration of a hand-over, as it is shipped but for the ports, and for the path of
    /// the module, which is made absolute.
    ///
    /// # Errors
    ///
    /// When the file is not there, is no YAML, or has no listener with the filter.
    pub fn shipped(hand_over: HandOver) -> Result<Self> {
        let file = repository().join(format!("envoy/{hand_over}/envoy.yaml"));
        Self::read(&file).with_context(|| format!("in {}", file.display()))
    }

    fn read(file: &Path) -> Result<Self> {
        let mut tree: Value = serde_saphyr::from_str(&fs::read_to_string(file)?)?;
        // Port 0: Envoy takes a free one and tells which. Looking for one beforehand would be a
        // race.
        *at(&mut tree, "/admin/address/socket_address/port_value")? = json!(0);
        for listener in listeners(&mut tree)? {
            *at(listener, "/address/socket_address/port_value")? = json!(0);
        }
        let mut configuration = Self {
            tree,
            listeners_discovered: false,
        };
        let module = at(configuration.plugin()?, "/vm_config/code/local/filename")?;
        let path = repository().join(
            module
                .as_str()
                .context("the module's filename is no text")?,
        );
        *module = json!(path);
        Ok(configuration)
    }

    /// Changes the filter's configuration by a JSON merge patch (RFC 7396): objects are merged,
    /// `null` removes, anything else replaces.
    ///
    /// # Errors
    ///
    /// When the configuration has no place for it.
    pub fn merge_plugin_configuration(mut self, patch: &Value) -> Result<Self> {
        let mut configuration = self.plugin_configuration()?;
        merge(&mut configuration, patch);
        *at(self.plugin()?, "/configuration")? =
            json!({ "@type": STRING_VALUE, "value": configuration.to_string() });
        Ok(self)
    }

    /// A cluster, by its name.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn cluster(&mut self, name: &str) -> Result<&mut Value> {
        self.clusters()?
            .iter_mut()
            .find(|cluster| cluster.get("name").and_then(Value::as_str) == Some(name))
            .with_context(|| format!("no cluster {name}"))
    }

    /// All clusters.
    ///
    /// # Errors
    ///
    /// When there are none.
    pub fn clusters(&mut self) -> Result<&mut Vec<Value>> {
        at(&mut self.tree, "/static_resources/clusters")?
            .as_array_mut()
            .context("clusters are not a list")
    }

    /// The virtual host that all requests come to.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn virtual_host(&mut self) -> Result<&mut Value> {
        let manager =
            typed(&mut self.tree, CONNECTION_MANAGER).context("no HTTP connection manager")?;
        at(manager, "/route_config/virtual_hosts/0")
    }

    /// Lets the listeners be discovered (LDS) from a file that Envoy watches, which
    /// [`super::Envoy::update_plugin_configuration`] needs.
    #[must_use]
    pub fn with_listeners_discovered(mut self) -> Self {
        self.listeners_discovered = true;
        self
    }

    /// The whole tree, for changes that have no method of their own.
    pub fn tree_mut(&mut self) -> &mut Value {
        &mut self.tree
    }

    /// The whole tree.
    #[must_use]
    pub fn tree(&self) -> &Value {
        &self.tree
    }

    /// Writes it into `folder` as Envoy reads it, and returns the file to start from.
    pub(super) fn write(&self, folder: &Path) -> Result<PathBuf> {
        let mut bootstrap = self.tree.clone();
        if self.listeners_discovered {
            let source = json!({
                "resource_api_version": "V3",
                "path_config_source": { "path": folder.join(LISTENERS_FILE) },
            });
            merge(
                &mut bootstrap,
                &json!({
                    "node": { "id": "testbed", "cluster": "testbed" },
                    "static_resources": { "listeners": null },
                    "dynamic_resources": { "lds_config": source },
                }),
            );
            self.write_listeners(folder)?;
        }
        let file = folder.join(BOOTSTRAP_FILE);
        fs::write(&file, bootstrap.to_string())?;
        Ok(file)
    }

    /// Replaces the file of the listeners at once: Envoy looks at it when it is moved into place.
    pub(super) fn write_listeners(&self, folder: &Path) -> Result<()> {
        ensure!(
            self.listeners_discovered,
            "this Envoy was started with listeners that cannot change"
        );
        let mut resources = listeners(&mut self.tree.clone())?.clone();
        for listener in &mut resources {
            merge(
                listener,
                &json!({ "@type": "type.googleapis.com/envoy.config.listener.v3.Listener" }),
            );
        }
        let next = folder.join("listeners.json.next");
        fs::write(&next, json!({ "resources": resources }).to_string())?;
        fs::rename(next, folder.join(LISTENERS_FILE))?;
        Ok(())
    }

    /// The filter's configuration.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn plugin_settings(&self) -> Result<Value> {
        self.clone().plugin_configuration()
    }

    /// The filter's configuration: part of the tree (a `Struct`), or JSON in a text (a
    /// `StringValue`).
    fn plugin_configuration(&mut self) -> Result<Value> {
        match at(self.plugin()?, "/configuration/value")? {
            Value::String(text) => {
                serde_json::from_str(text).context("the filter's configuration is no JSON")
            }
            part => Ok(part.clone()),
        }
    }

    /// What Envoy is told of the plugin (`PluginConfig`).
    pub(super) fn plugin(&mut self) -> Result<&mut Value> {
        at(
            typed(&mut self.tree, WASM_FILTER).context("no wasm filter")?,
            "/config",
        )
    }
}

pub(super) fn listeners(tree: &mut Value) -> Result<&mut Vec<Value>> {
    at(tree, "/static_resources/listeners")?
        .as_array_mut()
        .context("listeners are not a list")
}

fn at<'tree>(tree: &'tree mut Value, pointer: &str) -> Result<&'tree mut Value> {
    tree.pointer_mut(pointer)
        .with_context(|| format!("nothing at {pointer}"))
}

/// The first object of a protobuf type, wherever it is in the tree.
pub(super) fn typed<'tree>(tree: &'tree mut Value, type_url: &str) -> Option<&'tree mut Value> {
    if tree.get("@type").and_then(Value::as_str) == Some(type_url) {
        return Some(tree);
    }
    match tree {
        Value::Object(fields) => fields.values_mut().find_map(|value| typed(value, type_url)),
        Value::Array(items) => items.iter_mut().find_map(|value| typed(value, type_url)),
        _ => None,
    }
}

/// Applies a JSON merge patch (RFC 7396).
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    if let Value::Object(target) = target {
        for (key, value) in patch {
            if value.is_null() {
                target.remove(key);
            } else {
                merge(target.entry(key.as_str()).or_insert(Value::Null), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_merges_objects_removes_nulls_and_replaces_the_rest() {
        let mut target = json!({ "list": [1, 2], "object": { "kept": 1, "removed": 2 } });
        merge(
            &mut target,
            &json!({ "list": [3], "object": { "removed": null, "added": 3 } }),
        );
        assert_eq!(
            target,
            json!({ "list": [3], "object": { "kept": 1, "added": 3 } })
        );
    }

    #[test]
    fn every_shipped_configuration_can_be_changed() -> Result<()> {
        for hand_over in HandOver::ALL {
            let mut configuration = Configuration::shipped(hand_over)?
                .with_pool(&json!(["127.0.0.1:1"]))?
                .with_buffer_limits(1 << 20, 1 << 18)?
                .without_header_guard()?;
            assert_eq!(
                *at(
                    &mut configuration.tree,
                    "/admin/address/socket_address/port_value"
                )?,
                json!(0)
            );
            let expected = json!(["127.0.0.1:1"]);
            assert_eq!(
                *at(
                    &mut configuration.plugin_configuration()?,
                    "/endpoints/static"
                )?,
                expected
            );
            let expected = json!(hand_over.to_string());
            assert_eq!(
                *at(
                    &mut configuration.plugin_configuration()?,
                    "/destination/handOver"
                )?,
                expected
            );
            let plugin = configuration.plugin()?;
            let module = at(plugin, "/vm_config/code/local/filename")?
                .as_str()
                .map(PathBuf::from);
            assert!(module.is_some_and(|module| module.is_absolute()));
        }
        Ok(())
    }
}
