//! What a VM tells the others of itself.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::Load;
use crate::{prefix::LogHead, time::Timestamp};

/// What a VM tells the others of itself, in its slot: who it is, that it lives, and its load in
/// flight. The load is told by address, since VMs of two configurations may be alive at once and
/// positions mean nothing from one to the other; some 12 bytes for each endpoint that has any.
///
/// Its head is read at once, the loads only by who needs them: most reports have been read before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report<'a> {
    /// Who it is and that it lives.
    pub head: ReportHead,
    loads: &'a [u8],
}

/// What begins a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportHead {
    /// The nonce of the VM: a slot may hold what its owner before has left.
    pub nonce: u64,
    /// When it was written.
    pub heartbeat: Timestamp,
    /// Grows with each report whose loads are others than those of the one before.
    pub sequence: u64,
    /// How far the log of its prompts has come.
    pub log: LogHead,
}

impl<'a> Report<'a> {
    /// Reads the shared form; `None` of what is no report.
    #[must_use]
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (head, loads) = postcard::take_from_bytes(bytes).ok()?;
        Some(Self { head, loads })
    }

    /// The loads, in the order in which they were told.
    pub fn loads(&self) -> impl Iterator<Item = (SocketAddr, Load)> + use<'a> {
        let mut rest = self.loads;
        core::iter::from_fn(move || {
            let (load, after) = postcard::take_from_bytes(rest).ok()?;
            rest = after;
            Some(load)
        })
    }
}

/// The shared form of a report.
#[must_use]
pub fn encode_report(head: ReportHead, loads: impl Iterator<Item = (SocketAddr, Load)>) -> Vec<u8> {
    // Encoding into memory cannot fail; were it to, this would be no report, and the VM not heard of.
    let start = postcard::to_allocvec(&head).unwrap_or_default();
    loads.fold(start, |report, load| {
        postcard::to_extend(&load, report).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

    fn head() -> impl Strategy<Value = ReportHead> {
        any::<[u64; 5]>().prop_map(|[nonce, heartbeat, sequence, segment, record]| ReportHead {
            nonce,
            heartbeat: Timestamp::from_millis(heartbeat),
            sequence,
            log: LogHead {
                segment,
                sequence: record,
            },
        })
    }

    fn loads() -> impl Strategy<Value = Vec<(SocketAddr, Load)>> {
        let load = any::<(u32, u64)>().prop_map(|(requests, tokens)| Load { requests, tokens });
        let address = any::<(IpAddr, u16)>().prop_map(SocketAddr::from);
        prop::collection::vec((address, load), 0..40)
    }

    #[test]
    fn an_endpoint_takes_few_bytes() {
        let head = ReportHead {
            nonce: u64::MAX,
            heartbeat: Timestamp::from_millis(1_764_000_000_000),
            sequence: 1_000_000,
            log: LogHead::default(),
        };
        let load = Load {
            requests: 40,
            tokens: 100_000,
        };
        let loads = (0..1000).map(|port| (SocketAddr::from(([10, 0, 0, 1], 8000 + port)), load));
        let bytes = encode_report(head, loads).len();
        assert!(bytes < 12_100, "{bytes}");
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(head in head(), loads in loads()) {
            let bytes = encode_report(head, loads.iter().copied());
            let report = Report::decode(&bytes).unwrap();
            prop_assert_eq!(report.head, head);
            prop_assert_eq!(report.loads().collect::<Vec<_>>(), loads);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Some(report) = Report::decode(&bytes) {
                prop_assert!(report.loads().count() <= bytes.len());
            }
        }
    }
}
