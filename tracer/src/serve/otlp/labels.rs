//! What labels are called in OpenTelemetry, and how its conventions spell their values.
//!
//! An attribute of the conventions only ever holds what they say: an id, a port, one of their words. Where a label's
//! value is a word of finwait's own (`unknown`, `none`, `other`), it stands in `finwait.<label>` instead. So no value is lost,
//! and no two samples come to share their attributes.

use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};

use super::resource::{attribute, integer, text};
use crate::stats::OTHER;
use crate::stats::catalogue::{HANDSHAKE_FAILURES, SOCKETS};
use crate::stats::family::{Definition, Sample};

/// Values that say that there is none.
const OWN_WORDS: [&str; 3] = ["unknown", "none", OTHER];
/// A network that no one named is `other` as well, and that is no lack of room.
const PEER_NETWORK: &str = "peer_network";

const PORT: &str = "server.port";
const STATE: &str = "network.connection.state";
const DIRECTION: &str = "network.io.direction";

/// Labels for which the conventions have an attribute. A process' comm is mostly its executable's name.
const CONVENTIONS: [(&str, &str); 7] = [
    ("service_port", PORT),
    ("process", "process.executable.name"),
    ("container", "container.id"),
    ("unit", "systemd.unit.name"),
    ("state", STATE),
    ("direction", DIRECTION),
    ("version", "service.version"),
];

/// The attributes of a sample.
pub(super) fn attributes(definition: &Definition, sample: &Sample) -> Vec<KeyValue> {
    let group = sample.group.iter().map(|(name, value)| (name.as_ref(), value.as_ref()));
    let own = definition.labels.iter().copied().zip(sample.labels.iter().map(AsRef::as_ref));
    let mut all = Vec::with_capacity(sample.group.len() + sample.labels.len() + 1);
    if definition.name == SOCKETS.name {
        all.push(text("network.transport", "tcp"));
    }
    add(&mut all, definition, group);
    add(&mut all, definition, own);
    all
}

/// Labels as attributes; one attribute for all of them where they mean that there was no room.
fn add<'a>(
    all: &mut Vec<KeyValue>,
    definition: &Definition,
    labels: impl Iterator<Item = (&'a str, &'a str)> + Clone,
) {
    let mut named = labels.clone();
    if named.all(|(_, value)| value == OTHER) && labels.clone().any(|(name, _)| name != PEER_NETWORK) {
        all.push(attribute("otel.metric.overflow", any_value::Value::BoolValue(true)));
        return;
    }
    for (name, value) in labels {
        match conventional(definition, name, value) {
            Some(attribute) => all.push(attribute),
            None => all.push(text(&format!("finwait.{name}"), value)),
        }
    }
}

/// The conventions' attribute for a label; `None` where they have none for it, or none for this value.
fn conventional(definition: &Definition, label: &str, value: &str) -> Option<KeyValue> {
    if OWN_WORDS.contains(&value) {
        return None;
    }
    if label == "cause" && definition.name == HANDSHAKE_FAILURES.name {
        return Some(text("error.type", value));
    }
    let (_, name) = CONVENTIONS.iter().find(|(known, _)| *known == label)?;
    match *name {
        PORT => Some(integer(name, value.parse::<u16>().ok()?.into())),
        STATE => Some(text(name, &state(value))),
        DIRECTION => Some(text(name, direction(value)?)),
        _ => Some(text(name, value)),
    }
}

/// A state as the conventions spell it.
fn state(kernel: &str) -> String {
    match kernel {
        "CLOSE" => "closed".to_owned(),
        "SYN_RECV" => "syn_received".to_owned(),
        "FIN_WAIT1" => "fin_wait_1".to_owned(),
        "FIN_WAIT2" => "fin_wait_2".to_owned(),
        other => other.to_lowercase(),
    }
}

