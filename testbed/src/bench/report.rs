//! The folder in which a bench leaves what it has measured, with all that is needed to repeat it.

use std::{env, fs, path::PathBuf, process::Command, time::SystemTime};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::json;
use testbed::envoy;

/// Where the command line is told that a person typed, when a script stands between.
const COMMAND_VARIABLE: &str = "ENDPOINT_PICKER_COMMAND";

/// The file with everything that was measured.
const RESULTS_FILE: &str = "report.json";

/// The file with what a person reads first.
const TEXT_FILE: &str = "report.txt";

/// What was run, and on what.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Facts {
    /// The kind of the bench.
    pub(crate) kind: String,
    /// When it began, in UTC.
    pub(crate) started: String,
    /// The command line that repeats it.
    pub(crate) command: String,
    /// The seed of everything that was drawn.
    pub(crate) seed: u64,
    /// The revision of the project, marked when files were changed since.
    pub(crate) revision: String,
    /// What the Envoy under test says of its version, if there is one.
    pub(crate) envoy: Option<String>,
    /// The processor's name.
    pub(crate) cpu: String,
    /// The processors that this process may use.
    pub(crate) cores: usize,
    /// The kernel's release.
    pub(crate) kernel: String,
}

/// A report in the making: a folder `reports/<kind>-<UTC time>/`.
#[derive(Debug)]
pub(crate) struct Report {
    folder: PathBuf,
    facts: Facts,
}

impl Report {
    /// Makes the folder.
    ///
    /// # Errors
    ///
    /// When it cannot be made, or there is no Envoy to ask for its version.
    pub(crate) fn create(kind: &str, seed: u64) -> Result<Self> {
        Self::with_envoy(kind, seed, Some(envoy::version()?))
    }

    /// Makes the folder of a bench in which no Envoy takes part.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub(crate) fn without_envoy(kind: &str, seed: u64) -> Result<Self> {
        Self::with_envoy(kind, seed, None)
    }

    fn with_envoy(kind: &str, seed: u64, envoy: Option<String>) -> Result<Self> {
        let facts = Facts::gather(kind, seed, envoy)?;
        // Colons are not welcome in file names everywhere.
        let name = format!("{kind}-{}", facts.started.replace(':', "-"));
        let folder = envoy::repository().join("reports").join(name);
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        Ok(Self { folder, facts })
    }

    /// Writes a file beside the others.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> Result<()> {
        let file = self.folder.join(name);
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&file, contents).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Writes `report.json`, the facts and all of `results`, and `report.txt`, the facts and
    /// `text`; prints `text` and the folder.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub(crate) fn finish(&self, results: &impl Serialize, text: &str) -> Result<()> {
        let everything = json!({ "facts": self.facts, "results": results });
        self.write(RESULTS_FILE, serde_json::to_vec(&everything)?)?;
        self.write(TEXT_FILE, format!("{}\n{text}\n", self.facts.text()))?;
        println!("{text}\n\nReport: {}", self.folder.display());
        Ok(())
    }
}

impl Facts {
    fn gather(kind: &str, seed: u64, envoy: Option<String>) -> Result<Self> {
        let started = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        Ok(Self {
            kind: kind.to_owned(),
            started,
            command: env::var(COMMAND_VARIABLE)
                .unwrap_or_else(|_| env::args().collect::<Vec<_>>().join(" ")),
            seed,
            revision: revision(),
            envoy,
            cpu: cpu_model().unwrap_or_else(unknown),
            cores: std::thread::available_parallelism()?.get(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .map_or_else(|_| unknown(), |release| release.trim().to_owned()),
        })
    }

    /// As lines.
    pub(crate) fn text(&self) -> String {
        let envoy = self.envoy.as_ref();
        format!(
            "{} bench of {}\n{}\nseed {}, revision {}\n{}{}, {} cores, Linux {}\n",
            self.kind,
            self.started,
            self.command,
            self.seed,
            self.revision,
            envoy.map_or_else(String::new, |envoy| format!("{envoy}\n")),
            self.cpu,
            self.cores,
            self.kernel
        )
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// As git tells it: from a folder that is no repository, none.
fn revision() -> String {
    Command::new("git")
        .args(["describe", "--always", "--dirty", "--abbrev=12"])
        .current_dir(envoy::repository())
        .output()
        .ok()
        .filter(|output| output.status.success())
        .map_or_else(unknown, |output| {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        })
}

fn cpu_model() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_told_in_lines() {
        let mut facts = Facts {
            kind: "routing".to_owned(),
            started: "2026-01-01T00:00:00Z".to_owned(),
            command: "scripts/bench routing --quick".to_owned(),
            seed: 7,
            revision: "abc-dirty".to_owned(),
            envoy: Some("envoy 1.40.0".to_owned()),
            cpu: "Some CPU".to_owned(),
            cores: 2,
            kernel: "6.1".to_owned(),
        };
        assert_eq!(
            facts.text(),
            "routing bench of 2026-01-01T00:00:00Z\nscripts/bench routing --quick\n\
             seed 7, revision abc-dirty\nenvoy 1.40.0\nSome CPU, 2 cores, Linux 6.1\n"
        );
        facts.envoy = None;
        let text = facts.text();
        assert!(text.contains("abc-dirty\nSome CPU"), "{text}");
    }

    #[test]
    fn the_processor_of_this_machine_has_a_name() {
        // Where /proc/cpuinfo has none, as on ARM, the report says that it is unknown.
        assert!(cpu_model().is_none_or(|name| !name.is_empty()));
    }
}
