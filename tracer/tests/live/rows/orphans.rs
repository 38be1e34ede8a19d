//! Too many orphans. tcp_max_orphans is the whole host's, so this is made only in the guests of `cargo xtask vm` (feature
//! `vm`), where nobody else closes a socket meanwhile; LIST.vm names it.

use finwait_core::TcpState::{Close, CloseWait, FinWait1};
use finwait_core::record::{FinOutcome, FirstCloser, ResetCause};
use tracer::scenario::sides::{client_side, reset_received, reset_sent, server_side};
use tracer::scenario::stage::Pair;
use tracer::scenario::{Context, Fact, Result, SideName};

use super::{exchange, single};
use crate::support::over_link;
use crate::wire::tap::Way;

const LIMIT: &str = "/proc/sys/net/ipv4/tcp_max_orphans";

/// The host's limit, until dropped. Below 0 each orphan is one too many, on every kernel: some compare a count that is
/// brought up to date ten times a second.
struct NoOrphans(String);

impl NoOrphans {
    fn set() -> Result<Self> {
        let before = std::fs::read_to_string(LIMIT).context(LIMIT)?;
        std::fs::write(LIMIT, "-1").context(LIMIT)?;
        Ok(Self(before))
    }
}

impl Drop for NoOrphans {
    fn drop(&mut self) {
        std::fs::write(LIMIT, &self.0).expect("the limit as it was");
    }
}

/// close() queues the FIN, then the kernel finds that nobody may wait for its acknowledgement, and resets.
#[test]
fn too_many_orphans() {
    let run = over_link(|stage, link| {
        let (listening, Pair { client, server, local, remote }) = stage.one_pair()?;
        exchange(&client, &server)?;
        link.wait_acknowledged()?;
        let limit = NoOrphans::set()?;
        stage.client().close(client)?;
        drop(limit);
        stage.settle(local, remote)?;
        stage.server().close(server)?;
        let closer = stage.client().owner();
        let mut mine = reset_sent(client_side(stage, &[FinWait1, Close]), closer, ResetCause::Kernel, 0);
        mine.first_closer = Fact::True(FirstCloser::Local);
        mine.fin_outcome = Fact::True(FinOutcome::Reset);
        let mut theirs = reset_received(server_side(&[CloseWait, Close]));
        theirs.first_closer = Fact::Shown(FirstCloser::Peer);
        single(stage, "too many orphans", listening, (local, remote), (mine, theirs))
    });
    let (client, server) = (run.assert_whole().client(0), run.server(0));
    assert_eq!((client.error.value(), server.error.value()), (Some(&0), Some(&32)));
    assert!(run.wire(0, SideName::Client).reset(Way::Sent));
    let reason = client.reset.as_ref().expect("a reset").reason;
    assert!(reason.value().is_none_or(|name| name.as_str() == "TCP_ABORT_ON_MEMORY"), "{reason:?}");
}
