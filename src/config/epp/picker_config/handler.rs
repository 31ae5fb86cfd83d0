//! Who picks profiles in an `EndpointPickerConfig`, and what becomes of that.

use serde::{Deserialize, de::IgnoredAny};

use super::{
    Named, Plugins,
    kind::Kind,
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
        (Some(handler), _) if handler.kind == Kind::Disaggregation => {
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

/// A profile that decodes, and where a decider says so one that prefills.
fn disaggregated(
    handler: &Named<'_>,
    profiles: &[NamedProfile<'_>],
    plugins: &Plugins<'_>,
    built: &mut Built<'_, '_, '_>,
) -> Result<Checked, ConfigError> {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase", deny_unknown_fields)]
    struct Parameters {
        #[serde(rename = "stageOrder")]
        _stage_order: Option<StageOrder>,
        profiles: Profiles,
        deciders: Deciders,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum StageOrder {
        DecodeFirst,
    }

    #[derive(Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Profiles {
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

    let plugin = handler.plugin(handler.spec.parameters.as_ref());
    let given: Parameters = plugin.parameters()?;
    if let Some(name) = given.deciders.encode.filter(|name| !name.is_empty()) {
        let expected = "none: encoders are not chosen";
        return Err(plugin.refused("deciders.encode", expected, format_args!("{name:?}")));
    }
    let decode = named(given.profiles.decode, DECODE);
    let decode = find(plugin, "profiles.decode", profiles, &decode)?;
    let decode = built.profile(decode, Condition::default())?;
    let decider = given.deciders.prefill.filter(|name| !name.is_empty());
    let Some(decider) = decider else {
        return Ok(of(vec![decode]));
    };
    let Some(min_uncached_tokens) = min_uncached_tokens(plugin, plugins, &decider)? else {
        return Ok(of(vec![decode]));
    };
    built.scope.check_headers_can_be_set(&plugin.at("type"))?;
    let prefill = named(given.profiles.prefill, PREFILL);
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
            let plugin = decider.plugin(decider.spec.parameters.as_ref());
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
