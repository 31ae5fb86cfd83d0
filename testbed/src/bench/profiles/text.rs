//! The results as a person reads them.

use std::fmt::Write as _;

use comfy_table::Table;

use super::{
    ratio::Ratio,
    results::{Compared, Results, Settings},
};
use crate::bench::table::{aligned, table};

impl Results {
    /// As a person reads it.
    pub(super) fn text(&self) -> String {
        let Settings {
            first_seed,
            end_seed,
            window,
            profiles,
            ..
        } = &self.settings;
        let mut text = format!(
            "Seconds are simulated. Requests of the first {:.0} s of {:.0} are not counted. Seeds {first_seed} to \
             {}; p99 to first: of TTFT,\nby that of the workload's first row with the same seed, the geometric \
             mean (least..greatest).\n\n{}",
            window.from,
            window.until,
            end_seed - 1,
            self.table()
        );
        for profile in profiles {
            if let Some(scheduling) = &profile.scheduling {
                // Writing into a String cannot fail.
                let _ = write!(text, "\n\n{}: {scheduling}", profile.name);
            }
        }
        text
    }

    fn table(&self) -> Table {
        let mut table = table(&[
            "workload",
            "profile",
            "interval",
            "rate",
            "requests",
            "errors",
            "TTFT mean",
            "p50",
            "p90",
            "p99",
            "e2e p99",
            "cache hits",
            "p99 to first",
        ]);
        for Compared { row, p99_to_first } in &self.rows {
            let users = &row.users;
            let errors: usize = users.errors.values().sum();
            table.add_row([
                row.workload.name().to_owned(),
                row.profile.clone(),
                humantime::format_duration(row.interval).to_string(),
                format!("{:.1}", row.rate),
                users.requests.to_string(),
                errors.to_string(),
                format!("{:.3}", users.ttft.mean),
                format!("{:.3}", users.ttft.p50),
                format!("{:.3}", users.ttft.p90),
                format!("{:.3}", users.ttft.p99),
                format!("{:.2}", users.e2e.p99),
                format!("{:.1} %", row.hit_ratio * 100.0),
                p99_to_first.map_or_else(String::new, text_of),
            ]);
        }
        aligned(table, 2)
    }
}

/// The first row's to itself is one, whatever the seed.
fn text_of(ratio: Ratio) -> String {
    let Ratio {
        mean,
        least,
        greatest,
    } = ratio;
    if least == 1.0 && greatest == 1.0 {
        "1".to_owned()
    } else {
        format!("{mean:.2} ({least:.2}..{greatest:.2})")
    }
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::results;

    #[test]
    fn the_text_has_a_row_for_each_cell_and_says_what_was_asked() {
        let text = results().text();
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| ")).collect();
        // The header is one of them.
        assert_eq!(rows.len(), 5, "{text}");
        assert!(rows[1].contains("| default"), "{text}");
        assert!(rows[1].ends_with(" 1 |"), "{text}");
        assert!(rows[2].contains("scheduling 1"), "{text}");
        assert!(rows[2].contains("4.00 (2.00..8.00)"), "{text}");
        assert!(
            text.ends_with("scheduling 1: {\"scorers\":[{\"type\":\"queue\"}]}"),
            "{text}"
        );
    }
}
