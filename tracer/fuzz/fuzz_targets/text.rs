//! See [`entries::text`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    entries::text(bytes);
});
