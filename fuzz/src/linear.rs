//! No exposition takes more than linear time to parse and map, told without a clock.
//!
//! The compiler counts: built with `-C instrument-coverage`, a program counts how often each of its
//! regions runs, loop bodies each time. The sum of these counters is the steps that were taken, the
//! same on every machine. Of the standard library, which comes compiled, only the closures given to
//! it are counted; what is called there (`from_utf8`, `trim_ascii`, `f64::from_str`) goes once over
//! its input. Samples with timestamps are sorted, which is within the bound at any size of a scrape.
//!
//! `scripts/fuzz steps` runs it.

#![expect(unsafe_code, reason = "the counters are in the C runtime of LLVM")]

use std::{
    ptr,
    sync::{Mutex, PoisonError},
};

use endpoint_picker::{
    exposition::{FamilySet, parse_line, samples},
    model_server::History,
    time::Timestamp,
};
use proptest::{collection::vec, prelude::*, sample::select};

use crate::{exposition::WANTED, generated::TOKENS, metrics::ENGINES};

/// Short lines of short tokens take most, some 110 steps a byte from combinator to combinator; 3 to
/// 10 where the tokens are long. The inputs here are long enough that anything quadratic takes
/// hundreds or thousands.
const STEPS_PER_BYTE: u64 = 200;

/// What takes as many steps whatever its length.
const STEPS_PER_INPUT: u64 = 1_000;

/// The counters are those of the process, so one test counts at a time.
static COUNTING: Mutex<()> = Mutex::new(());

// Of compiler-rt, as clang documents it for programs that write their own profiles.
unsafe extern "C" {
    fn __llvm_profile_begin_counters() -> *mut u64;
    fn __llvm_profile_end_counters() -> *mut u64;
}

fn steps(work: impl FnOnce()) -> u64 {
    // SAFETY: both only return an address.
    let (begin, end) = unsafe {
        (
            __llvm_profile_begin_counters(),
            __llvm_profile_end_counters(),
        )
    };
    let count = (end.addr() - begin.addr()) / size_of::<u64>();
    let sum = || {
        (0..count)
            // SAFETY: the counters are one array, which lies between the two addresses. It is read
            // by address, since the code that runs meanwhile writes to it.
            .map(|at| unsafe { ptr::read_volatile(begin.add(at)) })
            .fold(0, u64::wrapping_add)
    };
    let before = sum();
    work();
    sum().wrapping_sub(before)
}

/// Of the ways to read an exposition, what the one takes that takes most.
fn steps_to_read(text: &[u8]) -> u64 {
    let mut families = FamilySet::default();
    for family in WANTED {
        families.insert(family);
    }
    let engine = ENGINES.get(ENGINES.find("own").unwrap()).unwrap();
    let by_line = steps(|| {
        for line in text.split(|&byte| byte == b'\n') {
            let _ = parse_line(line);
        }
    });
    let by_family = steps(|| {
        let _ = samples(text, &families).count();
    });
    let at = Timestamp::from_millis(1);
    let mapped = steps(|| {
        let _ = engine
            .mapping()
            .read(text, at, &mut History::default(), None);
    });
    by_line.max(by_family).max(mapped)
}

fn allowed(text: &str) -> u64 {
    STEPS_PER_INPUT + STEPS_PER_BYTE * text.len() as u64
}

#[test]
fn hostile_expositions_take_linear_time() {
    let _alone = COUNTING.lock().unwrap_or_else(PoisonError::into_inner);
    // A piece is repeated until there are 128 KiB.
    for (head, piece, tail) in [
        ("", "a", ""),
        ("", "{", ""),
        ("", "\r", ""),
        ("", "\n", ""),
        ("", "#", ""),
        ("", " ", "a 1"),
        ("", "a{", ""),
        ("", "a 1\n", ""),
        ("", "a 1 5\n", ""),
        ("", "a{b=\"c\",d=\"e\\n\"} 1\n", ""),
        ("", "a_name_that_is_long ", ""),
        ("a", " ", "1"),
        ("a", "\t ", "{"),
        ("a{", ",", ""),
        ("a{", " ", "} 1"),
        ("a{", "b=\"c\",", "} 1"),
        ("a{", "b=\"\\\\\",", "} 1"),
        ("a{", "b=\"c\\n\" , ", "b=\""),
        ("a{b=\"", "c", "\"} 1"),
        ("a{b=\"", "c", ""),
        ("a{b=\"", "c", "\\n\"} 1"),
        ("a{b=\"", "c", "\\t\"} 1"),
        ("a{b=\"", "\\\"", "\"} 1"),
        ("a{b=\"", "\\\\", ""),
        ("a{b=\"", "é", "\"} 1"),
        ("a{b", "b", "=\"c\"} 1"),
        ("a ", "1", ""),
        ("a 0.", "0", "1"),
        ("a 1e", "0", ""),
        ("a 1 ", "0", "1"),
        ("a 1 ", "1", ""),
        ("# HELP ", " ", "a"),
        ("# TYPE a ", "g", ""),
        ("# ", "TYPE ", ""),
    ] {
        let text = [head, &piece.repeat((128 << 10) / piece.len()), tail].concat();
        let steps = steps_to_read(text.as_bytes());
        assert!(
            steps <= allowed(&text),
            "{head}{piece}…{tail} takes {} steps a byte",
            steps / text.len() as u64
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_is_repeated_takes_linear_time(
        head in vec(select(TOKENS), 0..6),
        piece in vec(select(TOKENS), 1..6),
        tail in vec(select(TOKENS), 0..3),
    ) {
        let _alone = COUNTING.lock().unwrap_or_else(PoisonError::into_inner);
        let piece = piece.concat();
        let text = [head.concat(), piece.repeat(8_000 / piece.len()), tail.concat()].concat();
        let steps = steps_to_read(text.as_bytes());
        prop_assert!(steps <= allowed(&text), "{} steps a byte", steps / text.len() as u64);
    }
}
