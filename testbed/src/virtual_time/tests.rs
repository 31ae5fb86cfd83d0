//! Whole runs. Ten simulated seconds are enough for hundreds of steps.

use std::time::Duration;

use anyhow::{Context, Result};
use endpoint_picker::pool::{Observation, Signal};
use serde_json::{Value, json};

use super::{Ended, Filter, Run, run, world::World};
use crate::{
    load::{
        client::Failure,
        conversation::{Conversation, Turn},
        driver::{Limits, Outcome, Seen},
        workload::{Plan, Workload},
    },
    model_server::{SimulatorConfig, SpeedClass},
};

const SERVERS: usize = 3;

const LIMITS: Limits = Limits {
    duration: 10.0,
    end: 310.0,
};

const INTERVAL: Duration = Duration::from_millis(200);

/// Sends everything to where the most runs.
fn herd() -> Value {
    json!({ "scorers": [{
        "type": "endpoint-attribute",
        "parameters": { "attribute": "runningRequests", "prefer": "higher" },
    }] })
}

fn server(workload: Workload) -> SimulatorConfig {
    let loras = workload.adapters();
    SimulatorConfig {
        speed: SpeedClass::L4,
        max_loras: if loras.is_empty() { 0 } else { 4 },
        loras,
        ..SimulatorConfig::default()
    }
}

/// Such as to keep the servers busy.
fn conversations(workload: Workload, seed: u64) -> Result<Vec<Conversation>> {
    Ok(workload.conversations(&Plan {
        seed,
        rate: 5.0,
        burstiness: 1.0,
        duration: LIMITS.duration,
        answer_time: 5.0,
        model: SimulatorConfig::default().model,
    })?)
}

/// What a run goes over.
struct Bed {
    filter: Filter,
    server: SimulatorConfig,
    limits: Limits,
}

impl Bed {
    fn of(workload: Workload) -> Result<Self> {
        Self::with(workload, INTERVAL, None)
    }

    fn with(workload: Workload, interval: Duration, scheduling: Option<&Value>) -> Result<Self> {
        Ok(Self {
            filter: Filter::new(SERVERS, interval, scheduling)?,
            server: server(workload),
            limits: LIMITS,
        })
    }

    fn run(&self) -> Run<'_> {
        Run {
            filter: &self.filter,
            server: &self.server,
            limits: self.limits,
            seed: 1,
        }
    }

    /// The world after these conversations.
    fn world(&self, conversations: Vec<Conversation>) -> Result<World<'_>> {
        let mut world = World::new(&self.run(), conversations)?;
        world.go_on()?;
        Ok(world)
    }
}

fn hold(workload: Workload, interval: Duration, scheduling: Option<&Value>) -> Result<Ended> {
    let bed = Bed::with(workload, interval, scheduling)?;
    run(&bed.run(), conversations(workload, 1)?)
}

fn failures(outcomes: &[Outcome]) -> Vec<Failure> {
    let results = outcomes.iter().map(|outcome| outcome.result.as_ref());
    results.filter_map(|result| result.err().copied()).collect()
}

fn seen(outcomes: &[Outcome]) -> impl Iterator<Item = Seen> {
    outcomes.iter().filter_map(|outcome| outcome.result.ok())
}

fn mean_ttft(ended: &Ended) -> f64 {
    let times: Vec<f64> = seen(&ended.outcomes).map(|seen| seen.ttft).collect();
    times.iter().sum::<f64>() / times.len() as f64
}

#[test]
fn a_run_is_the_same_each_time() -> Result<()> {
    for workload in [Workload::Chat, Workload::Lora] {
        let once = || -> Result<String> {
            let ended = hold(workload, INTERVAL, None)?;
            Ok(serde_json::to_string(&ended.outcomes)?)
        };
        assert_eq!(once()?, once()?, "{}", workload.name());
    }
    Ok(())
}

#[test]
fn every_request_ends_once_and_then_nothing_is_in_flight() -> Result<()> {
    for workload in [Workload::Uniform, Workload::Chat, Workload::Lora] {
        let asked = conversations(workload, 1)?;
        let users = asked.iter().filter(|it| it.start < LIMITS.duration).count();
        let turns = asked.iter().map(|it| it.turns.len()).sum();
        let bed = Bed::of(workload)?;
        let mut world = bed.world(asked)?;

        let name = workload.name();
        assert!(world.gateway.is_idle(), "{name}");
        let served: usize = world
            .servers
            .iter_mut()
            .map(|it| served(&it.metrics(0.0)))
            .sum();
        assert_eq!(served, world.outcomes.len(), "{name}");
        assert_eq!(seen(&world.outcomes).count(), served, "{name}");
        // Of a chat, turns that would be due after the end of the load are not asked.
        assert!((users..=turns).contains(&served), "{name}: {served}");
        assert!(users < turns || served == users, "{name}: {served}");
        let dues = world.outcomes.iter().map(|outcome| outcome.due);
        assert!(dues.clone().is_sorted(), "{name}");
        assert!(dues.clone().all(|due| due < LIMITS.duration), "{name}");
    }
    Ok(())
}

/// Requests that a server has answered to their end, by its metrics.
fn served(exposition: &str) -> usize {
    exposition
        .lines()
        .filter(|line| line.starts_with("vllm:request_success_total"))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum::<f64>() as usize
}

