//! The results as a person reads them.

use std::fmt::Write as _;

use comfy_table::Table;
use testbed::load::statistics::Distribution;

use super::results::{Cell, METRICS, Machine, Results, Settings};
use crate::bench::table::{aligned, table};

impl Results {
    /// As a person reads it.
    pub(super) fn text(&self) -> String {
        let Settings { slo, window, .. } = self.settings;
        let mut text = format!(
            "Seconds are simulated ({} in a real one). Requests of the first {:.0} s are not counted. \
             Goodput: requests/s with\nTTFT <= {} s and TPOT <= {} s.\n\n{}\n",
            self.settings.time_scale,
            window.from,
            slo.ttft,
            slo.tpot,
            self.table()
        );
        if self.settings.repeats > 1 {
            // Writing into a String cannot fail.
            let _ = write!(
                text,
                "\nSpread: the largest of {} repeats with one seed divided by the smallest.\n\n{}\n",
                self.settings.repeats,
                self.spread_table()
            );
        }
        let _ = write!(text, "\n{}", self.machine());
        for warning in &self.warnings {
            let _ = write!(text, "\nWARNING: {warning}");
        }
        text
    }

    fn table(&self) -> Table {
        let mut table = table(&[
            "workload",
            "policy",
            "rate",
            "TTFT mean",
            "p50",
            "p90",
            "p99",
            "TPOT p50",
            "p99",
            "e2e p99",
            "goodput",
            "errors",
            "cache hits",
            "imbalance",
            "preempted",
        ]);
        for cell in &self.cells {
            let Cell { users, servers, .. } = cell;
            let rate = self.runs.iter().find(|run| run.workload == cell.workload);
            let errors: usize = users.errors.values().sum();
            table.add_row([
                cell.workload.name().to_owned(),
                cell.policy.name().to_owned(),
                format!("{:.1}", rate.map_or(0.0, |run| run.rate)),
                format!("{:.2}", users.ttft.mean),
                format!("{:.2}", users.ttft.p50),
                format!("{:.2}", users.ttft.p90),
                format!("{:.2}", users.ttft.p99),
                format!("{:.3}", users.tpot.p50),
                format!("{:.3}", users.tpot.p99),
                format!("{:.1}", users.e2e.p99),
                format!("{:.2}", users.goodput),
                errors.to_string(),
                format!("{:.0} %", servers.hit_ratio * 100.0),
                format!("{:.2}", servers.imbalance),
                format!("{:.0}", servers.preemptions),
            ]);
        }
        aligned(table, 2)
    }

    fn spread_table(&self) -> Table {
        let mut table = table(&["metric", "median", "largest", "where"]);
        for (metric, _) in METRICS {
            let mut of_metric: Vec<(f64, &Cell)> = self
                .cells
                .iter()
                .filter_map(|cell| {
                    let spread = cell.spread.iter().find(|spread| spread.metric == metric)?;
                    Some((spread.ratio, cell))
                })
                .collect();
            of_metric.sort_by(|a, b| a.0.total_cmp(&b.0));
            let ratios = Distribution::of(of_metric.iter().map(|(ratio, _)| *ratio));
            if let Some((largest, cell)) = of_metric.last() {
                table.add_row([
                    metric.to_owned(),
                    format!("{:.2}", ratios.p50),
                    format!("{largest:.2}"),
                    format!("{}, {}", cell.workload.name(), cell.policy.name()),
                ]);
            }
        }
        aligned(table, 1)
    }

    fn machine(&self) -> String {
        let of = |value: fn(&Machine) -> f64| {
            Distribution::of(self.runs.iter().map(|run| value(&run.machine)))
        };
        let worst = |value: fn(&Machine) -> f64| {
            self.runs
                .iter()
                .map(|run| value(&run.machine))
                .fold(0.0, f64::max)
        };
        format!(
            "Machine, in real time: Envoy used {:.2} cores on average and {:.2} at most, clients and \
             simulated servers {:.2} and {:.2}.\nRequests were sent {:.1} ms late at the 99th \
             percentile of the worst run, the simulated servers up to {:.1} ms.",
            of(|it| it.envoy_cores).mean,
            worst(|it| it.envoy_cores),
            of(|it| it.bench_cores).mean,
            worst(|it| it.bench_cores),
            worst(|it| it.lag_p99_ms),
            worst(|it| it.behind_ms),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::results;

    #[test]
    fn the_text_has_a_row_for_each_cell_and_the_widest_spread() {
        let text = results().text();
        let rows = text.lines().filter(|line| line.starts_with("| uniform"));
        assert_eq!(rows.count(), 2, "{text}");
        let spread = text.lines().find(|line| line.starts_with("| TTFT mean"));
        assert!(
            spread.is_some_and(|line| line.contains("1.50") && line.contains("uniform, random")),
            "{text}"
        );
    }
}
