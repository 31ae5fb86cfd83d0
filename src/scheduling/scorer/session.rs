//! Scores by where a session belongs.

use xxhash_rust::xxh64::xxh64;

use crate::scheduling::{Candidates, Session, SessionForm, turns::rendezvous};

/// 1 for the endpoint of the request's session, 0 for the others, and for all where it has none.
pub(super) fn score(session: &Session, candidates: Candidates<'_>, scores: &mut Vec<f64>) {
    let value = session.value_of(candidates.request());
    let home = value.and_then(|value| match session.form {
        SessionForm::Token => Session::address(value),
        SessionForm::Key => {
            let key = xxh64(value, 0);
            let home = candidates.endpoints().max_by_key(|it| rendezvous(key, it));
            home.map(|endpoint| endpoint.address())
        }
    });
    scores.extend(candidates.endpoints().map(|endpoint| {
        let is_home = home == Some(endpoint.address());
        f64::from(u8::from(is_home))
    }));
}
