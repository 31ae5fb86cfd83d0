//! The results as a person reads them.

use clap::ValueEnum;
use comfy_table::Table;

use super::{BurstRow, FaultsRow, HitsRow, Results};
use crate::bench::table::{aligned, table};

/// The least share of one worker's prefix hits that several must find.
const HITS_BOUND: f64 = 0.95;

/// The most times of one worker's spread that several may have.
const SPREAD_BOUND: f64 = 1.5;

impl HitsRow {
    /// What several workers found, by what one did.
    fn ratio(&self) -> f64 {
        self.several.ratio() / self.one.ratio().max(f64::MIN_POSITIVE)
    }

    pub(super) fn line(&self) -> String {
        format!(
            "hits: {}, seed {}: {:.1} % with one worker, {:.1} % with several, connections {:?}",
            self.users.workload.name(),
            self.users.seed,
            self.one.ratio() * 100.0,
            self.several.ratio() * 100.0,
            self.several.connections,
        )
    }
}

impl BurstRow {
    /// How much less even several workers are than one.
    fn ratio(&self) -> f64 {
        self.several.spread() / self.one.spread().max(f64::MIN_POSITIVE)
    }

    fn pace(&self) -> String {
        if self.burst.over.is_zero() {
            "at once".to_owned()
        } else {
            format!("over {} ms", self.burst.over.as_millis())
        }
    }

    pub(super) fn line(&self) -> String {
        format!(
            "burst: {} {}: one worker {:?}, several {:?}",
            self.burst.requests,
            self.pace(),
            self.one.in_flight,
            self.several.in_flight,
        )
    }
}

impl FaultsRow {
    pub(super) fn line(&self) -> String {
        format!(
            "faults: {} requests in {:.1} s, and then nothing is in flight",
            self.requests, self.seconds
        )
    }
}

impl Results {
    /// As a person reads it.
    pub(super) fn text(&self) -> String {
        let mut parts = Vec::new();
        if !self.hits.is_empty() {
            parts.push(format!(
                "Prompt tokens found in a prefix cache, each request on a connection of its own; the bound \
                 is {HITS_BOUND} of one worker's:\n\n{}",
                self.hits_table()
            ));
        }
        if !self.bursts.is_empty() {
            parts.push(format!(
                "Requests of a burst at each server, of which none is answered; the spread is their \
                 standard deviation over\nthe servers, the mean of the repeats, and its bound {SPREAD_BOUND} \
                 times one worker's. The servers begin with 0, 4, 8 … requests\nof others; \"of all\" counts \
                 these too:\n\n{}",
                self.bursts_table()
            ));
        }
        if let Some(faults) = &self.faults {
            parts.push(format!("{}:\n\n{}", faults.line(), faults.table()));
        }
        parts.join("\n\n")
    }

    fn several(&self) -> String {
        format!("{} workers", self.workers)
    }

    fn hits_table(&self) -> Table {
        let several = self.several();
        let mut table = table(&[
            "workload", "seed", "requests", "1 worker", &several, "ratio", "bound",
        ]);
        for row in &self.hits {
            let ratio = row.ratio();
            table.add_row([
                row.users.workload.name().to_owned(),
                row.users.seed.to_string(),
                row.several.answered.to_string(),
                format!("{:.1} %", row.one.ratio() * 100.0),
                format!("{:.1} %", row.several.ratio() * 100.0),
                format!("{ratio:.3}"),
                verdict(ratio >= HITS_BOUND),
            ]);
        }
        aligned(table, 1)
    }

    fn bursts_table(&self) -> Table {
        let mut table = table(&[
            "burst",
            "workers",
            "largest",
            "spread of all",
            "spread",
            "ratio",
            "bound",
        ]);
        for row in &self.bursts {
            let name = format!("{} {}", row.burst.requests, row.pace());
            let ratio = row.ratio();
            let last = [
                (1, &row.one, ["1.00".to_owned(), String::new()]),
                (
                    self.workers,
                    &row.several,
                    [format!("{ratio:.2}"), verdict(ratio <= SPREAD_BOUND)],
                ),
            ];
            for (workers, landed, [ratio, verdict]) in last {
                table.add_row([
                    name.clone(),
                    workers.to_string(),
                    format!("{:.1}", landed.largest()),
                    format!("{:.2}", landed.spread_of_all()),
                    format!("{:.2}", landed.spread()),
                    ratio,
                    verdict,
                ]);
            }
        }
        aligned(table, 1)
    }
}

impl FaultsRow {
    fn table(&self) -> Table {
        let mut table = table(&["fault", "end", "requests"]);
        for (fault, end, count) in &self.ends {
            let name = fault.to_possible_value();
            let name = name.as_ref().map_or("", |name| name.get_name());
            table.add_row([name.to_owned(), end.clone(), count.to_string()]);
        }
        aligned(table, 2)
    }
}

fn verdict(held: bool) -> String {
    if held { "held" } else { "NOT held" }.to_owned()
}
