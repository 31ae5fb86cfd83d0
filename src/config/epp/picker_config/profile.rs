//! Profiles of an `EndpointPickerConfig`.

use serde::Deserialize;
use serde_json::Value;

use super::{
    Named, PickerConfig, Plugins, ProfilePlugin, SchedulingProfile, detector,
    kind::{Kind, without_effect},
};
use crate::{
    config::{
        scheduling::{Plugin, Scope, picker, weight},
        settings::{ConfigError, refused},
    },
    scheduling::{Condition, Filter, Picker, Profile, WeightedScorer},
};

/// A profile, and where it stands.
#[derive(Debug)]
pub(super) struct NamedProfile<'a> {
    pub(super) path: String,
    pub(super) name: &'a str,
    plugins: Vec<(String, &'a str, Option<f64>)>,
}

/// The profiles that are given, or the one of all plugins; `None` where nothing is given at all.
pub(super) fn profiles<'a>(
    config: &'a PickerConfig,
    plugins: &Plugins<'a>,
) -> Result<Option<Vec<NamedProfile<'a>>>, ConfigError> {
    let given = config.scheduling_profiles.as_deref().unwrap_or_default();
    if !given.is_empty() {
        let named = (0_usize..).zip(given).map(NamedProfile::new);
        let named: Vec<_> = named.collect();
        check_names(&named)?;
        return Ok(Some(named));
    }
    if plugins.is_empty() {
        return Ok(None);
    }
    // In the order in which they are written.
    let all = config.specs().filter_map(|(path, spec)| {
        let kind = Kind::of(&spec.r#type)?;
        let chooses = matches!(
            kind,
            Kind::Filter | Kind::Scorer | Kind::FilteringScorer | Kind::Picker
        );
        chooses.then(|| (path, spec.name(), None))
    });
    Ok(Some(vec![NamedProfile {
        path: "scheduling".to_owned(),
        name: "default",
        plugins: all.collect(),
    }]))
}

fn check_names(profiles: &[NamedProfile<'_>]) -> Result<(), ConfigError> {
    for (index, profile) in profiles.iter().enumerate() {
        let mut before = profiles.iter().take(index);
        if profile.name.is_empty() || before.any(|other| other.name == profile.name) {
            return Err(refused(
                format!("{}.name", profile.path),
                "a name, and each only once",
                format_args!("{:?}", profile.name),
            ));
        }
    }
    Ok(())
}

impl<'a> NamedProfile<'a> {
    fn new((index, profile): (usize, &'a SchedulingProfile)) -> Self {
        let path = format!("scheduling.schedulingProfiles[{index}]");
        let plugins = (0_usize..).zip(profile.plugins.iter().flatten());
        let plugins = plugins.map(|(index, ProfilePlugin { plugin_ref, weight })| {
            let path = format!("{path}.plugins[{index}]");
            (path, plugin_ref.as_str(), *weight)
        });
        Self {
            plugins: plugins.collect(),
            name: &profile.name,
            path,
        }
    }
}

/// Makes profiles of plugins.
#[derive(Debug)]
pub(super) struct Built<'a, 'b, 'c> {
    plugins: &'a Plugins<'a>,
    pub(super) scope: &'b mut Scope<'c>,
}

impl<'a, 'b, 'c> Built<'a, 'b, 'c> {
    pub(super) const fn new(plugins: &'a Plugins<'a>, scope: &'b mut Scope<'c>) -> Self {
        Self { plugins, scope }
    }

    /// The profile that `named` describes, for the requests of `when`.
    pub(super) fn profile(
        &mut self,
        named: &NamedProfile<'_>,
        when: Condition,
    ) -> Result<Profile, ConfigError> {
        let mut filters = Vec::new();
        let mut scorers = Vec::new();
        let mut chosen = None;
        for (path, name, given_weight) in &named.plugins {
            let plugin = self.plugins.get(name).ok_or_else(|| {
                let path = format!("{path}.pluginRef");
                refused(path, "the name of one of plugins", format_args!("{name:?}"))
            })?;
            let scored = |scorer| {
                let weight = weight(&format!("{path}.weight"), *given_weight)?;
                Ok(WeightedScorer { scorer, weight })
            };
            let parameters = plugin.effective();
            let of_type = plugin.plugin(parameters.as_ref());
            match plugin.kind {
                Kind::Filter => filters.push(self.scope.checked_filter(of_type)?),
                Kind::Scorer => scorers.push(scored(self.scope.checked_scorer(of_type)?)?),
                Kind::FilteringScorer => {
                    if plugin.filters()? {
                        filters.push(self.scope.checked_filter(of_type)?);
                    }
                    scorers.push(scored(self.scope.checked_scorer(of_type)?)?);
                }
                Kind::Detector => {
                    let filter = Filter::Utilization(detector::filter(of_type)?);
                    filters.push(self.scope.with_signals(of_type, filter)?);
                }
                Kind::Picker if chosen.is_none() => chosen = Some(picker_of(of_type)?),
                Kind::Picker => {
                    let path = format!("{path}.pluginRef");
                    let expected = "one picker in a profile";
                    return Err(refused(path, expected, format_args!("{name:?}")));
                }
                // It chooses nothing among endpoints.
                _ => {}
            }
        }
        Ok(Profile {
            name: named.name.to_owned(),
            when,
            filters,
            scorers,
            picker: match chosen {
                Some(picker) => picker,
                None => self.default_picker()?,
            },
        })
    }

    /// A picker that is there, though the profile does not refer to it.
    fn default_picker(&self) -> Result<Picker, ConfigError> {
        let mut plugins = self.plugins.values();
        match plugins.find(|named| named.kind == Kind::Picker) {
            None => Ok(Picker::default()),
            Some(named) => picker_of(named.plugin(named.spec.parameters.as_ref())),
        }
    }
}

fn picker_of(plugin: Plugin<'_>) -> Result<Picker, ConfigError> {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase", deny_unknown_fields)]
    struct Parameters {
        max_num_of_endpoints: Option<u64>,
    }

    let Parameters {
        max_num_of_endpoints,
    } = plugin.parameters()?;
    if let Some(count) = max_num_of_endpoints.filter(|&count| count != 1) {
        let expected = "1; destination.ranked says how many are handed over";
        return Err(plugin.refused("maxNumOfEndpoints", expected, count));
    }
    Ok(picker(plugin.kind).unwrap_or_default())
}

impl Named<'_> {
    /// Its parameters without those that have no effect here.
    pub(super) fn effective(&self) -> Option<Value> {
        let mut parameters = self.spec.parameters.clone()?;
        if let Some(parameters) = parameters.as_object_mut() {
            for name in without_effect(&self.spec.r#type) {
                parameters.remove(*name);
            }
        }
        Some(parameters)
    }

    /// Whether this scorer is a filter too.
    fn filters(&self) -> Result<bool, ConfigError> {
        let parameters = self.spec.parameters.as_ref();
        match parameters.and_then(|parameters| parameters.get("enableFiltering")) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(filters)) => Ok(*filters),
            Some(other) => {
                let plugin = self.plugin(parameters);
                Err(plugin.refused("enableFiltering", "true or false", other))
            }
        }
    }
}
