//! Each way in which a connection can open and close: what both ends' records must say of it, and what they must not.

mod closes;
