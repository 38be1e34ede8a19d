use clap::Parser;

use super::*;

fn configured(words: &str) -> Result<Action, ConfigError> {
    validate(Cli::try_parse_from(words.split_whitespace()).unwrap())
}

fn refused(words: &str) -> String {
    configured(words).err().unwrap_or_else(|| panic!("accepted: {words}")).to_string()
}

fn view_of(words: &str) -> View {
    match configured(words).unwrap() {
        Action::View(view) => *view,
        other => panic!("{other:?}"),
    }
}

#[test]
fn filters_that_cannot_match_are_refused_with_the_flag_that_is_to_blame() {
    for (words, part) in [
        ("finwait states -4 -6", "-4 and -6 together"),
        ("finwait states -4 --remote 2001:db8::/32", "--remote lists IPv6 networks alone"),
        ("finwait closes -6 --local 10.0.0.0/8,192.168.0.0/16", "--local lists IPv4 networks alone"),
        ("finwait closes --local 10.0.0.1 --remote ::1", "--local lists IPv4 networks alone and --remote"),
        ("finwait closes --tier classic --comm nginx", "--comm needs --tier tp-btf"),
        ("finwait closes --tier classic --container 0a1b", "--container needs --tier tp-btf"),
        ("finwait closes --tier classic --unit nginx", "--unit needs --tier tp-btf"),
        ("finwait closes --time-waits -s", "--time-waits has no rows in CSV"),
        ("finwait states --netns /nonexistent/ns/net", "/nonexistent/ns/net"),
        ("finwait states --cgroup /nonexistent", "/nonexistent"),
        ("finwait record -L 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", "at most 16 ports"),
        ("finwait record -w t -o jsonl --rotate-size 1M", "--rotate-size is for binary recordings"),
        ("finwait record -w t -o jsonl --rotate-age 1h", "--rotate-age is for binary recordings"),
        ("finwait record -w t --rotate-size 64M --max-total 127M", "less than two files of --rotate-size"),
        ("finwait generate man nothing", "no command \"nothing\""),
    ] {
        let message = refused(words);
        assert!(message.contains(part), "{words}: {message}");
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn filters_that_can_match_are_let_through() {
    for words in [
        "finwait states -4 --remote 10.0.0.0/8,2001:db8::/32",
        "finwait states -4 --remote ::ffff:10.0.0.0/104",
        "finwait states -6 --local ::/0",
        "finwait closes --local 10.0.0.1,::1 --remote ::1",
        "finwait closes -L 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17",
        "finwait closes --tier classic -L 443",
        "finwait closes --comm nginx -r trace.jsonl",
        "finwait record -w t --rotate-size 64M --rotate-age 1h --max-total 128M --fsync frame",
        "finwait record -L 80,80,80,80,80,80,80,80,80,80,80,80,80,80,80,80,80",
    ] {
        configured(words).unwrap_or_else(|error| panic!("{words}: {error}"));
    }
}

#[test]
fn where_both_ends_are_wanted_the_kernel_lets_the_other_ports_pass() {
    let ports = |words: &str| match configured(words).unwrap() {
        Action::View(view) => (view.origin, view.filter.local_ports.len()),
        Action::Explain(explain) => (explain.origin, explain.filter.local_ports.len()),
        other => panic!("{other:?}"),
    };
    let none = Filter { version: Some(IpVersion::V4), ..Filter::default() }.kernel_share();
    for words in ["finwait closes -4 -L 443 --both-ends", "finwait explain -4 -L 443"] {
        let (Origin::Live(live), asked) = ports(words) else { panic!("{words}") };
        assert_eq!((live.kernel_filter, asked), (none, 1), "{words}");
    }
    let (Origin::Live(live), _) = ports("finwait closes -4 -L 443") else { panic!("not live") };
    assert_ne!(live.kernel_filter, none);
}

#[test]
fn a_speed_is_a_recordings_and_0_is_none() {
    let speed = |words: &str| match view_of(words).origin {
        Origin::Recording(replay) => replay.speed,
        Origin::Live(_) => panic!("live"),
    };
    assert_eq!(speed("finwait states -r x --speed 0.5"), Some(0.5));
    assert_eq!(speed("finwait closes -r x --speed 0"), None);
    assert_eq!(refused("finwait serve --speed 1"), "--speed needs a recording or a capture: give -r");
}

#[test]
fn a_dash_reads_stdin_and_writes_stdout() {
    assert!(
        matches!(view_of("finwait states -r -").origin, Origin::Recording(replay) if replay == RecordingPath::Stdin.into())
    );
    assert!(matches!(
        view_of("finwait states -r x").origin,
        Origin::Recording(Replay { path: RecordingPath::File(path), speed: None }) if path == Path::new("x")
    ));
    let Ok(Action::Record(record)) = configured("finwait record -w -") else { panic!("refused") };
    assert_eq!(record.path, None);
}

#[test]
fn only_states_asks_the_tracker_for_transitions() {
    assert!(view_of("finwait states").tracker.transitions);
    let closes = view_of("finwait closes --max-connections 10");
    assert!(!closes.tracker.transitions);
    assert_eq!(closes.tracker.capacity, 10);
}

#[test]
fn time_waits_are_shown_where_they_are_asked_for_and_in_json_always() {
    for (words, shown) in [
        ("finwait closes", false),
        ("finwait closes --time-waits", true),
        ("finwait closes -o json", true),
        ("finwait closes -o csv", false),
        ("finwait states -o json", false),
    ] {
        assert_eq!(view_of(words).time_waits, shown, "{words}");
    }
}

#[test]
fn s_is_short_for_csv() {
    assert_eq!(view_of("finwait states -s").output.format, Format::Csv);
    assert_eq!(view_of("finwait states -o json").output.format, Format::Json);
    assert_eq!(view_of("finwait states").output.format, Format::Table);
}

#[test]
fn flags_of_the_live_source_do_not_go_with_a_recording() {
    for words in [
        "finwait states -r x --tier classic",
        "finwait states -r x --ring-bytes 8M",
        "finwait closes -r x --wake-pause 1ms",
        "finwait states -s -o json",
        "finwait states --count 0",
        "finwait states --tier best",
        "finwait states --kind reset",
        "finwait states --both-ends",
        "finwait closes --kind rst",
        "finwait closes --container nginx",
    ] {
        assert!(Cli::try_parse_from(words.split_whitespace()).is_err(), "{words}");
    }
}

#[test]
fn its_own_network_namespace_is_found_by_name_and_by_path() {
    let own = view_of("finwait states --netns self").filter.netns;
    assert_eq!(own, view_of("finwait states --netns /proc/self/ns/net").filter.netns);
    assert_eq!(own.len(), 1);
}

#[test]
fn a_path_that_is_no_network_namespace_is_refused() {
    for path in ["/proc/self/ns/mnt", "/proc/self/status", "/"] {
        let message = refused(&format!("finwait states --netns {path}"));
        assert!(message.contains(path) && message.contains("no network namespace"), "{message}");
    }
    assert!(refused("finwait states --netns 4294967296").contains("4294967296"));
    assert!(refused("finwait states --cgroup /proc").contains("no cgroup2 directory"));
}
