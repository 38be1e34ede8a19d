//! The programs themselves: what they read against what the system calls say, and what they count.

mod counts;
mod harness;
mod tiers;
mod values;
