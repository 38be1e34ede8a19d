//! See [`entries::packet`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    entries::packet(bytes);
});
