//! A child process that never outlives its harness.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};

/// Runs its arguments as a command and stands guard over it.
///
/// A pipe from the harness is the shell's standard input. It closes when the harness lets go of it,
/// and also when the harness is killed in a way that leaves it no last word: then the command is
/// asked to stop, and two seconds later the whole process group is killed. When the command ends by
/// itself, the group is killed at once: there is nothing left in it but the guard.
///
/// The pipe is moved to descriptor 3, since a shell without job control gives background commands
/// an empty standard input.
const GUARD: &str = r#"
exec 3<&0
"$@" 3<&- </dev/null &
command=$!
{ read -r _ <&3; kill -TERM "$command"; sleep 2; kill -KILL 0; } &
wait "$command"
echo "exit status $?"
kill -KILL 0
"#;

/// How much of a log is shown when something has failed.
const LOG_TAIL_LINES: usize = 60;

/// A guarded process, stopped when it is dropped.
#[derive(Debug)]
pub struct Process {
    guard: Child,
}

impl Process {
    /// Starts a command in `folder`, with the harness's environment and what it has of its own; its
    /// output, and last its exit status, goes to the file `log`.
    ///
    /// # Errors
    ///
    /// When the file cannot be written, or there is no `sh`. A command that does not exist ends by
    /// itself.
    pub fn start(command: &Command, folder: &Path, log: &Path) -> Result<Self> {
        let output =
            File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let guard = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .arg(command.get_program())
            .args(command.get_args())
            .envs(
                command
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            // A group of its own: it can be killed as a whole, and Ctrl-C in a terminal reaches the
            // harness alone.
            .process_group(0)
            .spawn()
            .context("cannot run sh")?;
        Ok(Self { guard })
    }

    /// The id of the process group that it and its guard are in.
    #[must_use]
    pub fn group(&self) -> u32 {
        self.guard.id()
    }

    /// Whether it has ended by itself.
    ///
    /// # Errors
    ///
    /// When the system does not tell.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.guard.try_wait()?.is_some())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        // Not for long: the guard sees to it. Nothing can be done about an error here.
        let _ = self.guard.wait();
    }
}

/// All of a log so far. Lossy, since what clients send may be in it.
#[must_use]
pub fn read_log(log: &Path) -> String {
    fs::read(log)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

/// The last lines of a log.
#[must_use]
pub fn tail(log: &Path) -> String {
    let log = read_log(log);
    let lines: Vec<&str> = log.lines().collect();
    lines
        .iter()
        .skip(lines.len().saturating_sub(LOG_TAIL_LINES))
        .map(|line| format!("{line}\n"))
        .collect()
}