#[test]
fn a_server_is_scraped_once_an_interval() -> Result<()> {
    for (millis, rounds) in [(200, 50), (1000, 10), (5000, 2)] {
        let interval = Duration::from_millis(millis);
        let ended = hold(Workload::Uniform, interval, None)?;
        // And once in the beginning; the last server's last would be at the very end of the load.
        assert_eq!(ended.scrapes, SERVERS * rounds + SERVERS - 1, "{millis} ms");
    }
    Ok(())
}

#[test]
fn the_filter_knows_what_servers_tell_of_themselves() -> Result<()> {
    let workload = Workload::Lora;
    let mut bed = Bed::of(workload)?;
    bed.limits.duration = 5.0;
    bed.limits.end = 5.0;
    let world = bed.world(conversations(workload, 1)?)?;
    let mut busy = 0.0;
    for endpoint in world.gateway.pool().endpoints() {
        let metrics = endpoint.metrics();
        let value = |signal| match metrics.observation(signal) {
            Observation::Value { value, .. } => Ok(value),
            missing => anyhow::bail!("{signal}: {missing:?}"),
        };
        assert_eq!(value(Signal::KvBlockSize)?, 16.0);
        assert_eq!(value(Signal::KvBlocks)?, bed.server.kv_blocks() as f64);
        busy += value(Signal::RunningRequests)? + value(Signal::WaitingRequests)?;
        assert!((0.0..=1.0).contains(&value(Signal::KvCacheUsage)?));
        assert!(value(Signal::TimeToFirstToken)? > 0.0);
        let lora = metrics.lora().context("no adapters")?;
        assert_eq!(lora.max, 4);
        assert!(!lora.running.is_empty());
    }
    assert!(busy > 0.0);
    Ok(())
}

#[test]
fn the_next_turn_of_a_chat_goes_to_where_the_one_before_was_read() -> Result<()> {
    let turn = |word: &str| Turn {
        think: 1.0,
        question: format!("{word} ").repeat(400),
        answer_tokens: 20,
    };
    let chat = |start, words: [&str; 3]| Conversation {
        start,
        model: SimulatorConfig::default().model,
        history: Vec::new(),
        turns: words.map(turn).into(),
    };
    let chats = vec![
        chat(0.0, ["house", "river", "money"]),
        chat(0.1, ["music", "paper", "light"]),
    ];
    let ended = run(&Bed::of(Workload::Chat)?.run(), chats)?;
    let seen: Vec<Seen> = seen(&ended.outcomes).collect();
    assert_eq!(seen.len(), 6);
    // 600 tokens of a question and 20 of its answer are found again, as far as they fill blocks.
    for (turn, pair) in seen.chunks(2).enumerate() {
        for seen in pair {
            let before = 620 * turn as u64;
            let found = before.saturating_sub(30)..=before + 10;
            assert!(found.contains(&seen.cached_tokens), "turn {turn}: {seen:?}");
        }
    }
    Ok(())
}

#[test]
fn who_looks_for_prefixes_finds_more_of_them() -> Result<()> {
    let hits = |scheduling: Option<&Value>| -> Result<f64> {
        let ended = hold(Workload::SharedPrefix, INTERVAL, scheduling)?;
        let (mut cached, mut prompts) = (0, 0);
        for seen in seen(&ended.outcomes) {
            cached += seen.cached_tokens;
            prompts += seen.prompt_tokens;
        }
        Ok(cached as f64 / prompts as f64)
    };
    let blind = json!({ "scorers": [{ "type": "token-load" }] });
    let (found, blind) = (hits(None)?, hits(Some(&blind))?);
    assert!(found > 1.2 * blind, "{found}, blind {blind}");
    Ok(())
}

#[test]
fn to_send_everything_to_one_server_is_worse_than_the_default() -> Result<()> {
    let default = hold(Workload::Uniform, INTERVAL, None)?;
    let herd = hold(Workload::Uniform, INTERVAL, Some(&herd()))?;
    assert_eq!(default.outcomes.len(), herd.outcomes.len());
    let (default, herd) = (mean_ttft(&default), mean_ttft(&herd));
    assert!(herd > 3.0 * default, "{herd} s, by default {default} s");
    Ok(())
}

#[test]
fn what_does_not_end_in_time_is_unfinished() -> Result<()> {
    let workload = Workload::Uniform;
    let mut bed = Bed::of(workload)?;
    bed.limits.end = LIMITS.duration;
    let ended = run(&bed.run(), conversations(workload, 1)?)?;
    let failures = failures(&ended.outcomes);
    assert!(!failures.is_empty() && failures.len() < ended.outcomes.len());
    assert!(failures.iter().all(|it| *it == Failure::Unfinished));
    Ok(())
}

#[test]
fn what_is_refused_is_its_status_and_leaves_nothing_in_flight() -> Result<()> {
    let busy = json!({ "filters": [{
        "type": "utilization",
        "parameters": { "conditions": [{ "metric": "active-requests", "maxValue": 1 }] },
    }] });
    let by_the_filter = Bed::with(Workload::Chat, INTERVAL, Some(&busy))?;
    let mut by_the_server = Bed::of(Workload::Uniform)?;
    // Its context is too short for most of these prompts.
    by_the_server.server.max_model_len = 1000;
    for (bed, workload, status) in [
        (by_the_filter, Workload::Chat, 429),
        (by_the_server, Workload::Uniform, 400),
    ] {
        let world = bed.world(conversations(workload, 1)?)?;
        assert!(world.gateway.is_idle(), "{status}");
        let failures = failures(&world.outcomes);
        assert!(!failures.is_empty() && failures.len() < world.outcomes.len());
        assert!(failures.iter().all(|it| *it == Failure::Status(status)));
    }
    Ok(())
}
