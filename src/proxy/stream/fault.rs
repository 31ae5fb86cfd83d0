//! Faults that a request asks for. Only tests are built with them: no module that is shipped has
//! the feature.

use crate::request::HeaderPairs;

/// The header that asks for a fault, and what it says.
const PANIC: (&[u8], &[u8]) = (b"x-endpoint-picker-fault", b"panic");

/// Brings this VM down when a request asks for it.
pub(super) fn obey(headers: &HeaderPairs) {
    assert!(
        headers.iter().all(|header| header != PANIC),
        "a request asked for it"
    );
}
