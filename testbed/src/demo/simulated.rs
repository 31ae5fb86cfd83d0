//! The demo with simulated model servers, whose loads are set by hand.

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::{Context, Result};
use serde_json::json;
use testbed::{
    bed::{self, Bed},
    client::Reply,
    envoy::{Configuration, Envoy, HandOver},
    model_server::{Dialect, Load, ModelServer},
};

use super::{
    stage::{Server, Stage},
    story::{Step, chat, completion, models},
};

const MODEL: &str = "llama-3.1-8b-instruct";

/// One of each: what a pool may be mixed of.
const FLEET: [Dialect; 3] = [Dialect::Vllm, Dialect::Sglang, Dialect::TritonTensorRtLlm];

/// Simulated model servers.
pub(super) struct Simulated(Bed);

impl Stage for Simulated {
    type Work = Load;

    const OPENING: &'static str = "\
        Starting three simulated model servers, and Envoy with the endpoint picker ...\n\
        Their metrics are those of a vLLM, an SGLang and a Triton with TensorRT-LLM. Nobody tells the filter: it\n\
        recognizes each by what it says.";
    const MODEL: &'static str = MODEL;
    const WHERE: &'static str = "The response header x-model-server says who answered.";

    /// No model server wins twice in a row.
    fn steps() -> Vec<Step<Load>> {
        vec![
            Step {
                title: "A chat completion: the first model server has the shortest queue",
                work: [load(0, 4, 0.30), load(6, 16, 0.30), load(12, 16, 0.30)],
                ask: chat(MODEL, "Why is the sky blue?", false),
            },
            Step {
                title: "A streamed chat completion: the first got a burst, the second has drained",
                work: [load(9, 16, 0.55), load(1, 9, 0.35), load(12, 16, 0.30)],
                ask: chat(MODEL, "Write a haiku about queues.", true),
            },
            Step {
                title: "A completion: all queues are empty, the third has most of its KV cache free",
                work: [load(0, 8, 0.70), load(0, 8, 0.90), load(0, 8, 0.15)],
                ask: completion("codellama-13b", "def fibonacci(n):"),
            },
            Step {
                title: "A chat completion: the first has a longer queue, but far more KV cache free",
                work: [load(2, 9, 0.05), load(10, 16, 0.60), load(1, 16, 0.95)],
                ask: chat(
                    MODEL,
                    "Summarize the plot of Hamlet in one sentence.",
                    false,
                ),
            },
            Step {
                title: "GET /v1/models: no prompt to place, so any healthy model server will do",
                work: [load(0, 4, 0.30); 3],
                ask: models(),
            },
        ]
    }

    async fn start() -> Result<Self> {
        let configuration = Configuration::shipped(HandOver::OriginalDstHeader)?;
        let mut servers = Vec::new();
        for dialect in FLEET {
            servers.push(ModelServer::start_as(dialect).await?);
        }
        let pool: Vec<SocketAddr> = servers.iter().map(ModelServer::address).collect();
        Ok(Self(
            Bed::around(configuration, servers, &json!(pool)).await?,
        ))
    }

    fn envoy(&self) -> &Envoy {
        &self.0.envoy
    }

    async fn set(&mut self, work: &[Load; 3]) -> Result<()> {
        for (server, load) in self.0.servers.iter().zip(work) {
            server.set_load(*load);
        }
        bed::loads_known(&self.0.servers).await
    }

    async fn servers(&self) -> Result<BTreeMap<SocketAddr, Server>> {
        let servers = self.0.servers.iter().zip(FLEET);
        Ok(servers
            .map(|(server, dialect)| {
                let engine = dialect.engine();
                let load = server.load();
                (server.address(), Server { engine, load })
            })
            .collect())
    }

    async fn reached(&self, request_id: &str, reply: &Reply) -> Result<SocketAddr> {
        reply
            .model_server()
            .with_context(|| format!("{request_id} reached no model server"))
    }
}

fn load(waiting: u32, running: u32, kv_cache_usage: f64) -> Load {
    Load {
        waiting,
        running,
        kv_cache_usage,
    }
}
