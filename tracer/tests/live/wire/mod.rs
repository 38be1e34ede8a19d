//! The packets themselves: a second witness beside the records, and a link that can lose, delay and hold them.
//!
//! * [`tap`] what one host sent and received, by AF_PACKET; [`segment`] each of it decoded
//! * [`link`] two hosts joined by a thread that decides over every packet; [`tun`] the devices at its ends
//! * [`exchange`] how a connection closed, told from its segments alone
//! * [`agreement`] compares that with a close record

pub(crate) mod agreement;
pub(crate) mod exchange;
pub(crate) mod link;
pub(crate) mod segment;
pub(crate) mod tap;
pub(crate) mod tun;
