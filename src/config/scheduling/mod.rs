//! How one endpoint of a pool is chosen, checked: profiles of filters, scorers and a picker.
//!
//! One profile may be written without its name, as the whole of `scheduling`; several have names and
//! conditions. In the place of both an `EndpointPickerConfig` may stand.

mod attribute;
mod condition;
mod filter;
mod own;
mod picker;
mod plugin;
mod scorer;
mod session;
mod signals;

use serde::Deserialize;
use serde_json::Value;

pub use self::condition::{Header, When};
use self::{filter::filter, scorer::scorer};
pub(super) use self::{
    own::{OwnScheduling, weight},
    picker::picker,
    plugin::Plugin,
    signals::PoolEngines,
};
use super::{
    disaggregation::{Disaggregation, DisaggregationHeaders},
    epp::{PickerConfig, PluginSpec, SchedulingProfile},
    schema::HandOver,
    settings::{ConfigError, refused},
};
use crate::scheduling::{self, Filter, Scorer, WatchedHeaders};

/// How one is chosen.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scheduling {
    /// The one profile's filters.
    pub filters: Option<Vec<FilterEntry>>,
    /// The one profile's scorers.
    pub scorers: Option<Vec<ScorerEntry>>,
    /// The one profile's picker.
    pub picker: Option<String>,
    /// Several profiles.
    pub profiles: Option<Vec<ProfileEntry>>,
    /// Prefill and decode on endpoints of their own.
    pub disaggregation: Option<Disaggregation>,
    /// The Endpoint Picker's: the group and version of what follows.
    pub api_version: Option<String>,
    /// The Endpoint Picker's: `EndpointPickerConfig`.
    pub kind: Option<String>,
    /// The Endpoint Picker's: what Kubernetes says of any object.
    pub metadata: Option<Value>,
    /// The Endpoint Picker's: all that its profiles refer to.
    pub plugins: Option<Vec<PluginSpec>>,
    /// The Endpoint Picker's profiles.
    pub scheduling_profiles: Option<Vec<SchedulingProfile>>,
    /// The Endpoint Picker's: what is switched on.
    pub feature_gates: Option<Vec<String>>,
    /// The Endpoint Picker's: where metrics and endpoints come from; once called `data`.
    #[serde(alias = "data")]
    pub data_layer: Option<Value>,
    /// The Endpoint Picker's: queues.
    pub flow_control: Option<Value>,
    /// The Endpoint Picker's: how bodies are read.
    pub request_handler: Option<Value>,
    /// The Endpoint Picker's: when there is too much to do.
    pub saturation_detector: Option<Value>,
    /// The Endpoint Picker's older form of `request_handler`.
    pub parser: Option<Value>,
}

/// One of several profiles.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProfileEntry {
    /// Its name.
    pub name: String,
    /// The requests that it is for.
    pub when: Option<When>,
    /// Who may be chosen.
    pub filters: Option<Vec<FilterEntry>>,
    /// What counts, and how much.
    pub scorers: Option<Vec<ScorerEntry>>,
    /// Who wins.
    pub picker: Option<String>,
}

/// A filter.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilterEntry {
    /// Which filter.
    pub r#type: String,
    /// What is said of it.
    pub parameters: Option<Value>,
}

/// A scorer with its weight.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScorerEntry {
    /// Which scorer.
    pub r#type: String,
    /// How much it counts.
    pub weight: Option<f64>,
    /// What is said of it.
    pub parameters: Option<Value>,
}

/// How one endpoint of a pool is chosen, and who else is told.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) scheduling: scheduling::Scheduling,
    pub(super) headers: DisaggregationHeaders,
}

/// What scheduling may refer to.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    pub(super) engines: PoolEngines<'a>,
    pub(super) watched: &'a mut WatchedHeaders,
    pub(super) hand_over: HandOver,
}

impl Scheduling {
    /// What is this configuration's own of it, or the Endpoint Picker's.
    pub(super) fn form(self) -> Result<Form, ConfigError> {
        let theirs = PickerConfig {
            api_version: self.api_version,
            kind: self.kind,
            metadata: self.metadata,
            plugins: self.plugins,
            scheduling_profiles: self.scheduling_profiles,
            feature_gates: self.feature_gates,
            data_layer: self.data_layer,
            flow_control: self.flow_control,
            request_handler: self.request_handler,
            saturation_detector: self.saturation_detector,
            parser: self.parser,
        };
        let own = OwnScheduling {
            filters: self.filters,
            scorers: self.scorers,
            picker: self.picker,
            profiles: self.profiles,
            disaggregation: self.disaggregation,
        };
        match (theirs.is_given(), own.given()) {
            (false, _) => Ok(Form::Own(own)),
            (true, None) => {
                theirs.check_supported()?;
                Ok(Form::EndpointPicker(theirs))
            }
            (true, Some(field)) => Err(refused(
                format!("scheduling.{field}"),
                "none beside the fields of an EndpointPickerConfig",
                "both",
            )),
        }
    }
}

/// In whose words `scheduling` is written.
#[derive(Debug)]
pub(super) enum Form {
    Own(OwnScheduling),
    EndpointPicker(PickerConfig),
}

impl Form {
    pub(super) fn check(self, scope: &mut Scope<'_>) -> Result<Checked, ConfigError> {
        match self {
            Self::Own(own) => own.check(scope),
            Self::EndpointPicker(theirs) => theirs.check(scope),
        }
    }
}

impl Scope<'_> {
    /// The scorer that `plugin` is, with signals that the pool has.
    pub(super) fn checked_scorer(&mut self, plugin: Plugin<'_>) -> Result<Scorer, ConfigError> {
        let scorer = scorer(plugin, self.engines.all(), self.watched)?;
        self.engines.check_scorer(plugin, &scorer)?;
        Ok(scorer)
    }

    /// The filter that `plugin` is, with signals that the pool has.
    pub(super) fn checked_filter(&self, plugin: Plugin<'_>) -> Result<Filter, ConfigError> {
        self.with_signals(plugin, filter(plugin)?)
    }

    /// A filter that `plugin` is, if the pool has its signals.
    pub(super) fn with_signals(
        &self,
        plugin: Plugin<'_>,
        filter: Filter,
    ) -> Result<Filter, ConfigError> {
        self.engines.check_filter(plugin, &filter)?;
        Ok(filter)
    }

    /// Refuses disaggregation at `path` where its headers could not be set.
    pub(super) fn check_headers_can_be_set(&self, path: &str) -> Result<(), ConfigError> {
        if self.hand_over.is_header() {
            return Ok(());
        }
        Err(refused(
            path,
            "none with original-dst-filter-state, where the headers have left before the \
             prefiller is known",
            "some",
        ))
    }
}
