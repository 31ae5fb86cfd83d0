//! `scripts/fuzz metrics`
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| fuzz::metrics(text));
