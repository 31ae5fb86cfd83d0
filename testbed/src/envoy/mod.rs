//! A real Envoy, started from a configuration of `envoy/` on free loopback ports, and always
//! stopped.
//!
//! It stops when its handle is dropped, also by a panic, and when the process that holds the handle
//! is killed.

mod admin;
mod changes;
mod configuration;

use std::{
    collections::BTreeMap,
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    client::Reply,
    decision::Decision,
    poll,
    process::{Process, read_log, tail},
    usage::Usage,
};
use admin::Admin;

pub use configuration::{Configuration, HandOver, REQUEST_CLUSTER};

/// The worker threads of an Envoy, where nothing else is asked for. Two is the least that shows
/// what workers do not share.
pub const WORKERS: u64 = 2;

/// How long an Envoy may take to start, or to take an update. On an idle machine it is a second;
/// tests that run side by side on two cores compile the module side by side.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a line may take from Envoy's hands into its log: a moment, on a machine that has one.
pub const LOG_DELAY: Duration = Duration::from_secs(20);

/// How an Envoy runs, apart from its configuration.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Its worker threads.
    pub workers: u64,
    /// Whether every decision of the filter is logged, which is the level debug of the component
    /// `wasm`. It takes time for every request, so what is measured runs without.
    pub log_decisions: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workers: WORKERS,
            log_decisions: true,
        }
    }
}

/// A running Envoy.
#[derive(Debug)]
pub struct Envoy {
    // Dropped in this order: the process is gone before its folder.
    process: Process,
    folder: TempDir,
    configuration: Configuration,
    options: Options,
    admin: Admin,
    inference: SocketAddr,
}

impl Envoy {
    /// Starts Envoy with two workers and every decision in its log, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// As [`Envoy::start_with`].
    pub async fn start(configuration: Configuration) -> Result<Self> {
        Self::start_with(configuration, Options::default()).await
    }

    /// Starts Envoy and waits until it is ready.
    ///
    /// # Errors
    ///
    /// When there is no Envoy or no module to start, when it refuses the configuration, or when it
    /// is not ready in time. The error shows the end of Envoy's log.
    pub async fn start_with(configuration: Configuration, options: Options) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("endpoint-picker-envoy-")
            .tempdir()?;
        let mut command = command(&configuration, folder.path())?;
        let admin_address = folder.path().join("admin-address");
        command.arg("--admin-address-path").arg(&admin_address);
        command.args(["--concurrency", &options.workers.to_string()]);
        // Every ten seconds is the default; who waits for a line of the access log waits less.
        command.args(["--file-flush-interval-msec", "100"]);
        let wasm_level = wasm_level(options.log_decisions);
        command.args([
            "--component-log-level",
            &format!("wasm:{wasm_level},main:warning"),
        ]);
        let log = log_file(folder.path());
        let mut process = Process::start(&command, repository(), &log)?;

