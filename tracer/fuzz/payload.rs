//! A payload of any bytes, behind the number of its observations, is read or refused; what was read is written and read the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracer::recording::{Decoder, Encoder};

fuzz_target!(|bytes: &[u8]| {
    let Some((count, payload)) = bytes.split_first_chunk() else { return };
    let mut batch = Vec::new();
    if Decoder::default().decode(payload, u32::from_le_bytes(*count), &mut batch).is_err() {
        assert!(batch.is_empty());
        return;
    }
    let mut encoder = Encoder::default();
    batch.iter().for_each(|observation| encoder.push(observation));
    let mut again = Vec::new();
    let decoded = Decoder::default().decode(encoder.payload(), encoder.observations(), &mut again);
    assert!(decoded.is_ok() && again == batch);
});
