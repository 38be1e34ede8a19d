//! `GET /api/v1/closes?…` and `GET /api/v1/closes/<conn_id>`: the closes that are kept, newest first.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use finwait_core::record::{CloseKind, CloseRecord, FirstCloser};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Shared, UNKNOWN, context, json, refuse, too_early};
use crate::serve::recent::Kept;
use crate::sink::{CloseJson, TimeWaitJson};

const LIMIT: usize = 100;
const MOST: usize = 1000;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    kind: Option<String>,
    first_closer: Option<String>,
    state: Option<String>,
    process: Option<String>,
    port: Option<String>,
    peer: Option<String>,
    min_ns: Option<u64>,
    max_ns: Option<u64>,
    start_ns: Option<u64>,
    end_ns: Option<u64>,
    limit: Option<usize>,
    before: Option<u64>,
}

#[derive(Serialize)]
struct ClosesJson<'a> {
    schema: &'static str,
    closes: Vec<CloseJson<'a>>,
    next: Option<u64>,
    kept: usize,
    skipped: u64,
}

#[derive(Serialize)]
struct OneJson<'a> {
    close: CloseJson<'a>,
    time_wait: Option<TimeWaitJson<'a>>,
    peer: Option<CloseJson<'a>>,
}

/// A page of those that fit.
pub(super) async fn answer(State(shared): State<Arc<Shared>>, Query(asked): Query<Asked>) -> Response {
    let Some(served) = shared.reader.sheet().await else { return too_early() };
    let context = context(&served.snapshot.snapshot);
    let filter = Filter::of(&asked);
    let limit = asked.limit.unwrap_or(LIMIT).clamp(1, MOST);
    let (page, kept) = {
        let recent = shared.recent();
        (recent.page(asked.before, limit, |kept| filter.fits(kept)), recent.len())
    };
    json(
        &shared,
        &ClosesJson {
            schema: "finwait.closes/1",
            closes: page.closes.iter().map(|kept| CloseJson::new(&kept.close, &context)).collect(),
            next: page.next,
            kept,
            skipped: shared.skipped.load(Ordering::Relaxed),
        },
    )
}

/// One close, with what else is known of the connection.
pub(super) async fn one(State(shared): State<Arc<Shared>>, Path(conn_id): Path<String>) -> Response {
    let Some(served) = shared.reader.sheet().await else { return too_early() };
    let context = context(&served.snapshot.snapshot);
    let found = shared.recent().find(&conn_id).map(|(kept, peer)| (kept.clone(), peer.cloned()));
    let Some((kept, peer)) = found else {
        return refuse(StatusCode::NOT_FOUND, "no close of this connection is kept");
    };
    json(
        &shared,
        &OneJson {
            close: CloseJson::new(&kept.close, &context),
            time_wait: kept.time_wait.as_deref().map(|record| TimeWaitJson::new(record, &context)),
            peer: peer.as_ref().map(|peer| CloseJson::new(&peer.close, &context)),
        },
    )
}

/// What was asked for; an empty word asks for nothing.
struct Filter<'a> {
    asked: &'a Asked,
    peer: Option<Peer>,
}

/// An address, a network, or what is neither and fits none.
enum Peer {
    Address(IpAddr),
    Network(IpNet),
    Neither,
}

fn word(asked: &Option<String>) -> Option<&str> {
    asked.as_deref().filter(|asked| !asked.is_empty())
}

impl<'a> Filter<'a> {
    fn of(asked: &'a Asked) -> Self {
        let peer = word(&asked.peer).map(|text| match (text.parse(), text.parse()) {
            (Ok(address), _) => Peer::Address(address),
            (_, Ok(network)) => Peer::Network(network),
            _ => Peer::Neither,
        });
        Self { asked, peer }
    }