        let ready = poll::until("Envoy to be ready", PATIENCE, async || {
            ensure!(!process.has_ended()?, "Envoy has ended");
            // Not there, or not written to the end: not yet.
            let Some(address) = fs::read_to_string(&admin_address)
                .ok()
                .and_then(|text| text.parse().ok())
            else {
                return Ok(None);
            };
            let admin = Admin::new(address);
            let is_ready = admin
                .get("/ready")
                .await
                .is_ok_and(|reply| reply.status.is_success());
            Ok(is_ready.then_some(admin))
        });
        let admin = ready
            .await
            .with_context(|| format!("Envoy did not start; its log ends with\n{}", tail(&log)))?;
        let inference = admin.listener("inference").await?;
        Ok(Self {
            process,
            folder,
            configuration,
            options,
            admin,
            inference,
        })
    }

    /// Lets Envoy check a configuration (`envoy --mode validate`), which also configures the
    /// filter.
    ///
    /// # Errors
    ///
    /// When there is no Envoy or no module to start.
    pub async fn validate(configuration: &Configuration) -> Result<Output> {
        let folder = tempfile::Builder::new()
            .prefix("endpoint-picker-envoy-")
            .tempdir()?;
        let mut command = command(configuration, folder.path())?;
        command
            .args(["--mode", "validate"])
            .current_dir(repository())
            .stdin(Stdio::null());
        // It ends by itself; meanwhile other tasks go on.
        tokio::task::spawn_blocking(move || command.output())
            .await?
            .context("cannot run Envoy")
    }

    /// Where the listener `inference` listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.inference
    }

    /// The URL of a path on the listener `inference`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.inference)
    }

    /// Asks the admin interface.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub async fn admin_get(&self, path: &str) -> Result<Reply> {
        self.admin.get(path).await
    }

    /// Lets every decision of the filter be logged from its next tick on, or no more.
    ///
    /// # Errors
    ///
    /// When the admin interface does not do it.
    pub async fn log_decisions(&self, whether: bool) -> Result<()> {
        let level = wasm_level(whether);
        let reply = self.admin.post(&format!("/logging?wasm={level}")).await?;
        ensure!(reply.status.is_success(), "{}", reply.text());
        Ok(())
    }

    /// The counters and gauges whose names start with `prefix`.
    ///
    /// # Errors
    ///
    /// When the admin interface does not answer.
    pub async fn stats(&self, prefix: &str) -> Result<BTreeMap<String, u64>> {
        self.admin.stats(prefix).await
    }

    /// The id of the process group in which Envoy and its guard are.
    #[must_use]
    pub fn process_group(&self) -> u32 {
        self.process.group()
    }

    /// What Envoy uses of the machine, with the shell that guards it.
    ///
    /// # Errors
    ///
    /// As [`Usage::of_group`].
    pub fn usage(&self) -> Result<Usage> {
        Usage::of_group(self.process.group())
    }

    /// The configuration as Envoy was started with it, as JSON.
    #[must_use]
    pub fn configuration(&self) -> &Value {
        self.configuration.tree()
    }

    /// How often each model server of the pool was scraped with success.
    ///
    /// # Errors
    ///
    /// When the admin interface does not answer.
    pub async fn scrapes(&self) -> Result<BTreeMap<SocketAddr, u64>> {
        self.admin
            .host_stats("model-servers-metrics", "rq_success")
            .await
    }

    /// The model server that a request was sent to, as the access log says it: by the request's
    /// `x-request-id`, when it has been answered.
    #[must_use]
    pub fn upstream_of(&self, request_id: &str) -> Option<SocketAddr> {
        let id = format!(" id={request_id} ");
        self.log()
            .lines()
            .filter(|line| line.contains(&id))
            .find_map(|line| line.rsplit_once("-> ")?.1.trim().parse().ok())
    }

    /// All that Envoy has logged.
    #[must_use]
    pub fn log(&self) -> String {
        read_log(&log_file(self.folder.path()))
    }

    /// The log lines that contain `text`.
    #[must_use]
    pub fn log_lines_containing(&self, text: &str) -> Vec<String> {
        self.log()
            .lines()
            .filter(|line| line.contains(text))
            .map(str::to_owned)
            .collect()
    }

    /// The decisions of the filter, in the order of the log.
    #[must_use]
    pub fn decisions(&self) -> Vec<Decision> {
        self.log().lines().filter_map(Decision::in_line).collect()
    }

    /// The decision on the request with this id, as soon as it is logged.
    ///
    /// # Errors
    ///
    /// When it is not.
    pub async fn decision_on(&self, request_id: &str) -> Result<Decision> {
        let what = format!("the decision on {request_id}");
        poll::until(&what, LOG_DELAY, async || {
            Ok(self
                .decisions()
                .into_iter()
                .find(|decision| decision.request_id.as_deref() == Some(request_id)))
        })
        .await
    }

    /// Changes the filter's configuration by a JSON merge patch, and waits until every worker has
    /// it. The Envoy must have been started [`Configuration::with_listeners_discovered`].
    ///
    /// Connections opened before stay with the configuration they were opened under, until Envoy
    /// has drained them.
    ///
    /// # Errors
    ///
    /// When Envoy refuses the configuration, or does not take it in time.
    pub async fn update_plugin_configuration(&mut self, patch: &Value) -> Result<()> {
        let before = self.admin.listener_updates().await?;
        self.configuration = self
            .configuration
            .clone()
            .merge_plugin_configuration(patch)?;
        self.configuration.write_listeners(self.folder.path())?;
        let taken = poll::until("Envoy to take the update", PATIENCE, async || {
            ensure!(!self.process.has_ended()?, "Envoy has ended");
            let updates = self.admin.listener_updates().await?;
            if updates.rejected > before.rejected {
                bail!("Envoy refused the update");
            }
            Ok(
                (updates.created_on_workers >= before.created_on_workers + self.options.workers)
                    .then_some(()),
            )
        });
        taken.await.with_context(|| {
            format!(
                "Envoy's log ends with\n{}",
                tail(&log_file(self.folder.path()))
            )
        })?;
        self.inference = self.admin.listener("inference").await?;
        Ok(())
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "Envoy's log ends with\n{}",
                tail(&log_file(self.folder.path()))
            );
        }
    }
}

/// What Envoy says of its version.
///
/// # Errors
///
/// When there is no Envoy.
pub fn version() -> Result<String> {
    let output = Command::new(program()?)
        .arg("--version")
        .output()
        .context("cannot run Envoy")?;
    let text = String::from_utf8_lossy(&output.stdout);
    // Before the colon is where it lies on this machine.
    let version = text.rsplit_once("version:").map_or(&*text, |(_, it)| it);
    Ok(format!("Envoy {}", version.trim()))
}

/// The root of the repository: where Envoy is started, and `scripts/` and `dist/` are.
#[must_use]
pub fn repository() -> &'static Path {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_folder.parent().unwrap_or(crate_folder)
}

/// The command line that all runs of Envoy have in common, with the configuration written into
/// `folder`.
fn command(configuration: &Configuration, folder: &Path) -> Result<Command> {
    let mut command = Command::new(program()?);
    // Hot restart is for successors of one Envoy; several side by side would take each other for
    // that.
    command
        .arg("--disable-hot-restart")
        .arg("--config-path")
        .arg(configuration.write(folder)?);
    Ok(command)
}

/// The Envoy to run: what the environment variable `ENVOY` names, else what `scripts/setup` has
/// resolved.
fn program() -> Result<PathBuf> {
    if let Some(named) = env::var_os("ENVOY").filter(|named| !named.is_empty()) {
        return Ok(named.into());
    }
    let resolved = repository().join(".tools/bin/envoy");
    ensure!(
        resolved.exists(),
        "there is no Envoy: run scripts/setup, or name one in the environment variable ENVOY"
    );
    Ok(resolved)
}

/// The level of the component `wasm` with which decisions are logged, or not.
const fn wasm_level(log_decisions: bool) -> &'static str {
    if log_decisions { "debug" } else { "info" }
}

fn log_file(folder: &Path) -> PathBuf {
    folder.join("envoy.log")
}
