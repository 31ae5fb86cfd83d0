//! Who picks profiles in an `EndpointPickerConfig`, and what becomes of that.

use serde::{Deserialize, de::IgnoredAny};

use super::{
    Named, Plugins,
    kind::{Kind, PREFIX_SPLIT},
    profile::{Built, NamedProfile},
};
use crate::{
    config::{
        disaggregation::DisaggregationHeaders,
        header_name::client_header_name,
        scheduling::{Checked, Plugin},
        settings::{ConfigError, refused},
    },
    scheduling::{Condition, Disaggregation, HeaderCondition, Profile, Scheduling},
};

/// The header whose value names a profile, unless another is configured.
const PROFILE_HEADER: &str = "epp-profile";
const DECODE: &str = "decode";
const PREFILL: &str = "prefill";

/// Makes `profiles` what their handler makes of them.
pub(super) fn check(
    profiles: &[NamedProfile<'_>],
    plugins: &Plugins<'_>,
    built: &mut Built<'_, '_, '_>,
) -> Result<Checked, ConfigError> {
    let mut handlers = plugins.values().filter(|named| named.kind.is_handler());
    let handler = handlers.next();
    if let Some(Named { path, spec, .. }) = handlers.next() {
        let path = format!("{path}.type");
        let expected = "one profile handler";
        return Err(refused(path, expected, format_args!("{:?}", spec.r#type)));
    }
    match (handler, profiles) {
        (Some(handler), _) if handler.kind.splits() => {
            disaggregated(handler, profiles, plugins, built)
        }
        // With one profile a header has nothing to choose.
        (_, [profile]) => Ok(of(vec![built.profile(profile, Condition::default())?])),
        (Some(handler), _) if handler.kind == Kind::HeaderProfile => {
            by_header(handler, profiles, built)
        }
        _ => Err(refused(
            "scheduling.schedulingProfiles",
            "one profile, or a header-profile-handler or disagg-profile-handler among plugins",
            profiles.len(),
        )),
    }
}

fn of(profiles: Vec<Profile>) -> Checked {
    Checked {
        scheduling: Scheduling {
            profiles,
            disaggregation: None,
        },
        headers: DisaggregationHeaders::default(),
    }
}

/// Each profile for the requests whose header names it, the default one for all others.
fn by_header(
    handler: &Named<'_>,
    profiles: &[NamedProfile<'_>],
    built: &mut Built<'_, '_, '_>,
) -> Result<Checked, ConfigError> {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase", deny_unknown_fields)]
    struct Parameters {
        header_name: Option<String>,
        default_profile: Option<String>,
    }

    let plugin = handler.plugin(handler.spec.parameters.as_ref());
    let given: Parameters = plugin.parameters()?;
    let header = named(given.header_name, PROFILE_HEADER);
    let header = client_header_name(&plugin.at("parameters.headerName"), &header)?;
    let default = named(given.default_profile, DECODE);
    let default = find(plugin, "defaultProfile", profiles, &default)?;

    let mut checked = Vec::new();
    for profile in profiles {
        let condition = HeaderCondition {
            header: built.scope.watched.watch(&header),
            value: Some(profile.name.to_owned()),
        };
        let when = Condition {
            headers: vec![condition],
            ..Condition::default()
        };
        if profile.name != default.name {
            checked.push(built.profile(profile, when)?);
        }
    }
    checked.push(built.profile(default, Condition::default())?);
    Ok(of(checked))
}

/// Who decodes, who prefills, and who decides whether that is another.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Stages {
    #[serde(rename = "stageOrder")]
    _stage_order: Option<StageOrder>,
    profiles: StageProfiles,
    deciders: Deciders,
    /// Its older form, which has no objects.
    decode_profile: Option<String>,
    prefill_profile: Option<String>,
    #[serde(rename = "encodeProfile")]
    _encode_profile: IgnoredAny,
    #[serde(alias = "deciderPluginName")]
    prefill_decider_plugin_name: Option<String>,
    encode_decider_plugin_name: Option<String>,
    /// Of the oldest, which had no deciders: tokens of which as many are split off.
    threshold: Option<u64>,
    /// Of the port that fronts the ranks of one server.
    primary_port: Option<u16>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StageOrder {
    DecodeFirst,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct StageProfiles {
    decode: Option<String>,
    prefill: Option<String>,
    /// Without its decider it never runs.
    #[serde(rename = "encode")]
    _encode: IgnoredAny,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Deciders {
    prefill: Option<String>,
    encode: Option<String>,
}

/// A profile that decodes, and where a decider says so one that prefills.
fn disaggregated(
    handler: &Named<'_>,
    profiles: &[NamedProfile<'_>],
    plugins: &Plugins<'_>,
    built: &mut Built<'_, '_, '_>,
) -> Result<Checked, ConfigError> {
    let parameters = handler.effective();
    let plugin = handler.plugin(parameters.as_ref());
    let given: Stages = plugin.parameters()?;
    let is_said = |name: &String| !name.is_empty();
    for (field, encoder) in [
        ("deciders.encode", given.deciders.encode),
        ("encodeDeciderPluginName", given.encode_decider_plugin_name),
    ] {
        if let Some(name) = encoder.filter(is_said) {
            let expected = "none: encoders are not chosen";
            return Err(plugin.refused(field, expected, format_args!("{name:?}")));
        }
    }
    if let Some(port) = given.primary_port.filter(|&port| port != 0) {
        let expected = "0: each rank is an endpoint of its own";
        return Err(plugin.refused("primaryPort", expected, port));
    }
    let decode = named(given.profiles.decode.or(given.decode_profile), DECODE);
    let decode = find(plugin, "profiles.decode", profiles, &decode)?;
    let decode = built.profile(decode, Condition::default())?;
    let decider = given.deciders.prefill.filter(is_said);
    let decider = decider.or(given.prefill_decider_plugin_name.filter(is_said));
    let min_uncached_tokens = match (decider, given.threshold) {
        (Some(_), Some(threshold)) => {
            let expected = "none beside a decider";
            return Err(plugin.refused("threshold", expected, threshold));
        }
        (Some(decider), None) => min_uncached_tokens(plugin, plugins, &decider)?,
        (None, threshold) if handler.kind == Kind::PrefillDecode => match threshold {
            None if plugins.contains_key(PREFIX_SPLIT) => {
                min_uncached_tokens(plugin, plugins, PREFIX_SPLIT)?
            }
            // As many are enough there, and here it takes more.
            threshold => Some(threshold.unwrap_or_default().saturating_sub(1)),
        },
        (None, None) => None,
        (None, Some(threshold)) => {
            let expected = "none: a decider says what is split off";
            return Err(plugin.refused("threshold", expected, threshold));
        }
    };
    let Some(min_uncached_tokens) = min_uncached_tokens else {
        return Ok(of(vec![decode]));
    };
    built.scope.check_headers_can_be_set(&plugin.at("type"))?;
    let prefill = named(given.profiles.prefill.or(given.prefill_profile), PREFILL);
    let prefill = find(plugin, "profiles.prefill", profiles, &prefill)?;
    let mut checked = of(vec![decode, built.profile(prefill, Condition::default())?]);
    checked.scheduling.disaggregation = Some(Disaggregation {
        prefill: 1,
        min_uncached_tokens,
    });
    Ok(checked)
}

/// Tokens that the decoder would have to read, of which more are split off by the decider called
/// `name`; `None` if it never splits.
fn min_uncached_tokens(
    handler: Plugin<'_>,
    plugins: &Plugins<'_>,
    name: &str,
) -> Result<Option<u64>, ConfigError> {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase", deny_unknown_fields)]
    struct Parameters {
        non_cached_tokens: u64,
        prompt_tokens: u64,
    }

    match plugins.get(name) {
        Some(decider) if decider.kind == Kind::AlwaysSplit => Ok(Some(0)),
        Some(decider) if decider.kind == Kind::PrefixSplit => {
            let parameters = decider.effective();
            let plugin = decider.plugin(parameters.as_ref());
            let Parameters {
                non_cached_tokens,
                prompt_tokens,
            } = plugin.parameters()?;
            // A prompt has no fewer tokens than are not cached of it.
            if prompt_tokens > non_cached_tokens {
                let expected = "no more than nonCachedTokens";
                return Err(plugin.refused("promptTokens", expected, prompt_tokens));
            }
            // There as many are enough, here it takes more; and 0 is never.
            Ok(non_cached_tokens.checked_sub(1))
        }
        _ => Err(handler.refused(
            "deciders.prefill",
            "the name of an always-disagg-pd-decider or a prefix-based-pd-decider",
            format_args!("{name:?}"),
        )),
    }
}

fn named(given: Option<String>, default: &str) -> String {
    let given = given.map(|name| name.trim().to_owned());
    let given = given.filter(|name| !name.is_empty());
    given.unwrap_or_else(|| default.to_owned())
}

fn find<'p, 'a>(
    handler: Plugin<'_>,
    parameter: &str,
    profiles: &'p [NamedProfile<'a>],
    name: &str,
) -> Result<&'p NamedProfile<'a>, ConfigError> {
    profiles
        .iter()
        .find(|profile| profile.name == name)
        .ok_or_else(|| {
            let expected = "the name of one of schedulingProfiles";
            handler.refused(parameter, expected, format_args!("{name:?}"))
        })
}
