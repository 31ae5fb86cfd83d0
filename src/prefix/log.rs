//! What one VM has routed, for the others of its Envoy to read.
//!
//! VMs share values by key, copied as a whole at each access. So the log of a VM is [`SEGMENTS`] values
//! in rotation: it appends to one, publishes that, and goes on to the next when it is full, over what
//! stood there. A reader that learns from the [`LogHead`] how far the log has come reads only the
//! segments that have something for it, and one that comes late what all of them hold.
//!
//! ```text
//! segment := nonce (8)  number (8)  sequence of its first record (8)  record*
//! record  := flags (1)  address (4 or 16)  port (2)  blocks (2)  block hash (8)*
//! flags   := 1 if cold, + 2 if the address is of IPv6, + 4 if it was not read there after all
//! ```
//!
//! Numbers are little-endian. Segments are numbered through, and the `n`th stands under the key `n`
//! modulo [`SEGMENTS`]; records are numbered through as well. By the numbers a reader takes each
//! record once and knows when it has missed some, by the nonce it tells a log from one that another VM
//! has left under the same keys.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::BlockHash;

/// How many segments there are.
pub const SEGMENTS: usize = 8;
/// Bytes of a segment: about as many as a host copies without being noticed.
const SEGMENT_BYTES: usize = 16 << 10;

const COLD: u8 = 1;
const IPV6: u8 = 2;
const UNREAD: u8 = 4;

const HEADER_BYTES: usize = 24;
/// What of a record does not depend on how many blocks it has.
const MAX_RECORD_BYTES: usize = 1 + 16 + 2 + 2;
/// So that every record fits into a segment: of a longer prompt the first blocks count.
const MAX_BLOCKS: usize = (SEGMENT_BYTES - HEADER_BYTES - MAX_RECORD_BYTES) / size_of::<u64>();

/// How far a log has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LogHead {
    /// The number of the segment that is written.
    pub segment: u64,
    /// The number of the record to come next.
    pub sequence: u64,
}

/// A prompt that was sent to an endpoint, or part of one that did not get there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Routed<'a> {
    /// The endpoint.
    pub address: SocketAddr,
    /// The prompt's blocks.
    pub blocks: &'a [BlockHash],
    /// Whether no endpoint held any of it.
    pub cold: bool,
    /// Whether it takes back what was recorded before: the endpoint has not read these blocks.
    pub unread: bool,
}

/// The log of this VM.
#[derive(Debug, Clone)]
pub struct PrefixLog {
    nonce: u64,
    head: LogHead,
    /// By their keys; empty before they are first written.
    segments: [Vec<u8>; SEGMENTS],
    changed: [bool; SEGMENTS],
}

impl PrefixLog {
    /// An empty log, told from those of other VMs by its `nonce`.
    #[must_use]
    pub fn new(nonce: u64) -> Self {
        Self {
            nonce,
            head: LogHead::default(),
            segments: Default::default(),
            changed: Default::default(),
        }
    }

    /// Adds a prompt that was sent to the endpoint at `address`, a `cold` one if none held any of it.
    pub fn record(&mut self, address: SocketAddr, blocks: &[BlockHash], cold: bool) {
        self.append(Routed {
            address,
            blocks,
            cold,
            unread: false,
        });
    }

    /// Adds that the endpoint at `address` has not read these blocks, which were recorded.
    pub fn take_back(&mut self, address: SocketAddr, blocks: &[BlockHash]) {
        self.append(Routed {
            address,
            blocks,
            cold: false,
            unread: true,
        });
    }

    fn append(&mut self, mut record: Routed<'_>) {
        record.blocks = record.blocks.get(..MAX_BLOCKS).unwrap_or(record.blocks);
        let blocks = record.blocks;
        let space = SEGMENT_BYTES - MAX_RECORD_BYTES - size_of_val(blocks);
        let current = self.segments.get(key(self.head.segment));
        let is_full = current.is_some_and(|segment| segment.len() > space);
        if is_full {
            self.head.segment += 1;
        }
        let key = key(self.head.segment);
        let (Some(segment), Some(changed)) =
            (self.segments.get_mut(key), self.changed.get_mut(key))
        else {
            return;
        };
        if is_full || segment.is_empty() {
            segment.clear();
            for number in [self.nonce, self.head.segment, self.head.sequence] {
                segment.extend(number.to_le_bytes());
            }
        }
        *changed = true;
        self.head.sequence += 1;
        write_record(segment, record);
    }

