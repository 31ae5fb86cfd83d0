//! Waiting, never for longer than a limit.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long to rest between two questions: short beside everything that is waited for, and no load
/// to speak of.
const PAUSE: Duration = Duration::from_millis(10);

/// Asks `question` again and again until it has an answer, and returns the answer.
///
/// # Errors
///
/// The question's own error, at once; or, when there is no answer within `limit`, an error that
/// names `what` was waited for.
pub async fn until<T>(
    what: &str,
    limit: Duration,
    mut question: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = question().await? {
            return Ok(answer);
        }
        if Instant::now() >= deadline {
            bail!("waited {limit:?} in vain for {what}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits for `future`, and returns its output.
///
/// # Errors
///
/// The future's own; or, when it is not done within `limit`, an error that names `what` was waited
/// for.
pub async fn within<T>(
    what: &str,
    limit: Duration,
    future: impl Future<Output = Result<T>>,
) -> Result<T> {
    let done = tokio::time::timeout(limit, future).await;
    done.with_context(|| format!("waited {limit:?} in vain for {what}"))?
}
