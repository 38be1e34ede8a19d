//! Every seed of the fuzzers goes through the entry that it is a seed of, without a fuzzer.
#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use std::fs;
use std::path::Path;

#[path = "../fuzz/src/lib.rs"]
mod entries;

#[test]
fn every_seed_is_read_to_its_end_and_each_entry_finds_observations() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    for (name, entry) in entries::ENTRIES {
        let mut observations = 0;
        for seed in fs::read_dir(seeds.join(name)).unwrap() {
            observations += entry(&fs::read(seed.unwrap().path()).unwrap());
        }
        assert!(observations > 10, "{name}: {observations}");
    }
}

/// Recordings, captures and packets cut anywhere: what stays is read or refused.
#[test]
fn every_seed_may_end_anywhere() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    for (name, entry) in entries::ENTRIES {
        for seed in fs::read_dir(seeds.join(name)).unwrap() {
            let bytes = fs::read(seed.unwrap().path()).unwrap();
            for length in (0..bytes.len()).step_by(bytes.len() / 20 + 1) {
                entry(&bytes[..length]);
            }
        }
    }
}
