//! An explanation as text: the ladder between two lifelines, then the sentences, with what they rest on where that is wanted.

use finwait_core::record::WaveTime;
use finwait_core::{Evidence, MonoNs};

use super::super::columns::Tone;
use super::draw::{self, Rails};
use crate::explain::{
    Arrow, Basis, Explanation, Far, Ground, Party, Row, Sentence, Way, evidence_name, reason,
};
use crate::sink::human;

/// Narrower is not drawn.
pub(super) const MIN_WIDTH: usize = 80;
/// Sentences wider than this are hard to read.
const MAX_TEXT: usize = 110;
/// Ahead of each sentence.
const INDENT: usize = 2;

/// How it looks.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Columns
    pub width: usize,
    /// No character beyond ASCII
    pub ascii: bool,
    /// With what each sentence rests on
    pub evidence: bool,
    /// Colours, which only repeat what the text says
    pub colour: bool,
}

impl Style {
    /// `text` in the colour of `tone`, where colours are wanted.
    pub(super) fn tinted(self, text: &str, tone: Tone) -> String {
        if !self.colour || tone == Tone::Plain || text.is_empty() {
            return text.to_owned();
        }
        format!("\x1b[{}m{text}\x1b[0m", tone.codes())
    }
}

/// A line, and what it means as a whole.
type Line = (String, Tone);

/// The lines of one explanation.
pub(super) fn lines(explanation: &Explanation, style: Style) -> Vec<String> {
    let width = style.width.max(MIN_WIDTH);
    let rails = Rails::new(width, explanation.far.seen);
    let toned = |lines: Vec<String>, tone| lines.into_iter().map(move |line| -> Line { (line, tone) });
    let heads = heads(&explanation.near, &explanation.far, &rails, width);
    let mut lines: Vec<Line> = toned(heads, Tone::Heading).collect();
    for row in &explanation.steps {
        let mut drawn = Vec::new();
        draw_row(row, explanation.start, &rails, &mut drawn);
        lines.extend(toned(drawn, tone(row)));
    }
    lines.push((String::new(), Tone::Plain));
    for sentence in &explanation.sentences {
        lines.extend(toned(wrapped(&sentence.text, INDENT, width.min(MAX_TEXT)), Tone::Plain));
        if style.evidence {
            lines.extend(toned(grounds(sentence, width), Tone::Quiet));
        }
    }
    let finished = |(line, tone): Line| {
        let line = if style.ascii { draw::ascii(&line) } else { line };
        style.tinted(line.trim_end(), tone)
    };
    lines.into_iter().map(finished).collect()
}

/// What is slow, what went wrong, what is not known; time that went by as it should is quiet.
fn tone(row: &Row) -> Tone {
    match row {
        Row::Arrow(arrow) if arrow.slow => Tone::Slow,
        Row::Arrow(arrow) if arrow.label == "RST" => Tone::Bad,
        Row::Arrow(arrow) if arrow.unknown.is_some() => Tone::Unknown,
        Row::Cross { sent, came, .. } if sent.slow || came.slow => Tone::Slow,
        Row::Gap { slow: true, .. } => Tone::Slow,
        Row::Gap { slow: false, .. } => Tone::Quiet,
        Row::Arrow(_) | Row::Cross { .. } | Row::Point { .. } => Tone::Plain,
    }
}

/// Who stands at the two lifelines.
fn heads(near: &Party, far: &Party, rails: &Rails, width: usize) -> Vec<String> {
    let seen = if far.seen { "" } else { "(not observed)" };
    let unknown = || "?".to_owned();
    let upper = (near.process.clone().unwrap_or_else(unknown), far.endpoint.clone());
    let lower = (near.endpoint.clone(), seen.to_owned());
    let pairs = if far.seen {
        let process = far.process.clone().unwrap_or_else(unknown);
        [(upper.0.clone(), process), (lower.0.clone(), far.endpoint.clone())]
    } else {
        [upper.clone(), lower.clone()]
    };
    let end = if far.seen { width } else { rails.right() + 1 };
    // Where no process is known at either end, nobody needs two question marks.
    let nobody = near.process.is_none() && far.process.is_none();
    let pairs = match (nobody, far.seen) {
        (true, true) => vec![pairs[1].clone()],
        (true, false) => vec![(lower.0, upper.1), (String::new(), lower.1)],
        (false, _) => pairs.to_vec(),
    };
    pairs.iter().flat_map(|(left, right)| head(left, right, end)).collect()
}

fn head(left: &str, right: &str, end: usize) -> Vec<String> {
    let room = end.saturating_sub(INDENT + left.chars().count());
    let left = format!("{:INDENT$}{left}", "");
    if right.chars().count() + 2 <= room {
        return vec![format!("{left}{right:>room$}")];
    }
    vec![left, format!("{right:>end$}")]
}

