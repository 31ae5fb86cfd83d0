//! The signals that ask a program to stop.

use anyhow::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The exit code of a program that was stopped by Ctrl-C: 128 and the signal's number.
pub(crate) const INTERRUPTED: u8 = 130;

/// SIGINT and SIGTERM, taken from the moment this is made.
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for one of them.
    pub(crate) async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
