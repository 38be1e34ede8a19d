use std::collections::BTreeSet;
use std::io::Write as _;

use super::*;

/// Every key, a value for it, and the flags that say the same.
const SAME: &[(&str, &str, &[&str])] = &[
    ("read", "\"trace.jsonl\"", &["-r", "trace.jsonl"]),
    ("speed", "0.5", &["--speed", "0.5"]),
    ("tier", "\"classic\"", &["--tier", "classic"]),
    ("time-wait", "\"sweep\"", &["--time-wait", "sweep"]),
    ("ring-bytes", "\"64M\"", &["--ring-bytes", "64M"]),
    ("wake-pause", "\"20ms\"", &["--wake-pause", "20ms"]),
    ("max-connections", "1_000", &["--max-connections", "1000"]),
    ("local-port", "[80, 0x1bb]", &["-L", "80,443"]),
    ("remote-port", "[5432]", &["-D", "5432"]),
    ("ipv4", "true", &["-4"]),
    ("ipv6", "true", &["-6"]),
    ("netns", "[\"self\", 4026531840]", &["--netns", "self,4026531840"]),
    ("web.listen-address", "\"[::1]:9000\"", &["--web.listen-address", "[::1]:9000"]),
    ("web.insecure", "true", &["--web.insecure"]),
    ("web.allowed-host", "[\"a\", \"b\"]", &["--web.allowed-host", "a", "--web.allowed-host", "b"]),
    ("web.max-requests", "7", &["--web.max-requests", "7"]),
    ("redact-addresses", "true", &["--redact-addresses"]),
    ("recent-closes", "9", &["--recent-closes", "9"]),
    ("group-by", "[\"role\", \"peer\"]", &["--group-by", "role,peer"]),
    ("max-groups", "50", &["--max-groups", "50"]),
    ("peer-network", "[\"lan=10.0.0.0/8\"]", &["--peer-network", "lan=10.0.0.0/8"]),
    #[cfg(feature = "otlp")]
    ("otlp.endpoint", "\"http://[::1]:4318\"", &["--otlp.endpoint", "http://[::1]:4318"]),
    #[cfg(feature = "otlp")]
    ("otlp.interval", "\"1m\"", &["--otlp.interval", "1m"]),
    #[cfg(feature = "otlp")]
    ("otlp.timeout", "\"5s\"", &["--otlp.timeout", "5s"]),
    #[cfg(feature = "otlp")]
    ("otlp.header", "['a=\"b\"', \"c=d\"]", &["--otlp.header", "a=\"b\"", "--otlp.header", "c=d"]),
    #[cfg(feature = "kernel-log")]
    ("kernel-log", "true", &["--kernel-log"]),
];

/// The arguments of `serve` with a file of this content, and the further `flags`.
fn with_file(text: &str, flags: &[&str]) -> Result<crate::cli::ServeArgs, String> {
    let mut file = tempfile::NamedTempFile::with_prefix("finwait.toml").unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap();
    let parsed = parsed(&[&["--config", path], flags].concat());
    parsed.map_err(|error| error.replace(path, "finwait.toml"))
}

fn parsed(flags: &[&str]) -> Result<crate::cli::ServeArgs, String> {
    let words = ["finwait", "serve", "--check-config"].iter().chain(flags).map(OsString::from);
    match parse(words).map_err(|error| error.to_string())?.command {
        Command::Serve(args) => Ok(args),
        other => Err(format!("{other:?}")),
    }
}

fn in_force_with(text: &str, flags: &[&str]) -> String {
    with_file(text, flags).unwrap().in_force
}

fn line(key: &str, value: &str) -> String {
    key.split_once('.')
        .map_or(format!("{key} = {value}\n"), |(table, key)| format!("[{table}]\n{key} = {value}\n"))
}

