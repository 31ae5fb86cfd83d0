//! Four workers decide as one: what one of them has routed, the others know.
//!
//! Every request comes on a connection of its own, which the kernel gives to any of the workers.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use testbed::{
    load::workload::Workload,
    model_server::SpeedClass,
    workers::{
        burst::{self, Burst},
        hits::{self, Hits, Users},
    },
};

use crate::support::{NEVER_LATE, NEVER_STALE};

const WORKERS: u64 = 4;

/// The least of one worker's prefix hits that four must find.
const HITS_BOUND: f64 = 0.95;

/// The most times of one worker's spread that four may have.
const SPREAD_BOUND: f64 = 1.5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn turns_of_a_chat_find_their_prefix_whichever_worker_they_come_to() -> Result<()> {
    as_many_hits_as_one_worker(Workload::Chat, 6.0, 0.5).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_prefix_is_found_whichever_worker_is_asked() -> Result<()> {
    as_many_hits_as_one_worker(Workload::SharedPrefix, 6.0, 0.6).await
}

/// Asserts it, and that one worker finds so many that there is something to miss.
async fn as_many_hits_as_one_worker(workload: Workload, rate: f64, least: f64) -> Result<()> {
    let users = Users {
        workload,
        seed: 1,
        rate,
        duration: 50.0,
        servers: 4,
        // Their caches hold everything: what is not found was looked for at the wrong server.
        speed: SpeedClass::A100,
        // Slow enough for a machine on which other tests run.
        time_scale: 5.0,
        // Not even where the machine stands still for longer than ten of its short intervals.
        patch: json!({ "metrics": { "staleAfter": NEVER_STALE, "timeout": NEVER_LATE } }),
    };
    let (one, four) = tokio::join!(hits::measure(&users, 1), hits::measure(&users, WORKERS));
    let (one, four) = (one?, four?);
    let what = format!("one worker {one:?}, four {four:?}");
    for Hits { failed, .. } in [&one, &four] {
        assert_eq!(*failed, 0, "{what}");
    }
    assert_all_work(&four.connections, &what);
    assert!(one.ratio() >= least, "{}: {what}", one.ratio());
    let ratio = four.ratio() / one.ratio();
    assert!(ratio >= HITS_BOUND, "{ratio}: {what}");
    Ok(())
}

#[tokio::test]
async fn a_burst_between_two_scrapes_spreads_as_with_one_worker() -> Result<()> {
    // The servers begin uneven, so that the right spread is not zero. Four workers that knew nothing
    // of each other would each fill the emptiest one, and come to four times the spread.
    for over in [Duration::ZERO, Duration::from_millis(800)] {
        // The mean of several: a worker that gets no processor while the others decide goes by what it
        // heard before.
        let burst = Burst::new(over, Duration::from_secs(1), 3);
        let (one, four) = tokio::join!(burst::measure(&burst, 1), burst::measure(&burst, WORKERS));
        let (one, four) = (one?, four?);
        let what = format!("over {over:?}: one worker {one:?}, four {four:?}");
        assert_all_work(&four.connections, &what);
        assert!(one.spread() > 1.0, "{what}");
        assert!(four.spread() <= SPREAD_BOUND * one.spread(), "{what}");
    }
    Ok(())
}

/// Asserts that each worker had so much to do that it matters what it knows.
fn assert_all_work(connections: &[u64], what: &str) {
    assert_eq!(connections.len() as u64, WORKERS, "{what}");
    let all: u64 = connections.iter().sum();
    assert!(
        connections.iter().all(|one| *one > all / 10),
        "an idle worker: {what}"
    );
}
