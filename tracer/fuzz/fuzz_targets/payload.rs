//! See [`entries::payload`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    entries::payload(bytes);
});
