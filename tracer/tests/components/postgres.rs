//! PostgreSQL with pgbench: who closes first, against the server's own log of connections.

use std::os::unix::fs::chown;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tracer::scenario::Namespace;

use crate::alone;
use crate::program::{NOBODY, Program, folder, postgres_programs, run, wait_for};
use crate::served::{Metrics, Served};

const PORT: &str = "5432";
const CLIENTS: u64 = 4;
const TRANSACTIONS: u64 = 40;
/// What PostgreSQL runs as, and its superuser.
const USER: &str = "nobody";

/// A server with a cluster of its own, gone with the test.
struct Postgres {
    namespace: Namespace,
    folder: TempDir,
    programs: PathBuf,
    _program: Program,
}

/// What its log says of connections over TCP.
#[derive(Debug, PartialEq, Eq)]
struct Logged {
    received: u64,
    ended: u64,
    terminated: u64,
}

impl Postgres {
    fn start() -> Result<Self> {
        let (namespace, folder, programs) = (Namespace::new()?, folder()?, postgres_programs()?);
        let log = folder.path().join("log");
        let data = folder.path().join("data");
        std::fs::create_dir(&data)?;
        chown(&data, Some(NOBODY), Some(NOBODY))?;
        let data = data.to_str().context("the folder's name is not text")?.to_owned();
        let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"];
        let initdb = programs.join("initdb").display().to_string();
        let make = [initdb.as_str(), "-D", &data, "-U", USER, "--auth=trust", "--no-sync", "--no-locale"];
        run(namespace.server(), &[&nobody[..], &make[..]].concat())?;
        let postgres = programs.join("postgres").display().to_string();
        let settings = [
            "listen_addresses=127.0.0.1",
            &format!("port={PORT}"),
            &format!("unix_socket_directories={data}"),
            "log_connections=on",
            "log_disconnections=on",
            "logging_collector=off",
            "fsync=off",
            "autovacuum=off",
        ]
        .map(|setting| ["-c".to_owned(), setting.to_owned()])
        .concat();
        let mut command = vec![postgres.as_str(), "-D", &data];
        command.extend(settings.iter().map(String::as_str));
        let program = Program::start(Some(namespace.server()), &[&nobody[..], &command[..]].concat(), &log)?;
        let postgres = Self { namespace, folder, programs, _program: program };
        wait_for("PostgreSQL", || Ok(postgres.psql(&postgres.socket(), "select 1").ok()))?;
        Ok(postgres)
    }

    /// Where it is asked without TCP, so that finwait sees none of it.
    fn socket(&self) -> String {
        self.folder.path().join("data").display().to_string()
    }

    fn psql(&self, host: &str, query: &str) -> Result<()> {
        self.client("psql", &["-h", host, "-p", PORT, "-U", USER, "-X", "-q", "-c", query, "postgres"])
    }

    fn pgbench(&self, host: &str, more: &[&str]) -> Result<()> {
        let arguments = ["-h", host, "-p", PORT, "-U", USER, "postgres"];
        self.client("pgbench", &[more, &arguments[..]].concat())
    }

    fn client(&self, program: &str, arguments: &[&str]) -> Result<()> {
        let program = self.programs.join(program).display().to_string();
        let mut command = vec![program.as_str()];
        command.extend(arguments);
        run(self.namespace.client(), &command).map(drop)
    }

    fn watched(&self) -> Result<Served> {
        let netns = self.namespace.inode().0.to_string();
        Served::start(&["--netns", &netns, "--group-by", "role,service,process", "--ring-bytes", "64M"])
    }

    fn logged(&self) -> Result<Logged> {
        let log = std::fs::read_to_string(self.folder.path().join("log"))?;
        let count = |what: &str| {
            let lines = log.lines().filter(|line| line.contains(what));
            lines.filter(|line| !line.contains("host=[local]")).count() as u64
        };
        Ok(Logged {
            received: count("connection received: "),
            ended: count("disconnection: "),
            terminated: count("terminating connection due to administrator command"),
        })
    }

    /// What its log and the metrics say once every connection has ended.
    fn when_all_have_closed(&self, served: &Served) -> Result<(Logged, Metrics)> {
        wait_for("all connections to be counted", || {
            let (logged, metrics) = (self.logged()?, served.metrics()?);
            let closed = |role| metrics.closes(&[role, SERVICE]);
            let all = logged.received == logged.ended
                && closed(ACCEPTED) >= logged.received
                && closed(OPENED) >= logged.received;
            Ok(all.then_some((logged, metrics)))
        })
    }
}

const ACCEPTED: (&str, &str) = ("role", "accepted");
const OPENED: (&str, &str) = ("role", "opened");
const SERVICE: (&str, &str) = ("service_port", PORT);

#[test]
fn postgresql_s_clients_close_first_and_the_server_where_it_ends_the_session() -> Result<()> {
    const TERMINATED: u64 = 3;
    let _alone = alone();
    let postgres = Postgres::start()?;
    postgres.pgbench(&postgres.socket(), &["-i", "-q", "-s", "1"])?;
    let served = postgres.watched()?;
    let (clients, transactions) = (CLIENTS.to_string(), TRANSACTIONS.to_string());
    let load = ["-n", "-S", "-c", &clients, "-t", &transactions];

    // One connection for each client, and one in which pgbench looks around.
    postgres.pgbench("127.0.0.1", &load)?;
    let (kept, metrics) = postgres.when_all_have_closed(&served)?;
    assert_eq!(kept, Logged { received: CLIENTS + 1, ended: CLIENTS + 1, terminated: 0 });
    are_named(&metrics, kept.received);

    // One for each transaction.
    postgres.pgbench("127.0.0.1", &[&load[..], &["-C"]].concat())?;
    let (all, metrics) = postgres.when_all_have_closed(&served)?;
    let made = all.received - kept.received;
    println!("{} connections, then {made} with -C", kept.received);
    assert!((CLIENTS * TRANSACTIONS..=CLIENTS * TRANSACTIONS + 1).contains(&made), "{all:?}");
    are_named(&metrics, all.received);
    // A client says goodbye and closes; told so, the server closes too. The client is ahead, and now and then overtaken.
    let (server_first, client_first) = metrics.first_closers(SERVICE, all.received, 0);
    assert!(client_first > all.received / 2, "{client_first} of {}", all.received);

    for _ in 0..TERMINATED {
        let ended = postgres.psql("127.0.0.1", "select pg_terminate_backend(pg_backend_pid())");
        ensure!(ended.is_err(), "psql did not notice");
    }
    let (terminated, metrics) = postgres.when_all_have_closed(&served)?;
    let expected =
        Logged { received: all.received + TERMINATED, ended: all.ended + TERMINATED, terminated: TERMINATED };
    assert_eq!(terminated, expected);
    let first = metrics.first_closers(SERVICE, terminated.received, 0);
    assert_eq!(first, (server_first + TERMINATED, client_first));
    metrics.assert_whole();
    served.stop().map(drop)
}

/// Whose sockets they were is known of both ends of all `connections`, which ended in order.
fn are_named(metrics: &Metrics, connections: u64) {
    for (role, process) in [(ACCEPTED, "postgres"), (OPENED, "pgbench")] {
        let closes = |kind| metrics.closes(&[role, SERVICE, ("process", process), ("kind", kind)]);
        let orderly: u64 = ["active", "passive", "simultaneous"].into_iter().map(closes).sum();
        assert_eq!(orderly, connections, "{process}\n{}", metrics.text);
    }
}
