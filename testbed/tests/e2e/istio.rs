//! The Istio resources amount to `envoy/original-dst-filter-state/envoy.yaml`, which the other tests run: their Envoy
//! parts are the same, value by value.

use anyhow::{Context, Result};
use serde_json::{Value, json};

const ENVOY: &str = include_str!("../../../envoy/original-dst-filter-state/envoy.yaml");
const ENVOY_FILTER: &str = include_str!("../../../istio/envoy-filter.yaml");
const WASM_PLUGIN: &str = include_str!("../../../istio/wasm-plugin.yaml");
const GATEWAY: &str = include_str!("../../../istio/gateway.yaml");

/// Where the connection manager is in the configuration of Envoy.
const CONNECTION_MANAGER: &str =
    "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";

#[test]
fn what_istio_adds_is_what_envoy_runs() -> Result<()> {
    let envoy: Value = serde_saphyr::from_str(ENVOY)?;
    let manager = envoy
        .pointer(CONNECTION_MANAGER)
        .context("no connection manager")?;

    assert_eq!(
        json!(patches("CLUSTER")?),
        envoy["static_resources"]["clusters"]
    );
    for patch in patches("NETWORK_FILTER")? {
        for (field, value) in patch["typed_config"].as_object().context("no fields")? {
            assert_eq!(*value, manager[field], "{field}");
        }
    }
    // After the filter, right before the router.
    let filters = manager["http_filters"].as_array().context("no filters")?;
    assert_eq!(patches("HTTP_FILTER")?, filters[1..filters.len() - 1]);
    let routes = manager["route_config"]["virtual_hosts"][0]["routes"]
        .as_array()
        .context("no routes")?;
    let mut added = patches("HTTP_ROUTE")?;
    for route in &mut added {
        // A name for EnvoyFilters that come after this one.
        route.as_object_mut().context("no route")?.remove("name");
    }
    assert_eq!(added, *routes);
    Ok(())
}

#[test]
fn the_wasm_plugin_is_configured_as_in_envoy() -> Result<()> {
    let envoy: Value = serde_saphyr::from_str(ENVOY)?;
    let plugin: Value = serde_saphyr::from_str(WASM_PLUGIN)?;
    let in_envoy = envoy
        .pointer(CONNECTION_MANAGER)
        .context("no connection manager")?["http_filters"][0]["typed_config"]["config"]
        .clone();
    let text = in_envoy["configuration"]["value"]
        .as_str()
        .context("no configuration")?;
    let mut expected: Value = serde_json::from_str(text)?;
    // The addresses of pods, not of this machine.
    expected["endpoints"] = plugin["spec"]["pluginConfig"]["endpoints"].clone();
    assert_eq!(plugin["spec"]["pluginConfig"], expected);
    assert_eq!(plugin["spec"]["failStrategy"], in_envoy["failure_policy"]);
    Ok(())
}

#[test]
fn all_resources_select_the_same_gateway() -> Result<()> {
    let label = "gateway.networking.k8s.io/gateway-name";
    let gateway: Value = serde_saphyr::from_str(GATEWAY)?;
    let plugin: Value = serde_saphyr::from_str(WASM_PLUGIN)?;
    let filter: Value = serde_saphyr::from_str(ENVOY_FILTER)?;
    let name = &gateway["metadata"]["name"];
    assert!(name.is_string());
    assert_eq!(plugin["spec"]["selector"]["matchLabels"][label], *name);
    assert_eq!(filter["spec"]["workloadSelector"]["labels"][label], *name);
    Ok(())
}

/// What the EnvoyFilter puts in at one place, in its order.
fn patches(apply_to: &str) -> Result<Vec<Value>> {
    let filter: Value = serde_saphyr::from_str(ENVOY_FILTER)?;
    let patches = filter["spec"]["configPatches"]
        .as_array()
        .context("no patches")?;
    Ok(patches
        .iter()
        .filter(|patch| patch["applyTo"] == apply_to)
        .map(|patch| patch["patch"]["value"].clone())
        .collect())
}
