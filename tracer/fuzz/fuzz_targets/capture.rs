//! See [`entries::capture`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    entries::capture(bytes);
});
