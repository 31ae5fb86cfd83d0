//! What one VM has routed, as bytes and back.

use endpoint_picker::prefix::{LogHead, PrefixIndex, PrefixLog, PrefixLogReader};
use wasm_bindgen_test::wasm_bindgen_test;

use super::index::{blocks, matched};

#[wasm_bindgen_test(unsupported = test)]
fn another_index_becomes_what_the_writers_is() {
    let address = |to: usize| ([10, 0, 0, 1], u16::try_from(to).unwrap_or_default()).into();
    let prompts = ["abc", "abx", "b", "abc123", "", "wxyz"];
    let new = || PrefixIndex::new(4, 1 << 16);
    let (mut ours, mut theirs) = (new(), new());
    let (mut log, mut reader) = (PrefixLog::new(7), PrefixLogReader::default());
    for round in 0..5 {
        for (at, prompt) in prompts.into_iter().enumerate() {
            let (to, cold) = ((at * 3 + round) % 4, at == round);
            ours.insert(to, &blocks(prompt), cold);
            log.record(address(to), &blocks(prompt), cold);
        }
        let segments: Vec<_> = log.take_segments().collect();
        for key in reader.segments(7, log.head()) {
            let segment = segments.iter().find(|(changed, _)| *changed == key);
            let (_, bytes) = segment.expect("only what has changed is read");
            reader.read(bytes, |routed| {
                theirs.insert(routed.address.port().into(), routed.blocks, routed.cold);
            });
        }
        for prompt in prompts {
            assert_eq!(matched(&theirs, prompt), matched(&ours, prompt), "{prompt}");
        }
        for to in 0..4 {
            assert_eq!(theirs.last_cold(to), ours.last_cold(to));
        }
    }
    assert_eq!(reader.lost(), 0);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_segment_is_written_as_it_is_documented() {
    let mut log = PrefixLog::new(0x0102);
    let prompt = blocks("ab");
    log.record(([10, 0, 0, 1], 8000).into(), &prompt, true);
    log.record(([0xfd00, 0, 0, 0, 0, 0, 0, 1], 8001).into(), &[], false);
    log.take_back(([10, 0, 0, 1], 8000).into(), &prompt[1..]);
    assert_eq!(
        log.head(),
        LogHead {
            segment: 0,
            sequence: 3
        }
    );

    let mut expected = vec![2, 1, 0, 0, 0, 0, 0, 0];
    expected.extend([0; 16]);
    expected.extend([1, 10, 0, 0, 1, 0x40, 0x1f, 2, 0]);
    for block in &prompt {
        expected.extend(block.as_u64().to_le_bytes());
    }
    expected.extend([
        2, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x41, 0x1f, 0, 0,
    ]);
    expected.extend([4, 10, 0, 0, 1, 0x40, 0x1f, 1, 0]);
    expected.extend(prompt[1].as_u64().to_le_bytes());
    assert_eq!(log.take_segments().collect::<Vec<_>>(), [(0, expected)]);
}
