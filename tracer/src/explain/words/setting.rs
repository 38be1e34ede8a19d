//! What the kernel's settings in force mean for this very close. Those that are not known are named in one sentence.

use finwait_core::record::{
    CloseKind, FirstCloser, LocalCause, ResetCause, Role, Successor, TimeWaitEnd, TimeoutCause, Waves,
};
use finwait_core::{Claim, TcpState};

use super::{Story, orphaned, own, sentence};
use crate::explain::ladder::passed;
use crate::explain::names::{self, endpoint};
use crate::explain::settings::{InForce, Setting};
use crate::explain::{Ground, Part, Sentence};
use crate::sink::human;

/// TCP_TIMEWAIT_LEN.
const TIME_WAIT_SECONDS: u32 = 60;
/// What the kernel makes of tcp_orphan_retries 0.
const ORPHAN_RETRIES: u32 = 8;

/// A sentence, or the ground that says why there is none.
type Said = Result<Sentence, Ground>;

/// Nothing of a capture, of whose hosts' kernels not even the kind is known.
pub(super) fn what_the_settings_mean(story: &Story<'_>) -> Vec<Sentence> {
    if story.is_captured() {
        return Vec::new();
    }
    let force = InForce::of(story.settings, story.close);
    let all = [
        fin_timeout(story, &force),
        tw_reuse(story, &force),
        port_range(story, &force),
        max_tw_buckets(story, &force),
        orphan_retries(story, &force),
        max_orphans(story, &force),
    ];
    let (mut said, mut unknown) = (Vec::new(), Vec::new());
    for setting in all.into_iter().flatten() {
        match setting {
            Ok(sentence) => said.push(sentence),
            Err(ground) => unknown.push(ground),
        }
    }
    said.extend(not_known(unknown));
    said
}

/// `What net.ipv4.tcp_fin_timeout was set to is not known: …`
fn not_known(grounds: Vec<Ground>) -> Option<Sentence> {
    let why = grounds.iter().find_map(|ground| match ground.basis {
        super::super::Basis::Absent(why) => Some(why),
        _ => None,
    })?;
    let names: Vec<&str> = grounds.iter().map(|ground| ground.name.as_ref()).collect();
    let were = if names.len() == 1 { "was" } else { "were" };
    let text = format!("What {} {were} set to is not known: {why}.", names.join(", "));
    Some(Sentence { text, evidence: grounds })
}

/// Of a close in which this end waited for the peer's FIN.
fn fin_timeout(story: &Story<'_>, force: &InForce<'_>) -> Option<Said> {
    let close = story.close;
    let left = story.time_wait;
    let timed_out = left.is_some_and(|left| left.end.value() == Some(&TimeWaitEnd::FinWait2TimedOut));
    let waited = passed(close, TcpState::FinWait2) && close.waves.value() != Some(&Waves::Three);
    if !waited || close.first_closer.value() != Some(&FirstCloser::Local) {
        return None;
    }
    let (seconds, ground) = match force.get(Setting::FinTimeout, |settings| settings.fin_timeout_seconds) {
        Ok(known) => known,
        Err(ground) => return Some(Err(ground)),
    };
    let (text, rests) = match (timed_out, orphaned(story)) {
        (true, _) => (
            format!(
                "The kernel waits {seconds}s for the peer's FIN (tcp_fin_timeout, unless TCP_LINGER2 says otherwise), and waited in vain."
            ),
            left.map(|left| Ground::claim(Part::TimeWait, "end", &left.end)),
        ),
        (_, Claim::Known { value: true, .. }) => (
            format!(
                "Had the peer's FIN taken over {seconds}s (tcp_fin_timeout, unless TCP_LINGER2 says otherwise), this end would have given up."
            ),
            Some(own("cause", &close.cause)),
        ),
        (_, Claim::Known { value: false, .. }) => (
            format!(
                "tcp_fin_timeout ({seconds}s) ends no such wait while the program holds the socket, as after shutdown()."
            ),
            Some(own("cause", &close.cause)),
        ),
        (_, Claim::Unknown(reason)) => (
            format!(
                "Whether tcp_fin_timeout ({seconds}s) would have ended the wait for the peer's FIN is not known, as is whether the program held the socket: {}.",
                names::reason(reason)
            ),
            Some(own("cause", &close.cause)),
        ),
    };
    Some(Ok(sentence(text, [ground]).and(rests)))
}

/// Whether it left a connection in TIME_WAIT.
fn leaves_time_wait(story: &Story<'_>) -> bool {
    story.close.successor.value() == Some(&Successor::TimeWait)
}

fn tw_reuse(story: &Story<'_>, force: &InForce<'_>) -> Option<Said> {
    let close = story.close;
    if !leaves_time_wait(story) || close.role.value() != Some(&Role::Opened) {
        return None;
    }
    let (reuse, ground) = match force.get(Setting::TwReuse, |settings| settings.tw_reuse) {
        Ok(known) => known,
        Err(ground) => return Some(Err(ground)),
    };
    let loopback = close.remote.addr.map(|addr| addr.to_canonical().is_loopback());
    let text = match (reuse, loopback) {
        (0, _) => "tcp_tw_reuse is 0: while it lasts, no connect() to the same end may take its place.".to_owned(),
        (2, Some(false)) => {
            "tcp_tw_reuse is 2, which is for loopback alone: while it lasts, no connect() to the same end may take its place.".to_owned()
        }
        (2, None) => "tcp_tw_reuse is 2, which is for loopback alone; whether this was is not known.".to_owned(),
        (value, _) => format!(
            "tcp_tw_reuse is {value}: after a second, connect() to the same end may take its place, where both ends use TCP timestamps."
        ),
    };
    let remote = Ground::field(Part::ThisEnd, "remote_addr", endpoint(close.remote));
    Some(Ok(sentence(text, [ground, own("successor", &close.successor), remote])))
}

