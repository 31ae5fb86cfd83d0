//! `/metrics`: the exposition of a real vLLM with the simulated load in it.

use super::Load;

/// What an idle vLLM 0.32 answers to `GET /metrics`.
const IDLE_VLLM: &str = include_str!("../../../fixtures/metrics/vllm-0.32-idle.prom");

/// The media type vLLM gives it.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes the exposition. Only the samples of the three families that tell the load differ from
/// [`IDLE_VLLM`].
pub(super) fn render(load: Load) -> String {
    let mut exposition = String::with_capacity(IDLE_VLLM.len() + 64);
    for line in IDLE_VLLM.split_inclusive('\n') {
        match sample(line).and_then(|(series, family)| Some((series, live_value(family, load)?))) {
            // Debug, because it writes whole floats as Prometheus clients do: "3.0", not "3".
            Some((series, value)) => exposition.push_str(&format!("{series} {value:?}\n")),
            None => exposition.push_str(line),
        }
    }
    exposition
}

/// The series (`family{labels}`) and the family of a sample line.
fn sample(line: &str) -> Option<(&str, &str)> {
    let (series, _value) = line.trim_end().rsplit_once(' ')?;
    let family = series.split('{').next()?;
    (!line.starts_with('#')).then_some((series, family))
}

fn live_value(family: &str, load: Load) -> Option<f64> {
    match family {
        "vllm:num_requests_waiting" => Some(f64::from(load.waiting)),
        "vllm:num_requests_running" => Some(f64::from(load.running)),
        "vllm:kv_cache_usage_perc" => Some(load.kv_cache_usage),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_is_verbatim() {
        assert_eq!(render(Load::default()), IDLE_VLLM);
    }

    #[test]
    fn only_the_load_differs() {
        let exposition = render(Load {
            waiting: 7,
            running: 12,
            kv_cache_usage: 0.25,
        });
        let changed: Vec<&str> = exposition
            .lines()
            .zip(IDLE_VLLM.lines())
            .filter_map(|(line, idle)| (line != idle).then_some(line))
            .collect();
        assert_eq!(
            changed,
            [
                r#"vllm:num_requests_running{engine="0",model_name="tiny"} 12.0"#,
                r#"vllm:num_requests_waiting{engine="0",model_name="tiny"} 7.0"#,
                r#"vllm:kv_cache_usage_perc{engine="0",model_name="tiny"} 0.25"#,
            ]
        );
        assert_eq!(exposition.lines().count(), IDLE_VLLM.lines().count());
    }
}
