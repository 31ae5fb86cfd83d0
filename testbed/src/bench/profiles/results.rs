//! Everything a profiles bench has found.

use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::Value;
use testbed::{
    load::{
        driver::Outcome,
        statistics::{Slo, Users, Window},
        workload::Workload,
    },
    model_server::SpeedClass,
};

use super::ratio::Ratio;

/// What was asked for.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Settings {
    pub(super) workloads: Vec<Workload>,
    /// The first is the filter's default.
    pub(super) profiles: Vec<Profile>,
    #[serde(serialize_with = "seconds_of_each")]
    pub(super) intervals: Vec<Duration>,
    pub(super) first_seed: u64,
    /// Behind the last.
    pub(super) end_seed: u64,
    pub(super) servers: usize,
    #[serde(serialize_with = "crate::bench::routing::name_of_speed")]
    pub(super) speed: SpeedClass,
    /// Times the default rates.
    pub(super) load: f64,
    pub(super) slo: Slo,
    pub(super) window: Window,
}

/// A `scheduling` under a name.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Profile {
    pub(super) name: String,
    /// None is the filter's default.
    pub(super) scheduling: Option<Value>,
}

impl Profile {
    /// The one at this place on the command line, where the default stands before all.
    pub(super) fn new(place: usize, scheduling: Option<Value>) -> Self {
        let name = match scheduling {
            None => "default".to_owned(),
            Some(_) => format!("scheduling {place}"),
        };
        Self { name, scheduling }
    }
}

/// What a row is about.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) workload: Workload,
    pub(super) profile: Profile,
    pub(super) interval: Duration,
}

impl Settings {
    /// All rows, those of a workload together.
    pub(super) fn cells(&self) -> Vec<Cell> {
        let mut cells = Vec::new();
        for workload in &self.workloads {
            for profile in &self.profiles {
                for interval in &self.intervals {
                    cells.push(Cell {
                        workload: *workload,
                        profile: profile.clone(),
                        interval: *interval,
                    });
                }
            }
        }
        cells
    }
}

/// A workload with a profile and an interval, over all seeds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub(super) workload: Workload,
    pub(super) profile: String,
    #[serde(serialize_with = "seconds")]
    pub(super) interval: Duration,
    /// Requests a second.
    pub(super) rate: f64,
    /// All requests of all seeds together.
    pub(super) users: Users,
    /// The share of their prompt tokens that came from a prefix cache.
    pub(super) hit_ratio: f64,
    pub(super) seeds: Vec<Seed>,
}

/// One run.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Seed {
    pub(super) seed: u64,
    pub(super) users: Users,
    pub(super) hit_ratio: f64,
    /// How often servers were scraped.
    pub(super) scrapes: usize,
}

impl Row {
    /// Itself in a line, for who watches.
    pub(super) fn line(&self) -> String {
        format!(
            "{:<14} {:<14} {:>6} TTFT mean {:7.3} s, p99 {:7.3} s, {:4.1} % from cache, {} requests",
            self.workload.name(),
            self.profile,
            humantime::format_duration(self.interval).to_string(),
            self.users.ttft.mean,
            self.users.ttft.p99,
            self.hit_ratio * 100.0,
            self.users.requests,
        )
    }
}

/// The share of prompt tokens that came from a prefix cache, of the answers that count.
pub(super) fn hit_ratio(runs: &[&[Outcome]], window: Window) -> f64 {
    let outcomes = runs.iter().flat_map(|run| run.iter());
    let (mut cached, mut prompts) = (0, 0);
    for outcome in outcomes.filter(|outcome| window.contains(outcome.due)) {
        if let Ok(seen) = &outcome.result {
            cached += seen.cached_tokens;
            prompts += seen.prompt_tokens;
        }
    }
    cached as f64 / (prompts as f64).max(1.0)
}

/// A row beside the first of its workload.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Compared {
    #[serde(flatten)]
    pub(super) row: Row,
    /// The 99th percentile of its times to first token, by that of the first row.
    pub(super) p99_to_first: Option<Ratio>,
}

/// Everything.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Results {
    pub(super) settings: Settings,
    pub(super) rows: Vec<Compared>,
}