fn draw_row(row: &Row, start: MonoNs, rails: &Rails, lines: &mut Vec<String>) {
    match row {
        Row::Arrow(arrow) => draw_arrow(arrow, start, rails, lines),
        Row::Gap { text, slow } => {
            let mark = if *slow { "  !" } else { "" };
            let mut texts = draw::wrap(text, rails.arrow);
            // The mark stands on no line of its own.
            if texts.last().is_some_and(|last| last.chars().count() + mark.len() > rails.arrow) {
                texts = draw::wrap(text, rails.arrow - mark.len());
            }
            texts.last_mut().into_iter().for_each(|last| last.push_str(mark));
            lines.extend(texts.iter().map(|text| rails.idle(text)));
        }
        Row::Point { at, state, text } => {
            let (time, bounds) = moment(*at, start);
            let text = bounds.map_or_else(|| text.clone(), |bounds| format!("{text}; {bounds}"));
            let mut texts = draw::wrap(&text, rails.arrow.saturating_sub(2)).into_iter();
            let first = format!("● {}", texts.next().unwrap_or_default());
            lines.push(rails.line(state, &time, false, &first, ""));
            lines.extend(texts.map(|text| rails.note(&format!("  {text}"))));
        }
        Row::Cross { sent, came, text } => {
            let [upper, middle, lower] = draw::cross(rails.arrow, &label(sent), &label(came));
            let far = |arrow: &Arrow| far_text(arrow.far, start);
            lines.push(rails.line(state(sent), &moment(sent.at, start).0, sent.slow, &upper, &far(came)));
            lines.push(rails.note(&middle));
            lines.push(rails.line(state(came), &moment(came.at, start).0, came.slow, &lower, &far(sent)));
            let notes = sent.notes.iter().chain(&came.notes).cloned().chain(text.clone());
            let notes = notes.chain(moment(sent.at, start).1).chain(moment(came.at, start).1);
            for note in notes {
                lines.extend(draw::wrap(&note, rails.arrow).iter().map(|text| rails.note(text)));
            }
        }
    }
}

/// A segment; what is to be said of it stands beside it where there is room, else below.
fn draw_arrow(arrow: &Arrow, start: MonoNs, rails: &Rails, lines: &mut Vec<String>) {
    let drawn = match (arrow.way, arrow.unknown, arrow.at) {
        (Way::Out, None, Some(_)) => draw::to_right(rails.arrow, &label(arrow)),
        (Way::In, None, Some(_)) => draw::to_left(rails.arrow, &label(arrow)),
        _ => draw::unseen(rails.arrow),
    };
    let (time, bounds) = moment(arrow.at, start);
    let mut notes = Vec::new();
    if let Some(unknown) = arrow.unknown {
        notes.push(format!("{}: {unknown}", label(arrow)));
    } else if arrow.at.is_none() {
        notes.push(format!("{}: when it passed was not seen", label(arrow)));
    }
    notes.extend(arrow.notes.iter().cloned());
    notes.extend(bounds);
    let beside = notes.join("; ");
    if !rails.peer && beside.chars().count() <= rails.beside {
        lines.push(rails.line(state(arrow), &time, arrow.slow, &drawn, &beside));
        return;
    }
    lines.push(rails.line(state(arrow), &time, arrow.slow, &drawn, &far_text(arrow.far, start)));
    for note in notes {
        lines.extend(draw::wrap(&note, rails.arrow).iter().map(|text| rails.note(text)));
    }
}

/// `1: FIN`, `2+3: FIN, ACK`
fn label(arrow: &Arrow) -> String {
    if arrow.waves.is_empty() { arrow.label.to_owned() } else { format!("{}: {}", arrow.waves, arrow.label) }
}

fn state(arrow: &Arrow) -> &'static str {
    arrow.state.map_or("", finwait_core::TcpState::name)
}

/// `48.53 ms  CLOSE_WAIT`
fn far_text(far: Option<Far>, start: MonoNs) -> String {
    let Some(far) = far else { return String::new() };
    let time = moment(far.at, start).0;
    format!("{time:>11} {}", far.state.map_or("", finwait_core::TcpState::name))
}

/// The time since the start, and both bounds where it is no moment.
fn moment(at: Option<WaveTime>, start: MonoNs) -> (String, Option<String>) {
    let Some(at) = at else { return (String::new(), None) };
    let (earliest, latest) = (draw::time(at.earliest, start), draw::time(at.latest, start));
    if at.exact().is_some() || earliest == latest {
        return (latest, None);
    }
    (format!("≤ {latest}"), Some(format!("between {earliest} and {latest}")))
}

fn wrapped(text: &str, indent: usize, width: usize) -> Vec<String> {
    let lines = draw::wrap(text, width.saturating_sub(indent + 2)).into_iter().enumerate();
    lines
        .map(|(at, line)| format!("{:indent$}{line}", "", indent = indent + if at == 0 { 0 } else { 2 }))
        .collect()
}

fn grounds(sentence: &Sentence, width: usize) -> Vec<String> {
    sentence.evidence.iter().flat_map(|ground| wrapped(&in_words(ground), INDENT + 4, width)).collect()
}

/// `close.kind: a state was left that can only be reached one way; …`
fn in_words(ground: &Ground) -> String {
    let name = format!("{}.{}", ground.part.name(), ground.name);
    match &ground.basis {
        Basis::Proven(evidence) => {
            let evidence: Vec<&str> =
                evidence.iter().map(|evidence: Evidence| evidence_name(evidence)).collect();
            format!("{name}: {}", evidence.join("; "))
        }
        Basis::Unknown(why) => format!("{name} is unknown: {}", reason(*why)),
        Basis::Field(value) => match (ground.name.ends_with("_ns"), value.parse()) {
            (true, Ok(ns)) => format!("{name} = {value} ({})", human::duration(ns)),
            _ => format!("{name} = {value}"),
        },
        Basis::Setting(value) => format!("{} = {value}", ground.name),
        Basis::Constant(value) => format!("{} = {value}, a constant of the kernel", ground.name),
        Basis::Absent(why) => format!("{} is not known: {why}", ground.name),
    }
}
