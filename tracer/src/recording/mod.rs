//! The binary form of recordings, byte by byte in docs/recording.md.
//!
//! A file is a header and frames. A frame is whole or not there at all: its checksums say so, and nothing outside of it is
//! needed to read it. Frames are numbered, and each says how many observations came before, so that what is missing is known.
//!
//! * `wire`, `layout`, [`Encoder`], [`Decoder`]: observations as a payload
//! * [`frame`]: the headers; `scan`: whole frames among anything
//! * [`FrameSource`]: a recording as a source; [`Recorder`]: a tap that writes one
//!
//! It never holds the kernel record's own bytes: their layout may change with every version.

mod config;
mod decode;
mod encode;
mod files;
pub mod frame;
mod layout;
mod missing;
mod pack;
mod preamble;
mod reader;
mod scan;
mod sequence;
mod settings;
mod tasks;
#[cfg(test)]
mod tests;
mod wire;
mod writer;

pub use config::{Fsync, RecorderConfig, Rotation};
pub use decode::{Decoder, Place};
pub use encode::Encoder;
pub(crate) use files::{open, replace};
pub use missing::Missing;
pub use reader::FrameSource;
pub use scan::{Broken, Damage, Found, Scan};
pub use wire::Fault;
pub use writer::Recorder;
