//! The official Python clients of OpenAI and Anthropic are served through Envoy as they would be by
//! the model server itself.

use std::{path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::json;
use testbed::{
    bed::{Bed, loads_known},
    envoy::{HandOver, repository},
    model_server::{ModelServer, SimulatorConfig},
    poll,
};
use tokio::process::Command;

use crate::support::{INTERVAL, assert_filter_never_failed, scraping_every};

/// How long all calls of the script may take together: a Python interpreter and nine answers.
const PATIENCE: Duration = Duration::from_secs(180);

/// What the model is called where it is served.
const SERVED: &str = "llama-3.1-8b";

/// A call that has succeeded, as the script tells it.
#[derive(Debug, Deserialize)]
struct Call {
    call: String,
    model: String,
    text: String,
    tokens: Option<u64>,
}

#[tokio::test]
async fn official_clients_are_served() -> Result<()> {
    for hand_over in HandOver::ALL {
        let (openai, anthropic) = ("gpt-4o", "claude-sonnet");
        let bed = simulated_bed(hand_over).await?;
        let calls = run_clients(&bed.envoy.url(""), openai, anthropic)
            .await
            .context(hand_over)?;

        let names: Vec<&str> = calls.iter().map(|call| &*call.call).collect();
        let expected = [
            ("chat", 128),
            ("chat-with-image", 5),
            ("chat-streamed", 128),
            ("completion", 5),
            ("response", 128),
            ("response-streamed", 128),
            ("embedding", 0),
            ("message", 100),
            ("message-streamed", 100),
        ];
        assert_eq!(names, expected.map(|(name, _)| name));
        for (call, (_, tokens)) in calls.iter().zip(expected) {
            let model = if call.call.starts_with("message") {
                anthropic
            } else {
                openai
            };
            assert_eq!(call.model, model, "{call:?}, {hand_over}");
            assert_eq!(call.tokens.unwrap_or_default(), tokens, "{call:?}");
            // Each token is four bytes.
            assert_eq!(call.text.len() as u64, 4 * tokens, "{call:?}");
        }
        let decisions = bed.envoy.decisions();
        assert_eq!(decisions.len(), expected.len(), "{hand_over}");
        assert_filter_never_failed(&bed.envoy).await?;
    }
    Ok(())
}

/// Two simulated servers of one model, behind names that clients of each API know.
async fn simulated_bed(hand_over: HandOver) -> Result<Bed> {
    let mut servers = Vec::new();
    for _ in 0..2 {
        let config = SimulatorConfig {
            time_scale: 100.0,
            model: SERVED.to_owned(),
            ..SimulatorConfig::default()
        };
        servers.push(ModelServer::simulate(config).await?);
    }
    let target = json!({ "targets": [{ "model": SERVED }] });
    let models = json!({
        "restoreNames": true,
        "names": { "gpt-4o": target, "claude-*": target },
    });
    let configuration = scraping_every(INTERVAL, hand_over)?
        .merge_plugin_configuration(&json!({ "models": models }))?;
    let pool: Vec<_> = servers.iter().map(ModelServer::address).collect();
    let bed = Bed::around(configuration, servers, &json!(pool)).await?;
    loads_known(&bed.servers).await?;
    Ok(bed)
}

/// Lets the script make its calls, none of which may fail.
async fn run_clients(url: &str, openai: &str, anthropic: &str) -> Result<Vec<Call>> {
    let child = Command::new(python()?)
        .arg(repository().join("testbed/clients/chat.py"))
        .args([url, openai, anthropic])
        // Neither a proxy nor an account of the machine's own comes between.
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot run the clients")?;
    let output = poll::within("the clients' calls", PATIENCE, async {
        Ok(child.wait_with_output().await?)
    })
    .await?;
    ensure!(
        output.status.success(),
        "a client was not served:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout)?
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("no call: {line}")))
        .collect()
}

/// The Python that has the clients.
fn python() -> Result<PathBuf> {
    let python = repository().join(".tools/clients/bin/python");
    ensure!(
        python.exists(),
        "the Python clients are not installed: run scripts/setup, which puts them into .tools/clients"
    );
    Ok(python)
}