#[test]
fn every_flag_of_serve_has_a_key_and_every_key_is_a_flag() {
    let mut definition = Cli::command();
    definition.build();
    let flags: BTreeSet<&str> = serve(&definition).get_arguments().filter_map(clap::Arg::get_long).collect();
    let keys: BTreeSet<&str> = SAME.iter().map(|(key, ..)| *key).collect();
    let beside: Vec<_> = flags.difference(&keys).copied().collect();
    assert_eq!(beside, ["check-config", "config", "help", "version"]);
    assert_eq!(keys.difference(&flags).count(), 0);
    for (key, value, flags) in SAME {
        let in_force = in_force_with(&line(key, value), &[]);
        assert_eq!(in_force, parsed(flags).unwrap().in_force, "{key}");
        assert_ne!(in_force, parsed(&[]).unwrap().in_force, "{key} changes nothing");
    }
}

#[cfg(all(feature = "otlp", not(feature = "kernel-log")))]
#[test]
fn the_example_in_the_documentation_has_every_key_and_is_in_force_as_it_is_written() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/serve.md")).unwrap();
    let section = text.split("## Configuration").nth(1).unwrap().split("\n## ").next().unwrap();
    let is_toml = |line: &&str| line.contains(" = ") || line.starts_with('[');
    let lines: Vec<_> =
        section.lines().filter_map(|line| line.strip_prefix("    ")).filter(is_toml).collect();
    let example: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let bare = |text: &str| -> Vec<String> {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
        lines
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .filter(|l| !l.is_empty())
            .collect()
    };
    let mut in_force = bare(&in_force_with(&example, &[]));
    // The example is of a live run, for one version of IP at a time.
    in_force.retain(|line| !line.starts_with("ipv"));
    let mut documented = bare(&example);
    documented.retain(|line| !line.starts_with("ipv"));
    assert_eq!(documented, in_force);
    let keys = documented.iter().filter(|line| !line.starts_with('[')).count();
    assert_eq!(keys + ["read", "speed", "ipv4", "ipv6"].len(), SAME.len());
}

#[test]
fn a_flag_outweighs_the_file_and_the_file_the_default() {
    let file =
        "max-groups = 5\nrecent-closes = 6\ngroup-by = [\"netns\"]\n[web]\nallowed-host = [\"a\", \"b\"]\n";
    let args = with_file(file, &["--recent-closes", "7", "--web.allowed-host", "c"]).unwrap();
    assert_eq!((args.max_groups, args.recent_closes, args.max_requests), (5, 7, 40));
    assert_eq!(
        (args.allowed_host, args.group_by),
        (vec!["c".to_owned()], vec![crate::stats::Dimension::Netns])
    );
}

#[test]
fn a_flag_outweighs_what_does_not_go_together_with_it() {
    let replayed = with_file("tier = \"classic\"\n", &["-r", "trace.jsonl"]).unwrap();
    assert!(replayed.read.is_some());
    assert!(with_file("read = \"trace.jsonl\"\n", &["--tier", "classic"]).unwrap().read.is_none());
    let error = with_file("read = \"trace.jsonl\"\ntier = \"classic\"\n", &[]).unwrap_err();
    assert!(
        error.starts_with("finwait.toml: ") && error.contains("--read") && error.contains("--tier"),
        "{error}"
    );
}

#[test]
fn what_is_in_force_reads_back_to_the_same() {
    let file: String = SAME
        .iter()
        .filter(|(key, ..)| !key.contains('.') && *key != "read")
        .map(|(key, value, _)| line(key, value))
        .collect();
    let hosts = ["--web.allowed-host", "a\"b\\c", "--web.allowed-host", "d\te", "--recent-closes", "+5"];
    for args in [with_file("", &[]), with_file("", &["-r", "trace.jsonl"]), with_file(&file, &hosts)] {
        let args = args.unwrap();
        let again = with_file(&args.in_force, &[]).unwrap();
        assert_eq!(again.in_force, args.in_force);
        let bare =
            |args: crate::cli::ServeArgs| format!("{:?}", crate::cli::ServeArgs { config: None, ..args });
        assert_eq!(bare(again), bare(args));
    }
}