fn direction(word: &str) -> Option<&'static str> {
    match word {
        "sent" => Some("transmit"),
        "received" => Some("receive"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::stats::family::{Kind, Unit, Value};

    fn definition(name: &'static str, labels: &'static [&'static str]) -> Definition {
        Definition { name, kind: Kind::Counter, unit: Unit::None, help: "", labels, grouped: true }
    }

    fn read(
        definition: &Definition,
        group: &[(&'static str, &'static str)],
        labels: &[&'static str],
    ) -> Vec<String> {
        let owned = |text: &'static str| Cow::Borrowed(text);
        let sample = Sample {
            group: group.iter().map(|(name, value)| (owned(name), owned(value))).collect(),
            labels: labels.iter().map(|value| owned(value)).collect(),
            value: Value::Count(1),
        };
        attributes(definition, &sample).iter().map(shown).collect()
    }

    fn shown(attribute: &KeyValue) -> String {
        let value = match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(any_value::Value::StringValue(text)) => format!("{text:?}"),
            Some(any_value::Value::IntValue(number)) => number.to_string(),
            Some(any_value::Value::BoolValue(truth)) => truth.to_string(),
            other => format!("{other:?}"),
        };
        format!("{}={value}", attribute.key)
    }

    #[test]
    fn labels_with_a_convention_take_its_name_and_type() {
        let group = [
            ("role", "accepted"),
            ("service_port", "443"),
            ("process", "nginx"),
            ("container", "0123456789ab"),
            ("unit", "nginx.service"),
            ("peer_network", "office"),
            ("netns", "4026531840"),
        ];
        let expected = [
            "finwait.role=\"accepted\"",
            "server.port=443",
            "process.executable.name=\"nginx\"",
            "container.id=\"0123456789ab\"",
            "systemd.unit.name=\"nginx.service\"",
            "finwait.peer_network=\"office\"",
            "finwait.netns=\"4026531840\"",
            "finwait.kind=\"graceful\"",
        ];
        let definition = definition("finwait_connections_closed_total", &["kind"]);
        assert_eq!(read(&definition, &group, &["graceful"]), expected);
    }

    #[test]
    fn a_word_of_our_own_never_stands_in_an_attribute_of_the_conventions() {
        let group = [("role", "unknown"), ("service_port", "unknown"), ("container", "none")];
        let expected =
            ["finwait.role=\"unknown\"", "finwait.service_port=\"unknown\"", "finwait.container=\"none\""];
        assert_eq!(read(&definition("finwait_connections_closed_total", &[]), &group, &[]), expected);
    }

    #[test]
    fn the_group_of_what_found_no_room_has_the_attribute_for_that() {
        let opened = definition("finwait_connections_closed_total", &[]);
        let group = [("role", "other"), ("service_port", "other")];
        assert_eq!(read(&opened, &group, &[]), ["otel.metric.overflow=true"]);
        let network = [("peer_network", "other")];
        assert_eq!(read(&opened, &network, &[]), ["finwait.peer_network=\"other\""]);
        assert_eq!(read(&opened, &[], &[]), [""; 0]);
    }

    #[test]
    fn states_are_spelt_as_in_the_conventions_and_sockets_name_their_transport() {
        let sockets = definition("finwait_sockets", &["state"]);
        for (kernel, convention) in [
            ("ESTABLISHED", "established"),
            ("SYN_SENT", "syn_sent"),
            ("SYN_RECV", "syn_received"),
            ("FIN_WAIT1", "fin_wait_1"),
            ("FIN_WAIT2", "fin_wait_2"),
            ("TIME_WAIT", "time_wait"),
            ("CLOSE", "closed"),
            ("CLOSE_WAIT", "close_wait"),
            ("LAST_ACK", "last_ack"),
            ("LISTEN", "listen"),
            ("CLOSING", "closing"),
            ("NEW_SYN_RECV", "new_syn_recv"),
        ] {
            let expected = [
                "network.transport=\"tcp\"".to_owned(),
                format!("network.connection.state=\"{convention}\""),
            ];
            assert_eq!(read(&sockets, &[], &[kernel]), expected);
        }
    }

    #[test]
    fn a_reset_of_unknown_direction_has_no_direction_of_the_conventions() {
        let resets = definition("finwait_resets_total", &["direction", "reason"]);
        let sent = ["network.io.direction=\"transmit\"", "finwait.reason=\"unread_data\""];
        assert_eq!(read(&resets, &[], &["sent", "unread_data"]), sent);
        let unknown = ["finwait.direction=\"unknown\"", "finwait.reason=\"unknown\""];
        assert_eq!(read(&resets, &[], &["unknown", "unknown"]), unknown);
    }

    #[test]
    fn the_attributes_are_documented_row_by_row() {
        let documented = include_str!("../../../../docs/otlp.md");
        for (label, attribute) in CONVENTIONS {
            assert!(documented.contains(&format!("| `{label}` | `{attribute}` |")), "{label}");
        }
    }

    #[test]
    fn only_of_a_failed_handshake_the_cause_is_an_error_type() {
        let failures = definition("finwait_handshake_failures_total", &["cause"]);
        assert_eq!(read(&failures, &[], &["refused"]), ["error.type=\"refused\""]);
        let retransmits = definition("finwait_fin_retransmits_total", &["cause"]);
        assert_eq!(read(&retransmits, &[], &["timeout"]), ["finwait.cause=\"timeout\""]);
    }
}
