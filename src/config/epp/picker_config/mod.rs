//! An `EndpointPickerConfig`, as it stands, in the place of this configuration's own scheduling.
//!
//! Its `plugins` are instances of types with parameters, by name; its `schedulingProfiles` refer to
//! them. The types that choose ([`kind`]) become filters, scorers and pickers of profiles, and who
//! picks profiles becomes their conditions ([`handler`]). What is not supported is collected, so that
//! one message names all of it ([`unsupported`]).

mod detector;
mod handler;
mod kind;
mod metrics;
mod profile;
mod unsupported;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

pub(in crate::config) use self::metrics::PluginMetrics;
use self::{kind::Kind, profile::Built};
use crate::{
    config::{
        disaggregation::DisaggregationHeaders,
        scheduling::{Checked, Scope},
        settings::{ConfigError, refused},
    },
    scheduling::Profile,
};

const KIND: &str = "EndpointPickerConfig";
/// The versions of the group that it has, and that of the one that it had before.
const API_VERSIONS: [&str; 3] = [
    "llm-d.ai/v1",
    "llm-d.ai/v1alpha1",
    "inference.networking.x-k8s.io/v1alpha1",
];

/// What an `EndpointPickerConfig` says.
#[derive(Debug)]
pub(in crate::config) struct PickerConfig {
    pub(in crate::config) api_version: Option<String>,
    pub(in crate::config) kind: Option<String>,
    pub(in crate::config) metadata: Option<Value>,
    pub(in crate::config) plugins: Option<Vec<PluginSpec>>,
    pub(in crate::config) scheduling_profiles: Option<Vec<SchedulingProfile>>,
    pub(in crate::config) feature_gates: Option<Vec<String>>,
    pub(in crate::config) data_layer: Option<Value>,
    pub(in crate::config) flow_control: Option<Value>,
    pub(in crate::config) request_handler: Option<Value>,
    pub(in crate::config) saturation_detector: Option<Value>,
    pub(in crate::config) parser: Option<Value>,
}

/// A plugin that profiles may refer to.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluginSpec {
    /// Its name; its type's if it is not said.
    pub name: Option<String>,
    /// Its type.
    pub r#type: String,
    /// What is said of it.
    pub parameters: Option<Value>,
}

/// A profile.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SchedulingProfile {
    /// Its name.
    pub name: String,
    /// Its filters, scorers and picker.
    pub plugins: Option<Vec<ProfilePlugin>>,
}

/// A plugin in a profile.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProfilePlugin {
    /// The plugin's name.
    pub plugin_ref: String,
    /// How much it counts, if it is a scorer.
    pub weight: Option<f64>,
}

impl PickerConfig {
    /// Whether anything of it is there.
    pub(in crate::config) const fn is_given(&self) -> bool {
        self.api_version.is_some()
            || self.kind.is_some()
            || self.metadata.is_some()
            || self.plugins.is_some()
            || self.scheduling_profiles.is_some()
            || self.feature_gates.is_some()
            || self.data_layer.is_some()
            || self.flow_control.is_some()
            || self.request_handler.is_some()
            || self.saturation_detector.is_some()
            || self.parser.is_some()
    }

    /// Refuses what is no such configuration, and what of one is not supported.
    pub(in crate::config) fn check_supported(&self) -> Result<(), ConfigError> {
        one_of("scheduling.kind", &[KIND], self.kind.as_deref())?;
        one_of(
            "scheduling.apiVersion",
            &API_VERSIONS,
            self.api_version.as_deref(),
        )?;
        unsupported::check(self)
    }

    /// Checks what is supported, but for what [`metrics`](Self::metrics) tells.
    pub(in crate::config) fn check(self, scope: &mut Scope<'_>) -> Result<Checked, ConfigError> {
        let plugins = self.plugins()?;
        let Some(profiles) = profile::profiles(&self, &plugins)? else {
            return Ok(Checked {
                scheduling: Profile::endpoint_picker().into(),
                headers: DisaggregationHeaders::default(),
            });
        };
        let mut built = Built::new(&plugins, scope);
        handler::check(&profiles, &plugins, &mut built)
    }

    /// Its plugins by their names, each with its path.
    fn plugins(&self) -> Result<Plugins<'_>, ConfigError> {
        let mut plugins = BTreeMap::new();
        for (path, spec) in self.specs() {
            let name = spec.name();
            let Some(kind) = Kind::of(&spec.r#type) else {
                // Refused with all others that are not supported.
                continue;
            };
            let path_of_name = format!("{path}.name");
            if plugins.insert(name, Named { path, kind, spec }).is_some() {
                let found = format_args!("{name:?}");
                return Err(refused(path_of_name, "each name once", found));
            }
        }
        Ok(plugins)
    }

    /// Its plugins with their paths.
    fn specs(&self) -> impl Iterator<Item = (String, &PluginSpec)> {
        let specs = self.plugins.iter().flatten();
        (0_usize..)
            .zip(specs)
            .map(|(index, spec)| (format!("scheduling.plugins[{index}]"), spec))
    }
}

/// By their names.
type Plugins<'a> = BTreeMap<&'a str, Named<'a>>;

/// A plugin, and where it stands.
#[derive(Debug)]
struct Named<'a> {
    path: String,
    kind: Kind,
    spec: &'a PluginSpec,
}

impl PluginSpec {
    fn name(&self) -> &str {
        let name = self.name.as_deref().filter(|name| !name.is_empty());
        name.unwrap_or(&self.r#type)
    }
}

fn one_of(path: &str, known: &[&str], found: Option<&str>) -> Result<(), ConfigError> {
    if found.is_some_and(|found| known.contains(&found)) {
        return Ok(());
    }
    let known: Vec<_> = known.iter().map(|known| format!("{known:?}")).collect();
    let found = found.map_or_else(|| "none".to_owned(), |found| format!("{found:?}"));
    Err(refused(path, known.join(" or "), found))
}
