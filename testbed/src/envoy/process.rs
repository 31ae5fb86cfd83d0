//! A child process that never outlives its harness.

use std::{
    fs::File,
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

/// A guarded process, stopped when it is dropped.
#[derive(Debug)]
pub(super) struct Process {
    guard: Child,
}

impl Process {
    /// Starts a command in `folder`; its output, and last its exit status, goes to the file `log`.
    pub(super) fn start(command: &Command, folder: &Path, log: &Path) -> Result<Self> {
        let output =
            File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let guard = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .arg(command.get_program())
            .args(command.get_args())
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

    /// Whether it has ended by itself.
    pub(super) fn has_ended(&mut self) -> Result<bool> {
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
