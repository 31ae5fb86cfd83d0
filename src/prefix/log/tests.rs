use proptest::prelude::*;

use super::*;

/// The keys of one slot, as the host keeps them.
#[derive(Debug, Default)]
struct Shared {
    nonce: u64,
    head: LogHead,
    segments: [Vec<u8>; SEGMENTS],
}

impl Shared {
    fn publish(&mut self, log: &mut PrefixLog) {
        for (key, segment) in log.take_segments() {
            assert!(segment.len() <= SEGMENT_BYTES);
            self.segments[key] = segment;
        }
        self.nonce = log.nonce;
        self.head = log.head();
    }

    fn read(&self, reader: &mut PrefixLogReader) -> (Vec<Record>, usize) {
        let mut read = Vec::new();
        let mut segments = 0;
        for key in reader.segments(self.nonce, self.head) {
            segments += 1;
            reader.read(&self.segments[key], |routed| read.push(Record::of(routed)));
        }
        (read, segments)
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Record {
    address: SocketAddr,
    blocks: Vec<BlockHash>,
    cold: bool,
    unread: bool,
}

impl Record {
    fn of(routed: Routed<'_>) -> Self {
        Self {
            address: routed.address,
            blocks: routed.blocks.to_vec(),
            cold: routed.cold,
            unread: routed.unread,
        }
    }

    fn write(&self, log: &mut PrefixLog) {
        if self.unread {
            log.take_back(self.address, &self.blocks);
        } else {
            log.record(self.address, &self.blocks, self.cold);
        }
    }
}

/// A record that is told from others by its first block.
fn record(n: u64, blocks: usize) -> Record {
    Record {
        address: ([10, 0, 0, 1], 8000).into(),
        blocks: (n..).take(blocks).map(BlockHash).collect(),
        cold: n % 5 != 1 && n.is_multiple_of(3),
        unread: n % 5 == 1,
    }
}

fn any_record() -> impl Strategy<Value = Record> {
    let blocks = prop_oneof![0..40_usize, 0..MAX_BLOCKS];
    let kind = prop_oneof![
        Just((false, false)),
        Just((true, false)),
        Just((false, true))
    ];
    (any::<SocketAddr>(), any::<u64>(), blocks, kind).prop_map(
        |(address, first, blocks, (cold, unread))| Record {
            // What belongs to an address beside its port is not told.
            address: (address.ip(), address.port()).into(),
            blocks: (0..blocks as u64)
                .map(|n| BlockHash(first.wrapping_mul(n + 1)))
                .collect(),
            cold,
            unread,
        },
    )
}

#[derive(Debug, Clone)]
enum Event {
    Write(Record),
    Publish,
    Read,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => any_record().prop_map(Event::Write),
        1 => Just(Event::Publish),
        1 => Just(Event::Read),
    ]
}

proptest! {
    #[test]
    fn every_record_is_read_once_and_in_order(
        events in prop::collection::vec(event(), 0..80),
        joins_at in 0..40_usize,
    ) {
        let (mut log, mut shared) = (PrefixLog::new(1), Shared::default());
        let mut written = Vec::new();
        let mut published = 0;
        // One that reads from the beginning, and one that comes late: with how far they are.
        let mut readers = [(PrefixLogReader::default(), 0), (PrefixLogReader::default(), 0)];
        for (at, event) in events.into_iter().chain([Event::Publish, Event::Read]).enumerate() {
            match event {
                Event::Write(record) => {
                    record.write(&mut log);
                    written.push(record);
                }
                Event::Publish => {
                    shared.publish(&mut log);
                    published = written.len();
                }
                Event::Read => {
                    let late = usize::from(at >= joins_at);
                    for (reader, position) in readers.iter_mut().take(1 + late) {
                        let lost = reader.lost();
                        let (read, segments) = shared.read(reader);
                        // Whatever is missing was written first, and is known of.
                        let start = published - read.len();
                        prop_assert_eq!(&read[..], &written[start..published]);
                        let missed = start - *position;
                        if *position > 0 || missed == 0 {
                            prop_assert_eq!(reader.lost() - lost, missed as u64);
                        }
                        prop_assert!(missed == 0 || segments == SEGMENTS);
                        *position = published;
                    }
                }
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        cut in any::<prop::sample::Index>(),
        flip in any::<(prop::sample::Index, u8)>(),
        head in any::<(u64, u64)>(),
    ) {
        let mut reader = PrefixLogReader::default();
        let (segment, sequence) = head;
        let keys: Vec<_> = reader.segments(0, LogHead { segment, sequence }).collect();
        prop_assert!(keys.len() <= SEGMENTS && keys.iter().all(|key| *key < SEGMENTS));
        reader.read(&bytes, |_| {});

        let mut log = PrefixLog::new(0);
        for n in 0..5 {
            record(n, 3).write(&mut log);
        }
        let (_, mut whole) = log.take_segments().next().unwrap();
        let (at, to) = flip;
        let at = at.index(whole.len());
        whole[at] = to;
        whole.truncate(cut.index(whole.len()));
        let mut count = 0;
        reader.read(&whole, |_| count += 1);
        prop_assert!(count <= whole.len());
    }
}

#[test]
fn only_what_has_changed_is_published_and_read() {
    let (mut log, mut shared) = (PrefixLog::new(1), Shared::default());
    let mut reader = PrefixLogReader::default();
    assert_eq!(log.take_segments().count(), 0);
    // Three to a segment.
    let blocks = SEGMENT_BYTES / size_of::<u64>() / 4;
    let mut written = 0;
    for (records, changed, segments) in [(1, 1, 1), (1, 1, 1), (3, 2, 2), (0, 0, 0), (4, 2, 2)] {
        for _ in 0..records {
            record(written, blocks).write(&mut log);
            written += 1;
        }
        assert_eq!(log.clone().take_segments().count(), changed, "{written}");
        shared.publish(&mut log);
        let (read, read_segments) = shared.read(&mut reader);
        assert_eq!(
            (read.len(), read_segments),
            (records, segments),
            "{written}"
        );
    }
}

#[test]
fn what_was_written_over_is_known_to_be_lost() {
    let (mut log, mut shared) = (PrefixLog::new(1), Shared::default());
    let mut reader = PrefixLogReader::default();
    let blocks = SEGMENT_BYTES / size_of::<u64>() / 4;
    record(0, blocks).write(&mut log);
    shared.publish(&mut log);
    shared.read(&mut reader);
    for n in 1..100 {
        record(n, blocks).write(&mut log);
    }
    shared.publish(&mut log);
    let (read, segments) = shared.read(&mut reader);
    assert_eq!(segments, SEGMENTS);
    // 99 is the first of its segment, and there are seven full ones before it.
    let kept = 1 + 3 * (SEGMENTS - 1);
    assert_eq!(
        read,
        (100 - kept as u64..100)
            .map(|n| record(n, blocks))
            .collect::<Vec<_>>()
    );
    assert_eq!(reader.lost(), 99 - kept as u64);

    // Of one that comes late nothing is lost.
    let mut late = PrefixLogReader::default();
    assert_eq!((shared.read(&mut late).0, late.lost()), (read, 0));
}

#[test]
fn what_another_left_under_the_keys_is_passed_over() {
    let (mut former, mut shared) = (PrefixLog::new(1), Shared::default());
    let blocks = SEGMENT_BYTES / size_of::<u64>() / 4;
    for n in 0..30 {
        record(n, blocks).write(&mut former);
    }
    shared.publish(&mut former);
    let mut reader = PrefixLogReader::default();
    assert!(!shared.read(&mut reader).0.is_empty());

    let mut log = PrefixLog::new(2);
    shared.nonce = 2;
    shared.head = log.head();
    for (n, count) in [(100, 0), (101, 1), (102, 5)] {
        let records: Vec<_> = (0..count).map(|at| record(n + at, blocks)).collect();
        for record in &records {
            record.write(&mut log);
        }
        shared.publish(&mut log);
        assert_eq!(shared.read(&mut reader).0, records, "{n}");
    }
}

#[test]
fn what_a_successor_writes_is_not_taken_for_its_predecessors() {
    let (mut former, mut shared) = (PrefixLog::new(1), Shared::default());
    for n in 0..3 {
        record(n, 1).write(&mut former);
    }
    shared.publish(&mut former);
    let told = (shared.nonce, shared.head);
    let mut log = PrefixLog::new(2);
    for n in 10..20 {
        record(n, 1).write(&mut log);
    }
    shared.publish(&mut log);
    let newer = (shared.nonce, shared.head);
    (shared.nonce, shared.head) = told;
    let mut reader = PrefixLogReader::default();
    assert_eq!(shared.read(&mut reader).0, []);
    (shared.nonce, shared.head) = newer;
    assert_eq!(shared.read(&mut reader).0.len(), 10);
}

#[test]
fn a_segment_written_over_while_it_is_read_does_not_go_first() {
    let (mut log, mut shared) = (PrefixLog::new(1), Shared::default());
    let blocks = SEGMENT_BYTES / size_of::<u64>() / 2;
    // One to a segment, so that the ninth stands where the first did.
    for n in 0..8 {
        record(n, blocks).write(&mut log);
    }
    shared.publish(&mut log);
    let told = shared.head;
    record(8, blocks).write(&mut log);
    shared.publish(&mut log);
    let newer = core::mem::replace(&mut shared.head, told);
    let mut reader = PrefixLogReader::default();
    let numbers = |records: Vec<Record>| -> Vec<u64> {
        records
            .iter()
            .map(|record| record.blocks[0].as_u64())
            .collect()
    };
    assert_eq!(
        numbers(shared.read(&mut reader).0),
        (1..8).collect::<Vec<_>>()
    );
    shared.head = newer;
    assert_eq!(numbers(shared.read(&mut reader).0), [8]);
}

#[test]
fn of_prompts_longer_than_a_segment_the_first_blocks_count() {
    let (mut log, mut shared) = (PrefixLog::new(1), Shared::default());
    let long = record(1, MAX_BLOCKS + 500);
    let (v6, v4) = (
        ([0xfd00, 0, 0, 0, 0, 0, 0, 1], 8000).into(),
        ([10, 0, 0, 1], 8000).into(),
    );
    for address in [v6, v4] {
        log.record(address, &long.blocks, false);
    }
    shared.publish(&mut log);
    let (read, segments) = shared.read(&mut PrefixLogReader::default());
    assert_eq!(segments, 2);
    let read: Vec<_> = read.iter().map(|it| (it.address, &it.blocks[..])).collect();
    let first = &long.blocks[..MAX_BLOCKS];
    assert_eq!(read, [(v6, first), (v4, first)]);
}
