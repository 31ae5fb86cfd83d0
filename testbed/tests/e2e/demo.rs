//! The demo shows what it says, and nothing of it outlives it.

use std::{
    net::SocketAddr,
    process::{Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use testbed::{
    client::{Connection, Protocol},
    poll,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::support::{chat, server_of};

/// How long a demo may take to start, or to end: it waits for Envoy itself, and for the scrapes of every
/// step.
const PATIENCE: Duration = Duration::from_secs(180);

fn demo() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_testbed"));
    command
        .arg("demo")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

#[tokio::test]
async fn once_it_shows_every_decision_and_ends_well() -> Result<()> {
    let Output {
        status,
        stdout,
        stderr,
    } = poll::within("the demo", PATIENCE, async {
        Ok(demo().arg("--once").output().await?)
    })
    .await?;
    let shown = String::from_utf8(stdout)?;
    assert!(
        status.success(),
        "{shown}\n{}",
        String::from_utf8_lossy(&stderr)
    );
    assert_eq!(shown.matches("<- picked").count(), 4, "{shown}");
    assert_eq!(
        shown.matches("It arrived at 127.0.0.1:").count(),
        5,
        "{shown}"
    );
    for word in [
        "llama-3.1-8b-instruct",
        "codellama-13b",
        "  sglang  ",
        "  triton-tensorrt-llm  ",
        "queue",
        "kv-cache-utilization",
        "total",
    ] {
        assert!(shown.contains(word), "{shown}");
    }
    Ok(())
}

#[tokio::test]
async fn a_request_of_ones_own_is_shown_and_a_signal_stops_everything() -> Result<()> {
    for signal in ["INT", "TERM"] {
        let mut demo = Running::start().await?;
        let reply = Connection::open(demo.envoy, Protocol::Http1)
            .await?
            .send(chat()?)
            .await?;
        server_of(&reply)?;
        demo.line_containing("model llama").await?;

        let id = demo.child.id().context("the demo has ended")?;
        Command::new("kill")
            .args(["-s", signal, &id.to_string()])
            .status()
            .await?;
        let status = poll::within("the demo to end", PATIENCE, async {
            Ok(demo.child.wait().await?)
        })
        .await?;
        assert!(status.success(), "{signal}: {status}");
        demo.assert_envoy_is_gone().await?;
    }
    Ok(())
}

#[tokio::test]
async fn envoy_does_not_outlive_a_harness_that_is_killed() -> Result<()> {
    let mut demo = Running::start().await?;
    demo.child.kill().await?;
    demo.assert_envoy_is_gone().await
}

/// A demo that waits for requests.
struct Running {
    child: Child,
    /// Holds what a killed demo leaves behind, and is removed after it.
    _folder: TempDir,
    lines: Lines<BufReader<ChildStdout>>,
    envoy: SocketAddr,
}

impl Running {
    async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut child = demo().env("TMPDIR", folder.path()).spawn()?;
        let stdout = child.stdout.take().context("no output")?;
        let mut running = Self {
            child,
            _folder: folder,
            lines: BufReader::new(stdout).lines(),
            envoy: ([127, 0, 0, 1], 0).into(),
        };
        let curl = running.line_containing("curl -i http://").await?;
        let address = curl
            .split("http://")
            .nth(1)
            .and_then(|rest| rest.split('/').next());
        running.envoy = address.context("no address")?.parse()?;
        Ok(running)
    }

    /// Reads on to the next line that contains `text`.
    async fn line_containing(&mut self, text: &str) -> Result<String> {
        poll::within(text, PATIENCE, async {
            while let Some(line) = self.lines.next_line().await? {
                if line.contains(text) {
                    return Ok(line);
                }
            }
            bail!("the demo has ended without a line with {text:?}")
        })
        .await
    }

    async fn assert_envoy_is_gone(&self) -> Result<()> {
        poll::until("Envoy to be gone", PATIENCE, async || {
            Ok(Connection::open(self.envoy, Protocol::Http1)
                .await
                .is_err()
                .then_some(()))
        })
        .await
    }
}
