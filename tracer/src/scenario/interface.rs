//! Brings the loopback interface of the calling thread's network namespace up, by netlink (rtnetlink(7)).

use std::io::{Read, Write};
use std::time::Duration;

use super::error::{Context, Result, ScenarioError};
use socket2::{Domain, Socket, Type};

const AF_NETLINK: i32 = 16;
const RTM_NEWLINK: u16 = 16;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLMSG_ERROR: u16 = 2;
const IFF_UP: u32 = 1;
/// The loopback is the first interface of every namespace.
const LOOPBACK: u32 = 1;
/// struct nlmsghdr and struct ifinfomsg, 16 bytes each.
const REQUEST_BYTES: u32 = 32;

/// Sets IFF_UP on `lo`.
pub(super) fn bring_up_loopback() -> Result<()> {
    let mut socket =
        Socket::new(Domain::from(AF_NETLINK), Type::RAW, None).context("opening a netlink socket")?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    socket.write_all(&request()).context("asking for lo to be up")?;
    let mut answer = [0; 256];
    let length = socket.read(&mut answer).context("waiting for lo to be up")?;
    let errno = acknowledged(&answer[..length]).context("an answer that is no acknowledgement")?;
    if errno != 0 {
        return Err(ScenarioError::unexpected(format!(
            "bringing lo up: {}",
            std::io::Error::from_raw_os_error(errno)
        )));
    }
    Ok(())
}

fn request() -> Vec<u8> {
    let mut message = Vec::with_capacity(REQUEST_BYTES as usize);
    message.extend(REQUEST_BYTES.to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend((NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    message.extend([0; 8]); // sequence number, sender
    message.extend([0; 4]); // family, padding, type
    for word in [LOOPBACK, IFF_UP, IFF_UP] {
        message.extend(word.to_ne_bytes()); // index, flags, which of them
    }
    message
}

/// The errno of an acknowledgement, 0 for success.
fn acknowledged(answer: &[u8]) -> Option<i32> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let code = i32::from_ne_bytes(answer.get(16..20)?.try_into().ok()?);
    (kind == NLMSG_ERROR).then(|| code.saturating_neg())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_as_long_as_it_says() {
        assert_eq!(request().len(), REQUEST_BYTES as usize);
    }

    #[test]
    fn only_an_acknowledgement_is_taken_for_one() {
        let mut answer = [0; 36];
        answer[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        assert_eq!(acknowledged(&answer), Some(0));
        answer[16..20].copy_from_slice(&(-1i32).to_ne_bytes());
        assert_eq!(acknowledged(&answer), Some(1));
        answer[4] = 3;
        assert_eq!(acknowledged(&answer), None);
        assert_eq!(acknowledged(&answer[..18]), None);
    }
}
