//! Closes by RST.

use std::time::Duration;

use super::error::{Context, Result, ScenarioError};
use finwait_core::TcpState::Close;
use finwait_core::record::{CloseKind, ResetCause, ResetDirection, Successor};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::closes::{client_side, server_side, single};
use super::made::{Fact, Made, MadeReset, MadeSide};
use super::stage::{Pair, Stage, connect, pass, until};

const REQUEST: usize = 4;
const UNREAD: usize = 10;

/// A side that was reset by its peer.
fn received(mut side: MadeSide) -> MadeSide {
    side.kind = Fact::Shown(CloseKind::Reset);
    side.first_closer = Fact::Never;
    side.closer = Fact::Never;
    side.successor = Fact::Shown(Successor::Nothing);
    side.waves = Fact::Never;
    side.reset = Some(MadeReset {
        direction: Fact::Shown(ResetDirection::Received),
        cause: Fact::Never,
        unread: Fact::True(0),
    });
    side
}

/// The client that resets with `cause`, `unread` bytes unread.
fn sent(stage: &Stage<'_>, cause: ResetCause, unread: usize) -> Result<MadeSide> {
    let mut side = client_side(stage, &[Close]);
    side.kind = Fact::Shown(CloseKind::Reset);
    side.first_closer = Fact::Never;
    side.closer = Fact::Shown(stage.client().owner());
    side.successor = Fact::Shown(Successor::Nothing);
    side.waves = Fact::Never;
    side.reset = Some(MadeReset {
        direction: Fact::Shown(ResetDirection::Sent),
        cause: Fact::Shown(cause),
        unread: Fact::Shown(u32::try_from(unread)?),
    });
    Ok(side)
}

pub(super) fn linger_zero(stage: &Stage<'_>, name: &'static str) -> Result<Made> {
    let (listening, Pair { client, server, local, remote }) = stage.one_pair()?;
    pass(&client, &server, REQUEST)?;
    stage.client().run(move || {
        socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
        drop(client);
        Ok(())
    })?;
    stage.settle(local, remote)?;
    stage.server().close(server)?;
    let sides = (sent(stage, ResetCause::LingerZero, 0)?, received(server_side(&[Close])));
    single(stage, name, listening, (local, remote), sides)
}

pub(super) fn unread_data(stage: &Stage<'_>, name: &'static str) -> Result<Made> {
    let (listening, Pair { client, server, local, remote }) = stage.one_pair()?;
    pass(&client, &server, REQUEST)?;
    std::io::Write::write_all(&mut &server, &[b'.'; UNREAD])?;
    let mut seen = [0; UNREAD];
    until("data to leave unread", || Ok((client.peek(&mut seen)? == UNREAD).then_some(())))?;
    stage.client().close(client)?;
    stage.settle(local, remote)?;
    stage.server().close(server)?;
    let sides = (sent(stage, ResetCause::UnreadData, UNREAD)?, received(server_side(&[Close])));
    single(stage, name, listening, (local, remote), sides)
}

pub(super) fn unaccepted(stage: &Stage<'_>, name: &'static str) -> Result<Made> {
    let listening = stage.listen()?;
    let to = listening.address;
    let client = stage.client().run(move || connect(to))?;
    let (local, remote) = (client.local_addr()?, client.peer_addr()?);
    // The handshake's last segment must have made the child: it is in the queue when the listener is readable.
    wait_acceptable(&listening)?;
    let listener = stage.close_listener(listening)?;
    stage.settle(local, remote)?;
    stage.client().close(client)?;
    let mut child = server_side(&[Close]);
    child.kind = Fact::Shown(CloseKind::Dropped);
    child.first_closer = Fact::Never;
    child.closer = Fact::True(stage.server().owner());
    child.successor = Fact::Shown(Successor::Nothing);
    child.waves = Fact::Never;
    let client = received(client_side(stage, &[Close]));
    let connection = super::MadeConnection { name, local, remote, client, server: Some(child) };
    Ok(Made { connections: vec![connection], listeners: vec![listener] })
}

fn wait_acceptable(listening: &super::stage::Listening) -> Result<()> {
    let mut fds = [PollFd::new(&listening.socket, PollFlags::IN)];
    let limit = Timespec { tv_sec: 5, tv_nsec: 0 };
    let ready = poll(&mut fds, Some(&limit)).context("waiting for a connection to accept")?;
    if ready != 1 {
        return Err(ScenarioError::unexpected("no connection to accept within 5 s"));
    }
    Ok(())
}