#[test]
fn what_is_wrong_is_said_with_its_line_and_what_is_allowed() {
    for (file, said) in [
        ("\nmax-group = 5", "finwait.toml:2: there is no key `max-group`: allowed are read, speed, tier, "),
        (
            "[web]\n\nlisten = \"a\"",
            "finwait.toml:3: there is no key `web.listen`: [web] has listen-address, insecure, ",
        ),
        ("[metrics]\na = 1", "finwait.toml:1: there is no key `metrics`: "),
        ("\"web.insecure\" = true", "finwait.toml:1: there is no key `web.insecure`"),
        ("config = \"other.toml\"", "finwait.toml:1: there is no key `config`"),
        ("web = 5", "finwait.toml:1: `web` is a table: write [web]"),
        ("max-groups = \"5\"", "finwait.toml:1: `max-groups` takes a number, and this is a string"),
        (
            "max-groups = 5.5",
            "finwait.toml:1: `max-groups` takes a number, and this is a number with a fraction",
        ),
        ("ipv4 = 1", "finwait.toml:1: `ipv4` takes true or false, and this is an integer"),
        ("tier = true", "finwait.toml:1: `tier` takes a string, and this is true or false"),
        ("tier = [\"auto\"]", "finwait.toml:1: `tier` takes a string, and this is an array"),
        ("group-by = \"role\"", "finwait.toml:1: `group-by` takes an array of strings, and this is a string"),
        ("group-by = []", "finwait.toml:1: `group-by` takes an array of strings with at least one of them"),
        (
            "local-port = [\n80,\n\"http\",\n]",
            "finwait.toml:3: `local-port` takes an array of numbers, and this is a string",
        ),
        ("[tier]\na = 1", "finwait.toml:1: `tier` takes a string, and this is a table"),
        ("\n\nmax-groups = 0", "finwait.toml:3: `max-groups`: expected 1 to 67108864"),
        ("max-groups = -1", "finwait.toml:1: `max-groups`: expected 1 to 67108864"),
        ("tier = \"best\"", "finwait.toml:1: `tier`: allowed are auto, tp-btf, classic"),
        ("group-by = [\n\"role\",\n\"colour\"]", "finwait.toml:3: `group-by`: allowed are role, service, "),
        ("wake-pause = \"5\"", "finwait.toml:1: `wake-pause`: expected a time of at most 1s, such as 5ms"),
        ("local-port = [80, 0]", "finwait.toml:1: `local-port`: no connection has port 0"),
        ("[web]\nlisten-address = \"all\"", "finwait.toml:2: `web.listen-address`: invalid socket address"),
        ("max-groups = 5\nmax-groups = 6", "finwait.toml:2: duplicate key"),
        ("max-groups =", "finwait.toml:1: "),
    ] {
        let error = with_file(file, &[]).unwrap_err();
        assert!(error.starts_with(said) && !error.contains('\n'), "{error}\n{said}");
    }
}

#[test]
fn a_wrong_value_is_refused_even_where_a_flag_outweighs_it() {
    let error = with_file("max-groups = 0", &["--max-groups", "5"]).unwrap_err();
    assert!(error.starts_with("finwait.toml:1: "), "{error}");
}

#[cfg(feature = "otlp")]
#[test]
fn a_header_that_may_be_secret_is_not_shown_when_it_is_refused() {
    let error = with_file("[otlp]\nheader = [\"api-key hunter2\"]", &[]).unwrap_err();
    assert!(error.starts_with("finwait.toml:2: `otlp.header`: ") && !error.contains("hunter2"), "{error}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    for (path, why) in
        [("/nowhere/finwait.toml", "No such file"), ("/", "Is a directory"), ("/dev/zero", "1 MiB")]
    {
        let error = parsed(&["--config", path]).unwrap_err();
        assert!(error.starts_with(&format!("cannot read {path}: ")) && error.contains(why), "{error}");
    }
}
