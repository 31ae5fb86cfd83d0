//! Requests that are answered from here.

use crate::{
    proxy::{
        destination::HandOverError,
        host::{self, HostError},
        worker::Worker,
    },
    request::{Api, Malformed, Rejection},
    time::Timestamp,
};

/// Why a request is not routed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error(transparent)]
    Host(#[from] HostError),
    #[error(transparent)]
    HandOver(#[from] HandOverError),
    #[error("the worker's state is in use or was never configured")]
    NoWorker,
}

impl From<Malformed> for Refusal {
    fn from(error: Malformed) -> Self {
        Self::Rejected(error.into())
    }
}

/// Answers the request in hand, which is to `api`.
pub(super) fn answer(refusal: Refusal, api: Option<Api>) {
    let rejection = match refusal {
        Refusal::Rejected(rejection) => rejection,
        other => {
            log::error!("request not routed: {other}");
            Rejection::Internal
        }
    };
    if let Err(error) = reply(&rejection, api) {
        log::error!("{error}");
    }
}

/// Answers the requests that have been held for too long without more of their bodies. Called
/// outside of their own callbacks, and leaves the host at the last of them.
pub(in crate::proxy) fn answer_overdue(worker: &mut Worker, now: Timestamp) {
    let timeout = worker.request.body_timeout;
    for overdue in worker.held.overdue(now, timeout) {
        let rejection = if worker.held.bodies_come() || !worker.destination.hand_over.is_header() {
            Rejection::BodyTimeout
        } else {
            log::error!(
                "a request was held for {timeout:?} and none of its body came: is \
                 allow_on_headers_stop_iteration set beside vm_config in the plugin's configuration? \
                 Without it Envoy delivers no body while the headers are held"
            );
            Rejection::Internal
        };
        let replied = host::act_for(overdue.id).and_then(|()| reply(&rejection, Some(overdue.api)));
        if let Err(error) = replied {
            // It has ended meanwhile.
            log::debug!("{error}");
        }
    }
}

fn reply(rejection: &Rejection, api: Option<Api>) -> Result<(), HostError> {
    let reply = rejection.reply(api);
    let retry_after = reply.retry_after.map(|seconds| seconds.to_string());
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(
        retry_after
            .as_deref()
            .map(|seconds| ("retry-after", seconds)),
    );
    host::local_reply(reply.status, headers, &reply.body)
}
