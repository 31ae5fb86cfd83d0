//! Filters and their parameters, checked.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::plugin::Plugin;
use crate::{
    config::settings::ConfigError,
    scheduling::{
        ContextLengthAware, Filter, LabelExpression, LabelOperator, LabelSelector,
        PrefixCacheAffinity, Role, RoleFilter, Utilization, UtilizationCondition,
        UtilizationMetric,
    },
};

/// The names of all of them.
pub(in crate::config) const FILTERS: [&str; 5] = [
    "label-selector",
    "role",
    "utilization",
    "prefix-cache-affinity",
    "context-length-aware",
];
const DEFAULT_ROLE_LABEL: &str = "llm-d.ai/role";

/// The filter that `plugin` is. The Endpoint Picker's names are known too.
pub(in crate::config) fn filter(plugin: Plugin<'_>) -> Result<Filter, ConfigError> {
    Ok(match plugin.kind {
        "label-selector" | "label-selector-filter" => {
            Filter::LabelSelector(label_selector(plugin)?)
        }
        "role" => Filter::Role(role(plugin)?),
        "decode-filter" => plugin.without_parameters(of_role(Role::Decode))?,
        "prefill-filter" => plugin.without_parameters(of_role(Role::Prefill))?,
        "utilization" | "utilization-filter" => Filter::Utilization(utilization(plugin)?),
        "prefix-cache-affinity" | "prefix-cache-affinity-filter" => {
            Filter::PrefixCacheAffinity(prefix_cache_affinity(plugin)?)
        }
        "context-length-aware" => Filter::ContextLengthAware(context_length_aware(plugin)?),
        _ => return Err(plugin.unknown(&FILTERS)),
    })
}

/// The parameters of the scorer and of the filter `context-length-aware`.
pub(super) fn context_length_aware(plugin: Plugin<'_>) -> Result<ContextLengthAware, ConfigError> {
    #[derive(Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Parameters {
        label: Option<String>,
    }

    let Parameters { label } = plugin.parameters()?;
    let label = label.unwrap_or_else(|| ContextLengthAware::default().label);
    Ok(ContextLengthAware {
        label: plugin.label("label", label)?,
    })
}

fn of_role(role: Role) -> Filter {
    let label = DEFAULT_ROLE_LABEL.to_owned();
    Filter::Role(RoleFilter { label, role })
}

fn role(plugin: Plugin<'_>) -> Result<RoleFilter, ConfigError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Parameters {
        role: Written,
        label: Option<String>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Written {
        Prefill,
        Decode,
    }

    let Parameters { role, label } = plugin.parameters()?;
    let label = label.unwrap_or_else(|| DEFAULT_ROLE_LABEL.to_owned());
    Ok(RoleFilter {
        label: plugin.label("label", label)?,
        role: match role {
            Written::Prefill => Role::Prefill,
            Written::Decode => Role::Decode,
        },
    })
}