impl Results {
    /// Of the rows of all [cells](Settings::cells), in their order.
    pub(super) fn of(settings: Settings, rows: Vec<Row>) -> Self {
        let p99_to_first = |row: &Row| {
            let first = rows.iter().find(|first| first.workload == row.workload)?;
            let pairs = row.seeds.iter().zip(&first.seeds);
            Ratio::of(pairs.map(|(seed, first)| seed.users.ttft.p99 / first.users.ttft.p99))
        };
        let ratios: Vec<_> = rows.iter().map(p99_to_first).collect();
        let compared = rows.into_iter().zip(ratios);
        Self {
            settings,
            rows: compared
                .map(|(row, p99_to_first)| Compared { row, p99_to_first })
                .collect(),
        }
    }
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

fn seconds_of_each<S: Serializer>(
    durations: &[Duration],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(durations.iter().map(Duration::as_secs_f64))
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;
    use testbed::load::{client::Failure, driver::Seen};

    use super::*;

    const WINDOW: Window = Window {
        from: 10.0,
        until: 20.0,
    };

    const SLO: Slo = Slo {
        ttft: 2.0,
        tpot: 0.2,
    };

    fn outcome(due: f64, ttft: f64, cached_tokens: u64) -> Outcome {
        Outcome {
            due,
            lag: 0.0,
            body_bytes: 10,
            result: Ok(Seen {
                ttft,
                tpot: Some(0.05),
                e2e: ttft + 1.0,
                tokens: 20,
                prompt_tokens: 100,
                cached_tokens,
            }),
        }
    }

    /// A request that is answered with each seed, and one that never is.
    fn row(cell: &Cell, ttfts: [f64; 2]) -> Row {
        let runs = ttfts.map(|ttft| {
            let unfinished = Outcome {
                result: Err(Failure::Unfinished),
                ..outcome(16.0, 0.0, 0)
            };
            vec![outcome(1.0, 99.0, 100), outcome(15.0, ttft, 25), unfinished]
        });
        let outcomes: Vec<&[Outcome]> = runs.iter().map(Vec::as_slice).collect();
        let seeds = (1..).zip(&outcomes).map(|(seed, outcomes)| Seed {
            seed,
            users: Users::of(&[outcomes], WINDOW, SLO),
            hit_ratio: hit_ratio(&[outcomes], WINDOW),
            scrapes: 7,
        });
        Row {
            workload: cell.workload,
            profile: cell.profile.name.clone(),
            interval: cell.interval,
            rate: 9.0,
            users: Users::of(&outcomes, WINDOW, SLO),
            hit_ratio: hit_ratio(&outcomes, WINDOW),
            seeds: seeds.collect(),
        }
    }

    /// Two workloads with two profiles, of which the second takes twice and eight times as long.
    pub(in super::super) fn results() -> Results {
        let asked = json!({ "scorers": [{ "type": "queue" }] });
        let settings = Settings {
            workloads: vec![Workload::Uniform, Workload::Chat],
            profiles: vec![Profile::new(0, None), Profile::new(1, Some(asked))],
            intervals: vec![Duration::from_millis(200)],
            first_seed: 1,
            end_seed: 3,
            servers: 6,
            speed: SpeedClass::L4,
            load: 1.0,
            slo: SLO,
            window: WINDOW,
        };
        let ttfts = |cell: &Cell| match (cell.workload, &cell.profile.scheduling) {
            (Workload::Uniform, None) => [1.0, 0.5],
            (Workload::Uniform, Some(_)) => [2.0, 4.0],
            _ => [3.0, 3.0],
        };
        let cells = settings.cells();
        let rows = cells.iter().map(|cell| row(cell, ttfts(cell))).collect();
        Results::of(settings, rows)
    }

    #[test]
    fn a_row_is_compared_with_the_first_of_its_workload_seed_by_seed() {
        let results = results();
        let ratios: Vec<Ratio> = results
            .rows
            .iter()
            .filter_map(|it| it.p99_to_first)
            .collect();
        let of = |mean, least, greatest| Ratio {
            mean,
            least,
            greatest,
        };
        let same = of(1.0, 1.0, 1.0);
        assert_eq!(ratios.len(), 4);
        assert_eq!([ratios[0], ratios[2], ratios[3]], [same; 3]);
        assert!((ratios[1].mean - 4.0).abs() < 1e-9, "{ratios:?}");
        assert_eq!((ratios[1].least, ratios[1].greatest), (2.0, 8.0));
    }

    #[test]
    fn only_what_counts_is_looked_for_in_the_caches() {
        let row = &results().rows[0].row;
        assert!((row.hit_ratio - 0.25).abs() < 1e-9);
        assert_eq!((row.users.requests, row.users.ttft.count), (4, 2));
    }

    #[test]
    fn results_are_json() -> anyhow::Result<()> {
        let json = serde_json::to_value(results())?;
        assert_eq!(json["settings"]["intervals"], json!([0.2]));
        assert_eq!(json["rows"][1]["profile"], "scheduling 1");
        assert_eq!(
            json["rows"][1]["seeds"][1]["users"]["errors"]["unfinished"],
            1
        );
        assert_eq!(json["rows"][1]["p99_to_first"]["greatest"], 8.0);
        Ok(())
    }
}
