//! Which columns there are, and how wide. The first hundred characters hold what answers the question; a wider
//! terminal adds columns in the order of their worth, then width.

use crate::sink::columns::Align;

use super::Look;

/// Narrowest line that is laid out for.
pub(super) const BASE_WIDTH: usize = 100;
/// `255.255.255.255:65535`
const LONGEST_V4: usize = 21;

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Time,
    Seconds,
    OpenedBy,
    /// The port alone, or address and port
    Local {
        port_only: bool,
    },
    Remote,
    First,
    /// With the process that closed, if another than the opener
    ClosedBy {
        process: bool,
    },
    Kind {
        waves: bool,
    },
    Life,
    Close {
        wide: bool,
    },
    Sent,
    Received,
    Rtt,
    Workload,
    Cookie,
    SkAddr,
    Pid,
    Comm,
    LocalAddr,
    LocalPort,
    RemoteAddr,
    RemotePort,
    OldState,
    NewState,
    Ms,
}

impl Column {
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Time => "TIME",
            Self::Seconds => "TIME(s)",
            Self::OpenedBy => "OPENED BY",
            Self::Local { .. } => "LOCAL",
            Self::Remote => "REMOTE",
            Self::First => "FIRST",
            Self::ClosedBy { .. } => "CLOSED BY",
            Self::Kind { .. } => "KIND",
            Self::Life => "LIFE",
            Self::Close { .. } => "CLOSE",
            Self::Sent => "SENT",
            Self::Received => "RCVD",
            Self::Rtt => "RTT",
            Self::Workload => "WORKLOAD",
            Self::Cookie => "COOKIE",
            Self::SkAddr => "SKADDR",
            Self::Pid => "PID",
            Self::Comm => "COMM",
            Self::LocalAddr => "LADDR",
            Self::LocalPort => "LPORT",
            Self::RemoteAddr => "RADDR",
            Self::RemotePort => "RPORT",
            Self::OldState => "OLDSTATE",
            Self::NewState => "NEWSTATE",
            Self::Ms => "MS",
        }
    }
}

/// A column in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) column: Column,
    pub(super) width: usize,
    pub(super) align: Align,
    /// Longer text is cut to this; no limit where everything is shown in full
    pub(super) limit: usize,
    /// An arrow stands before it
    pub(super) arrow: bool,
}

impl Place {
    const fn left(column: Column, width: usize) -> Self {
        Self { column, width, align: Align::Left, limit: usize::MAX, arrow: false }
    }

    const fn right(column: Column, width: usize) -> Self {
        Self { align: Align::Right, ..Self::left(column, width) }
    }

    const fn cut_at(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    const fn after_arrow(self) -> Self {
        Self { arrow: true, ..self }
    }
}

/// The columns of a table.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) places: Vec<Place>,
}

/// Hands out what a terminal has beyond [`BASE_WIDTH`].
struct Spare(usize);

impl Spare {
    fn of(look: &Look) -> Self {
        Self(if look.wide { usize::MAX } else { look.width.saturating_sub(BASE_WIDTH) })
    }

    /// `more` where there is that much, and all of it.
    fn take(&mut self, more: usize) -> bool {
        let enough = self.0 >= more;
        if enough {
            self.0 -= more;
        }
        enough
    }

    /// What there is of `more`.
    fn up_to(&mut self, more: usize) -> usize {
        let taken = more.min(self.0);
        self.0 -= taken;
        taken
    }
}

impl Layout {
    /// Columns of `states`: 99 characters, more with the columns of -T, -t and -w.
    pub(super) fn states(look: &Look) -> Self {
        let mut spare = Spare::of(look);
        let address = 15 + spare.up_to(2 * 24) / 2;
        let local = if address > 15 { address } else { 13 };
        let comm = 8 + spare.up_to(7);
        let limit = if look.wide { usize::MAX } else { address };
        let mut places = moments(look.time, look.timestamp);
        if look.wide {
            places.push(Place::left(Column::SkAddr, 16));
        }
        places.extend([
            Place::left(Column::Cookie, 6),
            Place::left(Column::Pid, 7),
            Place::left(Column::Comm, comm),
            Place::left(Column::LocalAddr, local).cut_at(limit),
            Place::left(Column::LocalPort, 5),
            Place::left(Column::RemoteAddr, address).cut_at(limit),
            Place::left(Column::RemotePort, 5),
            Place::left(Column::OldState, 11),
            Place::left(Column::NewState, 11).after_arrow(),
            Place::right(Column::Ms, 6),
        ]);
        Self { places }
    }

    /// Columns of `closes`: 100 characters with 26 for the close itself.
    pub(super) fn closes(look: &Look) -> Self {
        let mut spare = Spare::of(look);
        let full_local = spare.take(13);
        let waves = spare.take(2);
        let rtt = spare.take(7);
        let bytes = spare.take(14);
        let closed_by = spare.take(4);
        let opener = 13 + spare.up_to(6);
        let close = 26 + spare.up_to(14);
        let address = spare.up_to(2 * 28) / 2;
        let limit = if look.wide { usize::MAX } else { LONGEST_V4 + address };
        let mut places = moments(look.time || !look.timestamp, look.timestamp);
        places.extend([
            Place::left(Column::OpenedBy, opener).cut_at(if look.wide { usize::MAX } else { opener }),
            if full_local {
                Place::left(Column::Local { port_only: false }, 19 + address).cut_at(limit)
            } else {
                Place::left(Column::Local { port_only: true }, 6)
            },
            Place::left(Column::Remote, 19 + address).cut_at(limit),
            if closed_by {
                Place::left(Column::ClosedBy { process: look.wide }, 9)
            } else {
                Place::left(Column::First, 5)
            },
            Place::left(Column::Kind { waves }, if waves { 12 } else { 10 }),
            Place::right(Column::Life, 6),
            Place::left(Column::Close { wide: look.wide }, close).cut_at(if look.wide {
                usize::MAX
            } else {
                close
            }),
        ]);
        if bytes {
            places.extend([Place::right(Column::Sent, 6), Place::right(Column::Received, 6)]);
        }
        if rtt {
            places.push(Place::right(Column::Rtt, 6));
        }
        if look.wide {
            places.push(Place::left(Column::Workload, 12));
        }
        Self { places }
    }
}

fn moments(time: bool, timestamp: bool) -> Vec<Place> {
    let mut places = Vec::new();
    if time {
        places.push(Place::left(Column::Time, 8));
    }
    if timestamp {
        places.push(Place::left(Column::Seconds, 10));
    }
    places
}