    fn fits(&self, kept: &Kept) -> bool {
        let (asked, close) = (self.asked, &*kept.close);
        let is = |asked: Option<&str>, is: &str| asked.is_none_or(|asked| asked == is);
        let at = close.closed_at.unwrap_or(close.last_seen_at).0;
        is(word(&asked.kind), close.kind.value().map_or(UNKNOWN, |kind| CloseKind::name(*kind)))
            && is(
                word(&asked.first_closer),
                close.first_closer.value().map_or(UNKNOWN, |first| FirstCloser::name(*first)),
            )
            && within(at, asked.start_ns, asked.end_ns)
            && word(&asked.port).is_none_or(|port| has_port(close, port))
            && self.peer.as_ref().is_none_or(|peer| peer.holds(close.remote.addr))
            && word(&asked.process).is_none_or(|process| has_process(close, process))
            && word(&asked.state).is_none_or(|state| self.was_in(kept, state))
    }

    /// With bounds, a time in that state that is proven to lie within them.
    fn was_in(&self, kept: &Kept, state: &str) -> bool {
        let (min, max) = (self.asked.min_ns, self.asked.max_ns);
        let mut dwells = kept.close.dwells.iter().filter(|dwell| dwell.state.name() == state);
        if min.is_none() && max.is_none() {
            return dwells.next().is_some();
        }
        dwells.any(|dwell| dwell.duration_ns.value().is_some_and(|ns| within(*ns, min, max)))
    }
}

impl Peer {
    fn holds(&self, address: Option<IpAddr>) -> bool {
        match (self, address) {
            (Self::Address(asked), Some(address)) => *asked == address,
            (Self::Network(asked), Some(address)) => asked.contains(&address),
            (Self::Neither, _) | (_, None) => false,
        }
    }
}

fn within(ns: u64, min: Option<u64>, max: Option<u64>) -> bool {
    min.is_none_or(|min| ns >= min) && max.is_none_or(|max| ns <= max)
}

fn has_port(close: &CloseRecord, asked: &str) -> bool {
    [close.local.port, close.remote.port].into_iter().flatten().any(|port| port.to_string() == asked)
}

/// By name or number.
fn has_process(close: &CloseRecord, asked: &str) -> bool {
    let owners = [close.opener.value(), close.acceptor.value(), close.closer.value(), close.holder.as_ref()];
    owners
        .into_iter()
        .flatten()
        .any(|owner| owner.comm.to_string() == asked || owner.tgid.to_string() == asked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::samples_for_tests as samples;

    fn fits(asked: &Asked) -> bool {
        let kept = Kept { number: 0, close: Arc::new(samples::close()), time_wait: None };
        Filter::of(asked).fits(&kept)
    }

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn a_close_fits_what_is_true_of_it() {
        let close = samples::close();
        let peer = close.remote.addr.unwrap().to_string();
        let port = close.remote.port.unwrap().to_string();
        let comm = close.opener.value().or(close.closer.value()).unwrap().comm.to_string();
        let kind = text(close.kind.value().unwrap().name());
        assert!(fits(&Asked::default()));
        assert!(fits(&Asked { kind: text(""), peer: text(""), ..Asked::default() }), "nothing is asked for");
        assert!(fits(&Asked { kind, port: text(&port), process: text(&comm), ..Asked::default() }));
        assert!(fits(&Asked { peer: text(&peer), ..Asked::default() }));
        assert!(fits(&Asked { peer: text("0.0.0.0/0"), ..Asked::default() }));
    }

    #[test]
    fn it_fits_nothing_else() {
        for asked in [
            Asked { kind: text("refused"), ..Asked::default() },
            Asked { first_closer: text("both"), ..Asked::default() },
            Asked { port: text("1"), ..Asked::default() },
            Asked { peer: text("192.0.2.1"), ..Asked::default() },
            Asked { peer: text("192.0.2.0/24"), ..Asked::default() },
            Asked { peer: text("nobody"), ..Asked::default() },
            Asked { process: text("init"), ..Asked::default() },
            Asked { state: text("CLOSING"), ..Asked::default() },
            Asked { start_ns: Some(u64::MAX), ..Asked::default() },
            Asked { end_ns: Some(0), ..Asked::default() },
            Asked { state: text("FIN_WAIT2"), min_ns: Some(u64::MAX), ..Asked::default() },
        ] {
            assert!(!fits(&asked), "{asked:?}");
        }
    }
}
