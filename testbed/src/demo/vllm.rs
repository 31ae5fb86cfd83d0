//! The demo with real vLLM servers, whose loads are what other requests make them.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use anyhow::Result;
use serde_json::json;
use testbed::{
    bed,
    client::Reply,
    envoy::{Configuration, Envoy, HandOver, LOG_DELAY},
    load::watch::Watch,
    model_server::{Dialect, Load},
    poll,
    vllm::{HeldLoad, KV_CACHE_TOKENS, MAX_NUM_SEQS, MODEL, Vllm},
};

use super::{
    stage::{Server, Stage},
    story::{Step, chat, completion, models},
};

/// How long a server may take until its load is what it was given: prompts of thousands of tokens
/// are read first, on a core that others want too.
const PATIENCE: Duration = Duration::from_secs(60);

/// Requests that are held on a model server.
#[derive(Clone, Copy)]
pub(super) struct Work {
    requests: u32,
    /// The tokens of each prompt.
    prompt_tokens: u32,
}

/// Real vLLM servers.
pub(super) struct OnVllm {
    // The load ends first: whom it is on would answer it with an error when it stops.
    held: Vec<HeldLoad>,
    servers: Vec<Vllm>,
    watch: Watch,
    envoy: Envoy,
}

impl Stage for OnVllm {
    type Work = Work;

    const OPENING: &'static str = "\
        Starting three vLLM servers on the CPU, and Envoy with the endpoint picker; it takes a minute ...\n\
        Their model is tiny and its weights are random, so its answers are nonsense. Their queues and KV caches\n\
        are real: before each request, other requests are sent to them directly, past Envoy.";
    const MODEL: &'static str = MODEL;
    const WHERE: &'static str = "Nothing else is sent to the model servers any more.";

    /// No model server wins twice in a row.
    fn steps() -> Vec<Step<Work>> {
        vec![
            Step {
                title: "A chat completion: the first two model servers have a queue, the third is idle",
                work: [short(10), short(7), idle()],
                ask: chat(MODEL, "Why is the sky blue?", false),
            },
            Step {
                title: "A streamed chat completion: the first has drained, the third got a burst",
                work: [short(1), short(7), short(10)],
                ask: chat(MODEL, "Write a haiku about queues.", true),
            },
            Step {
                title: "A completion: all queues are empty, the second has most of its KV cache free",
                work: [long(2), short(2), long(1)],
                ask: completion(MODEL, "def fibonacci(n):"),
            },
            Step {
                title: "GET /v1/models: no prompt to place, so any healthy model server will do",
                work: [idle(); 3],
                ask: models(),
            },
        ]
    }

    async fn start() -> Result<Self> {
        let servers = Vllm::start(3).await?;
        let pool: Vec<SocketAddr> = servers.iter().map(Vllm::address).collect();
        let configuration = Configuration::shipped(HandOver::OriginalDstHeader)?
            .merge_plugin_configuration(&json!({ "endpoints": { "static": pool } }))?;
        Ok(Self {
            held: Vec::new(),
            servers,
            watch: Watch::new(pool),
            envoy: Envoy::start(configuration).await?,
        })
    }

    fn envoy(&self) -> &Envoy {
        &self.envoy
    }

    async fn set(&mut self, work: &[Work; 3]) -> Result<()> {
        // What was held before ends here.
        self.held = self
            .servers
            .iter()
            .zip(work)
            .map(|(server, work)| HeldLoad::on(server, work.requests, work.prompt_tokens))
            .collect();
        let pool: Vec<SocketAddr> = self.servers.iter().map(Vllm::address).collect();
        poll::until("the model servers to be at work", PATIENCE, async || {
            for held in &mut self.held {
                held.check()?;
            }
            let loads = loads(&self.watch, &pool).await?;
            Ok(pool
                .iter()
                .zip(work)
                .all(|(address, work)| loads.get(address).is_some_and(|load| work.shows(load)))
                .then_some(()))
        })
        .await?;
        bed::scraped(&self.envoy, &pool).await
    }

    async fn servers(&self) -> Result<BTreeMap<SocketAddr, Server>> {
        let pool: Vec<SocketAddr> = self.servers.iter().map(Vllm::address).collect();
        let engine = Dialect::Vllm.engine();
        let loads = loads(&self.watch, &pool).await?.into_iter();
        Ok(loads
            .map(|(address, load)| (address, Server { engine, load }))
            .collect())
    }

    async fn reached(&self, request_id: &str, _reply: &Reply) -> Result<SocketAddr> {
        let what = format!("{request_id} in Envoy's access log");
        poll::until(&what, LOG_DELAY, async || {
            Ok(self.envoy.upstream_of(request_id))
        })
        .await
    }
}

/// What the model servers report.
async fn loads(watch: &Watch, pool: &[SocketAddr]) -> Result<BTreeMap<SocketAddr, Load>> {
    let mut loads = BTreeMap::new();
    for &address in pool {
        let what = format!("{address} to tell its load");
        let state = poll::until(&what, PATIENCE, async || Ok(watch.state(address).await)).await?;
        let load = Load {
            waiting: state.waiting as u32,
            running: state.running as u32,
            kv_cache_usage: state.kv_cache_usage,
        };
        loads.insert(address, load);
    }
    Ok(loads)
}

impl Work {
    /// Whether this is all that a model server has to do, and it has read the prompts of those that
    /// run.
    fn shows(self, load: &Load) -> bool {
        let running = self.requests.min(MAX_NUM_SEQS);
        let prompts = f64::from(running * self.prompt_tokens) / f64::from(KV_CACHE_TOKENS);
        load.running == running
            && load.waiting == self.requests - running
            && load.kv_cache_usage >= prompts
    }
}

fn idle() -> Work {
    short(0)
}

/// Requests that take little of the KV cache.
fn short(requests: u32) -> Work {
    Work {
        requests,
        prompt_tokens: 32,
    }
}

/// Requests that take a third of the KV cache each.
fn long(requests: u32) -> Work {
    Work {
        requests,
        prompt_tokens: KV_CACHE_TOKENS / 3,
    }
}