    /// The segments that have changed since they were last taken, by their keys. They are to be
    /// published before the [head](Self::head).
    pub fn take_segments(&mut self) -> impl Iterator<Item = (usize, Vec<u8>)> {
        let changed = core::mem::take(&mut self.changed);
        let segments = self.segments.iter().enumerate().zip(changed);
        segments
            .filter(|(_, changed)| *changed)
            .map(|((key, segment), _)| (key, segment.clone()))
    }

    /// How far it has come.
    #[must_use]
    pub const fn head(&self) -> LogHead {
        self.head
    }
}

/// Reads the log of another VM, or of whoever has its keys after it.
#[derive(Debug, Clone, Default)]
pub struct PrefixLogReader {
    nonce: u64,
    /// As it was last told.
    head: LogHead,
    /// What comes next: all before it has been read.
    next: LogHead,
    lost: u64,
}

impl PrefixLogReader {
    /// The keys of the segments that are to be [read](Self::read), in this order, once the log of the
    /// VM with `nonce` has come to `head`.
    pub fn segments(&mut self, nonce: u64, head: LogHead) -> impl Iterator<Item = usize> + use<> {
        if self.nonce != nonce {
            *self = Self {
                nonce,
                lost: self.lost,
                ..Self::default()
            };
        }
        self.head = head;
        let first = head.segment.saturating_sub(SEGMENTS as u64 - 1);
        let first = self.next.segment.max(first);
        let behind = self.next.sequence < head.sequence;
        let segments = if behind {
            first..head.segment + 1
        } else {
            0..0
        };
        self.next.segment = head.segment;
        segments.map(key)
    }

    /// Hands every record of a segment that it has not seen to `apply`. Bytes that are no segment of
    /// this log are passed over.
    pub fn read(&mut self, segment: &[u8], mut apply: impl FnMut(Routed<'_>)) {
        let mut bytes = Bytes(segment);
        let (Some(nonce), Some(number), Some(first)) =
            (bytes.number(), bytes.number(), bytes.number())
        else {
            return;
        };
        // Written over since the head was told, and not next in turn: the segments before it come first.
        if nonce != self.nonce || number > self.head.segment {
            return;
        }
        // What was written over before it began to read is not missed.
        if self.next.sequence > 0 {
            self.lost += first.saturating_sub(self.next.sequence);
        }
        self.next.sequence = self.next.sequence.max(first);
        let mut blocks = Vec::new();
        let mut sequence = first;
        while let Some((address, flags)) = bytes.record(&mut blocks) {
            if sequence == self.next.sequence {
                apply(Routed {
                    address,
                    blocks: &blocks,
                    cold: flags & COLD != 0,
                    unread: flags & UNREAD != 0,
                });
                self.next.sequence += 1;
            }
            sequence += 1;
        }
    }

    /// How many records were written over before they were read, since it began to read.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }
}

/// Under which key the segment of this number stands.
const fn key(segment: u64) -> usize {
    (segment % SEGMENTS as u64) as usize
}

fn write_record(segment: &mut Vec<u8>, record: Routed<'_>) {
    let flags = [
        (record.cold, COLD),
        (record.address.is_ipv6(), IPV6),
        (record.unread, UNREAD),
    ];
    let flags = flags.into_iter().filter(|(is_set, _)| *is_set);
    segment.push(flags.fold(0, |flags, (_, flag)| flags | flag));
    match record.address.ip() {
        IpAddr::V4(ip) => segment.extend(ip.octets()),
        IpAddr::V6(ip) => segment.extend(ip.octets()),
    }
    segment.extend(record.address.port().to_le_bytes());
    let blocks = u16::try_from(record.blocks.len()).unwrap_or(u16::MAX);
    segment.extend(blocks.to_le_bytes());
    for block in record.blocks {
        segment.extend(block.as_u64().to_le_bytes());
    }
}

/// What is left of a segment.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    /// The address and the flags of the next record, whose blocks are put into `blocks`; `None` where
    /// there is no whole one.
    fn record(&mut self, blocks: &mut Vec<BlockHash>) -> Option<(SocketAddr, u8)> {
        let [flags] = self.take()?;
        let ip: IpAddr = if flags & IPV6 == 0 {
            self.take::<4>()?.into()
        } else {
            self.take::<16>()?.into()
        };
        let port = u16::from_le_bytes(self.take()?);
        let count = usize::from(u16::from_le_bytes(self.take()?));
        let (hashes, rest) = self.0.split_at_checked(count * size_of::<u64>())?;
        self.0 = rest;
        let (hashes, _) = hashes.as_chunks();
        blocks.clear();
        blocks.extend(
            hashes
                .iter()
                .map(|hash| BlockHash(u64::from_le_bytes(*hash))),
        );
        Some(((ip, port).into(), flags))
    }
}

#[cfg(test)]
mod tests;
