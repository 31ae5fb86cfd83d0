//! `scripts/fuzz expression`
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| fuzz::expression(text));
