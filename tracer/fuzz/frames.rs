//! A recording of any bytes is read to its end or refused. Seeds: tracer/tests/fixtures.
#![no_main]

use std::io::Cursor;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tracer::recording::FrameSource;
use tracer::source::{Polled, Source};

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut source) = FrameSource::new(Box::new(Cursor::new(bytes.to_vec())), "fuzz".to_owned()) else { return };
    let mut batch = Vec::new();
    while let Ok(Polled::Events | Polled::Idle) = source.poll(&mut batch, Duration::ZERO) {
        batch.clear();
    }
});
