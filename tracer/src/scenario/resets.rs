//! Closes by RST.

use std::time::Duration;

use super::error::Result;
use finwait_core::TcpState::Close;
use finwait_core::record::{CloseKind, ResetCause, Successor};

use super::made::{Fact, Made, MadeSide};
use super::sides::{client_side, reset_received, reset_sent, server_side};
use super::stage::{Pair, Stage, connect, pass, until};

const REQUEST: usize = 4;
const UNREAD: usize = 10;

/// The client that resets with `cause`, `unread` bytes unread.
fn sent(stage: &Stage<'_>, cause: ResetCause, unread: usize) -> Result<MadeSide> {
    let side = client_side(stage, &[Close]);
    Ok(reset_sent(side, stage.client().owner(), cause, u32::try_from(unread)?))
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
    let sides = (sent(stage, ResetCause::LingerZero, 0)?, reset_received(server_side(&[Close])));
    stage.single(name, listening, (local, remote), sides)
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
    let sides = (sent(stage, ResetCause::UnreadData, UNREAD)?, reset_received(server_side(&[Close])));
    stage.single(name, listening, (local, remote), sides)
}

pub(super) fn unaccepted(stage: &Stage<'_>, name: &'static str) -> Result<Made> {
    let listening = stage.listen()?;
    let to = listening.address;
    let client = stage.client().run(move || connect(to))?;
    let (local, remote) = (client.local_addr()?, client.peer_addr()?);
    // The handshake's last segment must have made the child: it is in the queue when the listener is readable.
    listening.wait_acceptable()?;
    let listener = stage.close_listener(listening)?;
    stage.settle(local, remote)?;
    stage.client().close(client)?;
    let mut child = server_side(&[Close]);
    child.kind = Fact::Shown(CloseKind::Dropped);
    child.first_closer = Fact::Never;
    child.closer = Fact::True(stage.server().owner());
    child.successor = Fact::Shown(Successor::Nothing);
    child.waves = Fact::Never;
    let client = reset_received(client_side(stage, &[Close]));
    let connection = super::MadeConnection { name, local, remote, client, server: Some(child) };
    Ok(Made { connections: vec![connection], listeners: vec![listener] })
}