fn port_range(story: &Story<'_>, force: &InForce<'_>) -> Option<Said> {
    let close = story.close;
    let no_port = close.kind.value() == Some(&CloseKind::NoFreePort);
    let costs_a_port = leaves_time_wait(story) && close.role.value() == Some(&Role::Opened);
    if !no_port && !costs_a_port {
        return None;
    }
    let (ports, ground) = match force.get(Setting::PortRange, |settings| settings.ports) {
        Ok(known) => known,
        Err(ground) => return Some(Err(ground)),
    };
    let (count, there) = (human::count(u64::from(ports.count())), endpoint(close.remote));
    let range = format!("ip_local_port_range is {} to {}", ports.first, ports.last);
    if no_port {
        let text = format!(
            "{range}: {count} ports for each local address and remote end, open connections and TIME_WAIT together."
        );
        return Some(Ok(sentence(text, [ground, own("kind", &close.kind)])));
    }
    let each_second = human::count(u64::from(ports.count() / TIME_WAIT_SECONDS));
    let text = format!(
        "{range}: {count} ports from this address to {there}; at 60s of TIME_WAIT each, that is {each_second} connections a second that this end may close first, where TIME_WAIT is not reused."
    );
    let grounds = [ground, own("successor", &close.successor), own("role", &close.role)];
    Some(Ok(sentence(text, grounds).and([Ground::constant("TCP_TIMEWAIT_LEN", "60 s")])))
}

fn max_tw_buckets(story: &Story<'_>, force: &InForce<'_>) -> Option<Said> {
    let close = story.close;
    let no_room = story.time_wait.filter(|left| left.end.value() == Some(&TimeWaitEnd::NeverAllocated));
    let accepted = leaves_time_wait(story) && close.role.value() == Some(&Role::Accepted);
    if no_room.is_none() && !accepted {
        return None;
    }
    let (most, ground) = match force.get(Setting::MaxTwBuckets, |settings| settings.max_tw_buckets) {
        Ok(known) => known,
        Err(ground) => return Some(Err(ground)),
    };
    let most = human::count(most);
    Some(Ok(match no_room {
        Some(left) => {
            let text = format!(
                "There is room for {most} time-wait sockets (tcp_max_tw_buckets); there was none for this one, or memory was short."
            );
            sentence(text, [ground, Ground::claim(Part::TimeWait, "end", &left.end)])
        }
        None => {
            let text = format!(
                "TIME_WAIT at the accepting end takes memory, and no port that connect() could use; tcp_max_tw_buckets allows {most} of them."
            );
            sentence(text, [ground, own("successor", &close.successor), own("role", &close.role)])
        }
    }))
}

/// Of a FIN that was not acknowledged after the program had let go.
fn orphan_retries(story: &Story<'_>, force: &InForce<'_>) -> Option<Said> {
    use TcpState::{Closing, FinWait1, LastAck};
    let close = story.close;
    let gave_up = close.timeout.as_ref().filter(|cause| cause.value() == Some(&TimeoutCause::Orphan));
    let waited = close
        .dwells
        .iter()
        .find(|dwell| dwell.slow && matches!(dwell.state, FinWait1 | LastAck | Closing))
        .filter(|_| orphaned(story).value() == Some(&true));
    if gave_up.is_none() && waited.is_none() {
        return None;
    }
    let (retries, ground) = match force.get(Setting::OrphanRetries, |settings| settings.orphan_retries) {
        Ok(known) => known,
        Err(ground) => return Some(Err(ground)),
    };
    let number = if retries == 0 { ORPHAN_RETRIES } else { retries };
    let stands = if retries == 0 { ", which stands for 8" } else { "" };
    let text = format!(
        "After close() the kernel sends what is not acknowledged again up to {number} times and then gives up (tcp_orphan_retries is {retries}{stands})."
    );
    let rests = match (gave_up, waited) {
        (Some(cause), _) => own("timeout_cause", cause),
        (None, Some(dwell)) => {
            Ground::claim(Part::ThisEnd, format!("dwell_ns.{}", dwell.state.name()), &dwell.duration_ns)
        }
        (None, None) => own("cause", &close.cause),
    };
    Some(Ok(sentence(text, [ground, rests])))
}

/// Of a reset that the kernel sent for a reason of its own.
fn max_orphans(story: &Story<'_>, force: &InForce<'_>) -> Option<Said> {
    let reset = story.close.reset.as_ref()?;
    let let_go = !matches!(story.close.cause.value(), None | Some(LocalCause::Shutdown));
    if reset.cause.value() != Some(&ResetCause::Kernel) || !let_go {
        return None;
    }
    let (most, ground) = match force.get(Setting::MaxOrphans, |settings| settings.max_orphans) {
        Ok(known) => known,
        Err(ground) => return Some(Err(ground)),
    };
    let text = format!(
        "The kernel resets what programs have closed when the host has over {} such orphans (tcp_max_orphans), or is short of memory; which it was, if either, is not shown.",
        human::count(most)
    );
    Some(Ok(sentence(text, [ground, own("reset_cause", &reset.cause)])))
}
