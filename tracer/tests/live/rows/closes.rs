//! Closes by FIN over a link: crossing FINs, FINs that are lost.

use std::time::Duration;

use finwait_core::TcpState::{Close, Closing, FinWait1};
use finwait_core::record::{CloseKind, FirstCloser, Successor, Waves};
use tracer::scenario::sides::{client_side, server_side};
use tracer::scenario::stage::{Pair, pass};
use tracer::scenario::{Fact, MadeSide, SideName};

use crate::support::over_link;
use crate::wire::link::Fate;

/// Long enough for both ends to close before either hears of it.
const ONE_WAY: Duration = Duration::from_millis(50);

#[test]
fn simultaneous_close_50_ms_each_way() {
    let run = over_link(|stage, link| {
        let (listening, Pair { client, server, local, remote }) = stage.one_pair()?;
        pass(&client, &server, 4)?;
        link.every(Fate::Delay(ONE_WAY), |_, _| true);
        let closing = stage.client().start(move || {
            drop(client);
            Ok(())
        });
        stage.server().close(server)?;
        closing.wait()?;
        let both = |mut side: MadeSide, closer| {
            side.kind = Fact::Shown(CloseKind::Simultaneous);
            side.first_closer = Fact::Shown(FirstCloser::Both);
            side.closer = Fact::Shown(closer);
            side.waves = Fact::Shown(Waves::Four);
            side.successor = Fact::Shown(Successor::TimeWait);
            side
        };
        let path = [FinWait1, Closing, Close];
        let mut mine = both(client_side(stage, &path), stage.client().owner());
        let mut theirs = both(server_side(&path), stage.server().owner());
        (mine.bytes_sent, theirs.bytes_received) = (Fact::Shown(4), Fact::Shown(4));
        (mine.bytes_received, theirs.bytes_sent) = (Fact::Shown(0), Fact::Shown(0));
        stage.single("simultaneous close", listening, (local, remote), (mine, theirs))
    });
    run.assert_whole();
    for side in [SideName::Client, SideName::Server] {
        let wire = run.wire(0, side);
        assert!(wire.crossed && wire.segments == Some(4), "{wire:?}");
    }
}