fn label_selector(plugin: Plugin<'_>) -> Result<LabelSelector, ConfigError> {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase", deny_unknown_fields)]
    struct Parameters {
        match_labels: BTreeMap<String, String>,
        match_expressions: Vec<Expression>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Expression {
        key: String,
        operator: Operator,
        #[serde(default)]
        values: Vec<String>,
    }

    #[derive(Deserialize)]
    enum Operator {
        In,
        NotIn,
        Exists,
        DoesNotExist,
    }

    let given: Parameters = plugin.parameters()?;
    if given.match_labels.is_empty() && given.match_expressions.is_empty() {
        let expected = "labels, or matchExpressions beside it";
        return Err(plugin.refused("matchLabels", expected, "none"));
    }
    let expressions = (0_usize..).zip(given.match_expressions);
    let expressions = expressions.map(|(index, expression)| {
        let at = |field: &str| format!("matchExpressions[{index}].{field}");
        let operator = match expression.operator {
            Operator::In => LabelOperator::In,
            Operator::NotIn => LabelOperator::NotIn,
            Operator::Exists => LabelOperator::Exists,
            Operator::DoesNotExist => LabelOperator::DoesNotExist,
        };
        let compares = matches!(operator, LabelOperator::In | LabelOperator::NotIn);
        if compares == expression.values.is_empty() {
            let expected = "values for In and NotIn, and for no other operator";
            let found = expression.values.len();
            return Err(plugin.refused(&at("values"), expected, found));
        }
        Ok(LabelExpression {
            key: plugin.label(&at("key"), expression.key)?,
            operator,
            values: expression.values,
        })
    });
    Ok(LabelSelector {
        match_expressions: expressions.collect::<Result<_, _>>()?,
        match_labels: given.match_labels.into_iter().collect(),
    })
}

fn utilization(plugin: Plugin<'_>) -> Result<Utilization, ConfigError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Parameters {
        conditions: Vec<Condition>,
        #[serde(default)]
        fallback_on_empty: bool,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Condition {
        metric: Metric,
        max_value: f64,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Metric {
        ActiveRequests,
        RunningRequests,
        WaitingQueue,
        KvCacheUtilization,
    }

    let given: Parameters = plugin.parameters()?;
    if given.conditions.is_empty() {
        return Err(plugin.refused("conditions", "at least one condition", "none"));
    }
    let conditions = (0_usize..).zip(given.conditions);
    let conditions = conditions.map(|(index, condition)| {
        let metric = match condition.metric {
            Metric::ActiveRequests => UtilizationMetric::ActiveRequests,
            Metric::RunningRequests => UtilizationMetric::RunningRequests,
            Metric::WaitingQueue => UtilizationMetric::WaitingQueue,
            Metric::KvCacheUtilization => UtilizationMetric::KvCacheUtilization,
        };
        let field = format!("conditions[{index}].maxValue");
        let max_value = match metric {
            UtilizationMetric::KvCacheUtilization => plugin.share(&field, condition.max_value)?,
            _ => plugin.at_least(&field, 0.0, condition.max_value)?,
        };
        Ok(UtilizationCondition { metric, max_value })
    });
    Ok(Utilization {
        conditions: conditions.collect::<Result<_, _>>()?,
        fallback_on_empty: given.fallback_on_empty,
    })
}

fn prefix_cache_affinity(plugin: Plugin<'_>) -> Result<PrefixCacheAffinity, ConfigError> {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase", deny_unknown_fields)]
    struct Parameters {
        affinity_threshold: Option<f64>,
        exploration_probability: Option<f64>,
        #[serde(alias = "maxTTFTPenaltyMs")]
        max_ttft_penalty_ms: Option<f64>,
        peak_prefill_throughput: Option<f64>,
        /// The Endpoint Picker's, which has another source besides.
        #[serde(rename = "ttftSource")]
        _ttft_source: Option<TtftSource>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    enum TtftSource {
        PrefillThroughput,
    }

    let (given, default): (Parameters, _) = (plugin.parameters()?, PrefixCacheAffinity::default());
    let threshold = given
        .affinity_threshold
        .unwrap_or(default.affinity_threshold);
    let exploration = given.exploration_probability;
    let exploration = exploration.unwrap_or(default.exploration_probability);
    let penalty = given
        .max_ttft_penalty_ms
        .unwrap_or(default.max_ttft_penalty_ms);
    let throughput = given.peak_prefill_throughput;
    let throughput = throughput.unwrap_or(default.peak_prefill_throughput);
    let throughput = plugin.at_least("peakPrefillThroughput", 0.0, throughput)?;
    let penalty = plugin.at_least("maxTtftPenaltyMs", 0.0, penalty)?;
    Ok(PrefixCacheAffinity {
        affinity_threshold: plugin.share("affinityThreshold", threshold)?,
        exploration_probability: plugin.share("explorationProbability", exploration)?,
        // As in the Endpoint Picker 0 is none, not the least.
        max_ttft_penalty_ms: if penalty > 0.0 { penalty } else { f64::MAX },
        peak_prefill_throughput: plugin.positive("peakPrefillThroughput", throughput)?,
    })
}
