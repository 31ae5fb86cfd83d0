//! The parameters of `endpoint-attribute`, checked.

use serde::Deserialize;

use super::plugin::Plugin;
use crate::{
    config::settings::ConfigError, model_server::Engines, pool::Signal,
    scheduling::EndpointAttribute,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Parameters {
    #[serde(alias = "attributeKey")]
    attribute: String,
    range: Option<(f64, f64)>,
    prefer: Option<Prefer>,
    /// The Endpoint Picker's form of the two above.
    algorithm: Option<Algorithm>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Prefer {
    #[serde(alias = "linear_higher_is_better")]
    Higher,
    #[serde(alias = "linear_lower_is_better")]
    Lower,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Algorithm {
    r#type: Prefer,
    #[serde(default)]
    normalization: Normalization,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Normalization {
    fixed_range: Option<FixedRange>,
    adaptive_range: Option<AdaptiveRange>,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct FixedRange {
    min: f64,
    max: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AdaptiveRange {}

/// The attribute that `plugin` asks for, and how it is scored.
pub(super) fn endpoint_attribute(
    plugin: Plugin<'_>,
    engines: &Engines,
) -> Result<EndpointAttribute, ConfigError> {
    let given: Parameters = plugin.parameters()?;
    let (prefer, range, range_field) = match (given.algorithm, given.prefer, given.range) {
        (None, Some(prefer), range) => (prefer, range, "range"),
        (Some(algorithm), None, None) => {
            let Normalization {
                fixed_range,
                adaptive_range,
            } = algorithm.normalization;
            if fixed_range.is_some() && adaptive_range.is_some() {
                let field = "algorithm.normalization";
                let expected = "fixedRange or adaptiveRange";
                return Err(plugin.refused(field, expected, "both"));
            }
            let range = fixed_range.map(|FixedRange { min, max }| (min, max));
            (
                algorithm.r#type,
                range,
                "algorithm.normalization.fixedRange",
            )
        }
        (Some(_), _, _) => {
            let expected = "none beside prefer or range, which say the same";
            return Err(plugin.refused("algorithm", expected, "both"));
        }
        (None, None, _) => {
            let expected = "\"higher\" or \"lower\"";
            return Err(plugin.refused("prefer", expected, "none"));
        }
    };
    if let Some((min, max)) = range
        && !(min.is_finite() && max.is_finite() && min < max)
    {
        let expected = "two numbers, the smaller first";
        let found = format_args!("{min} and {max}");
        return Err(plugin.refused(range_field, expected, found));
    }
    Ok(EndpointAttribute {
        signal: signal(plugin, engines, &given.attribute)?,
        name: given.attribute,
        range,
        higher_is_better: prefer == Prefer::Higher,
    })
}

/// The signal called `name`: a custom metric's, or one that has a meaning of its own.
fn signal(plugin: Plugin<'_>, engines: &Engines, name: &str) -> Result<Signal, ConfigError> {
    let custom = (0..).map(Signal::Custom).zip(engines.custom_metrics());
    let mut signals = custom.map(|(signal, name)| (signal, name.as_str()));
    let own = Signal::ALL.map(|signal| (signal, signal.name()));
    let named = |(_, known): &(Signal, &str)| *known == name;
    if let Some((signal, _)) = signals.find(named).or_else(|| own.into_iter().find(named)) {
        return Ok(signal);
    }
    let names = engines.custom_metrics().iter().map(String::as_str);
    let names: Vec<_> = names.chain(own.map(|(_, name)| name)).collect();
    let expected = format!("one of {}", names.join(", "));
    Err(plugin.refused("attribute", expected, format_args!("{name:?}")))
}
