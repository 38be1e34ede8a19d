//! nginx, with wrk and with a client that waits: who closes first, against nginx's own count and logs.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tracer::scenario::Namespace;

use crate::alone;
use crate::program::{Program, folder, run, wait_for};
use crate::served::{Metrics, Served};

const PORT: &str = "8080";
/// nginx closes a connection after so many requests.
const REQUESTS_A_CONNECTION: u64 = 500;
/// nginx closes a connection on which no request came for so long.
const IDLE: Duration = Duration::from_secs(1);
/// Connections that wrk has open at once.
const WRK_CONNECTIONS: u64 = 4;
/// At its end wrk closes those that are open, whatever they are doing: with an answer unread that is a reset; and its very first only tries whether someone listens.
const WRK_UNANSWERED: u64 = WRK_CONNECTIONS + 1;

/// nginx as one process, with everything in one folder.
struct Nginx {
    namespace: Namespace,
    folder: TempDir,
    _program: Program,
    status_requests: std::cell::Cell<u64>,
}

/// A line of its log of requests.
struct Request {
    /// nginx's number of the connection
    connection: u64,
    /// Which request of the connection
    number: u64,
}

impl Nginx {
    fn start() -> Result<Self> {
        let (namespace, folder) = (Namespace::new()?, folder()?);
        let at = folder.path().display();
        let config = format!(
            "daemon off; master_process off; worker_processes 1; error_log {at}/error.log info; pid {at}/pid;
             events {{ worker_connections 1024; }}
             http {{
               log_format requests '$connection $connection_requests';
               access_log off;
               client_body_temp_path {at}/body; proxy_temp_path {at}/proxy; fastcgi_temp_path {at}/fastcgi;
               uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;
               keepalive_requests {REQUESTS_A_CONNECTION}; keepalive_timeout {}s;
               server {{
                 listen 127.0.0.1:{PORT};
                 access_log {at}/requests.log requests;
                 location / {{ return 200 'hello\\n'; }}
               }}
               server {{
                 listen unix:{at}/status;
                 location / {{ stub_status; }}
               }}
             }}",
            IDLE.as_secs()
        );
        let path = folder.path().join("nginx.conf");
        std::fs::write(&path, config)?;
        let path = path.to_str().context("the folder's name is not text")?.to_owned();
        let command = ["nginx", "-e", "stderr", "-c", &path];
        let log = folder.path().join("nginx.log");
        let program =
            Program::start(Some(namespace.server()), &command, &log).context(crate::program::INSTALL)?;
        let nginx = Self { namespace, folder, _program: program, status_requests: 0.into() };
        wait_for("nginx", || Ok(UnixStream::connect(nginx.folder.path().join("status")).ok()))?;
        // That connection counts as well.
        nginx.status_requests.set(1);
        Ok(nginx)
    }

    /// Connections that it accepted at the port, by its own count.
    fn accepted(&self) -> Result<u64> {
        let mut stream = UnixStream::connect(self.folder.path().join("status"))?;
        self.status_requests.set(self.status_requests.get() + 1);
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        // Active connections: 1 ⏎ server accepts handled requests ⏎ 16 16 31
        let counts = answer.lines().skip_while(|line| !line.starts_with("server accepts")).nth(1);
        let accepted = counts.and_then(|line| line.split_whitespace().next()).context(answer.clone())?;
        Ok(accepted.parse::<u64>()? - self.status_requests.get())
    }

    fn requests(&self) -> Result<Vec<Request>> {
        let log = std::fs::read_to_string(self.folder.path().join("requests.log"))?;
        let request = |line: &str| {
            let (connection, number) = line.split_once(' ')?;
            Some(Request { connection: connection.parse().ok()?, number: number.parse().ok()? })
        };
        log.lines().map(|line| request(line).with_context(|| line.to_owned())).collect()
    }

    /// How often its log of what it thinks of connections says so.
    fn said(&self, what: &str) -> Result<u64> {
        let log = std::fs::read_to_string(self.folder.path().join("error.log"))?;
        Ok(log.lines().filter(|line| line.contains(what)).count() as u64)
    }

    fn watched(&self) -> Result<Served> {
        let netns = self.namespace.inode().0.to_string();
        // A build for tests is slow, and wrk leaves it little of two processors: nothing may be lost for want of room.
        let ring = ["--ring-bytes", "64M"];
        Served::start(&[&["--netns", &netns, "--group-by", "role,service,process"], &ring[..]].concat())
    }

    /// The metrics once both ends of every connection that nginx accepted have closed. It may still be accepting when the
    /// client has gone.
    fn when_all_have_closed(&self, served: &Served) -> Result<(u64, Metrics)> {
        let all = wait_for("all connections to be counted", || {
            let (accepted, metrics) = (self.accepted()?, served.metrics()?);
            let closed = |role| metrics.closes(&[("role", role), ("service_port", PORT)]);
            Ok((closed("accepted") == accepted && closed("opened") == accepted)
                .then_some((accepted, metrics)))
        });
        all.with_context(|| {
            let accepted = self.accepted().unwrap_or_default();
            let told = served.metrics().map(|metrics| metrics.nonzero()).unwrap_or_default();
            format!("nginx accepted {accepted}, and finwait says\n{told}")
        })
    }

    fn wrk(&self, more: &[&str]) -> Result<()> {
        let connections = WRK_CONNECTIONS.to_string();
        let url = format!("http://127.0.0.1:{PORT}/");
        let mut command = vec!["wrk", "-t", "1", "-c", &connections, "-d", "1s"];
        command.extend(more);
        command.push(&url);
        run(self.namespace.client(), &command).context(crate::program::INSTALL)?;
        Ok(())
    }
}

const ACCEPTED: (&str, &str) = ("role", "accepted");
const OPENED: (&str, &str) = ("role", "opened");
const SERVICE: (&str, &str) = ("service_port", PORT);

// wrk closes as soon as it has the last answer of a connection, and nginx as soon as it has sent it. nginx is ahead; where the
// kernel lets wrk overtake it, wrk is first, or both are. Nobody's log knows, but both ends have to say the same. How often depends on
// the load of the machine; nginx is first more often than wrk.

#[test]
fn with_connection_close_nginx_closes_first() -> Result<()> {
    let _alone = alone();
    let nginx = Nginx::start()?;
    let served = nginx.watched()?;
    nginx.wrk(&["-H", "Connection: close"])?;
    let (accepted, metrics) = nginx.when_all_have_closed(&served)?;
    metrics.assert_whole();
    let requests = nginx.requests()?;
    assert!(requests.iter().all(|request| request.number == 1));
    let answered = requests.len() as u64;
    println!("{answered} requests answered");
    assert!(answered > 100 && (answered + 1..=answered + WRK_UNANSWERED).contains(&accepted), "{accepted}");
    let (nginx_first, wrk_first) = metrics.first_closers(SERVICE, accepted, WRK_UNANSWERED);
    assert!(nginx_first <= answered && nginx_first > wrk_first, "{nginx_first} of {answered}");
    assert_eq!(metrics.closes(&[OPENED, SERVICE, ("process", "wrk")]), accepted);
    // Who accepted one that was reset before nginx closed it shows only where accept() can be seen.
    let resets = metrics.closes(&[ACCEPTED, SERVICE, ("kind", "reset")]);
    assert!(
        metrics.closes(&[ACCEPTED, SERVICE, ("process", "nginx")]) >= accepted - resets,
        "{}",
        metrics.text
    );
    served.stop().map(drop)
}

#[test]
fn with_keep_alive_nginx_closes_first_where_a_connection_has_had_its_requests() -> Result<()> {
    let _alone = alone();
    let nginx = Nginx::start()?;
    let served = nginx.watched()?;
    nginx.wrk(&[])?;
    let (accepted, metrics) = nginx.when_all_have_closed(&served)?;
    metrics.assert_whole();
    let requests = nginx.requests()?;
    let full = requests.iter().filter(|request| request.number == REQUESTS_A_CONNECTION).count() as u64;
    println!("{} requests answered, {full} connections had all theirs", requests.len());
    // The others are those that wrk's end found open.
    assert!(
        full > 4 && (full + 1..=full + WRK_UNANSWERED).contains(&accepted),
        "{accepted} accepted, {full} full"
    );
    let (nginx_first, wrk_first) = metrics.first_closers(SERVICE, accepted, WRK_UNANSWERED);
    assert!(nginx_first <= full && nginx_first > wrk_first, "{nginx_first} of {full}");
    served.stop().map(drop)
}

/// One request, and the answer's head.
fn ask(stream: &mut TcpStream, header: &str) -> std::io::Result<String> {
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: localhost\r\n{header}\r\n").as_bytes())?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"hello\n") {
        let mut chunk = [0; 512];
        match stream.read(&mut chunk)? {
            0 => break,
            length => answer.extend_from_slice(&chunk[..length]),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// What the client does after its answer.
#[derive(Clone, Copy)]
enum Then {
    /// Closes
    Close,
    /// Waits until nginx does
    Wait,
}

fn visit(nginx: &Nginx, header: &'static str, then: Then) -> Result<()> {
    let answer = nginx.namespace.client().run(move || {
        let visit = || {
            let mut stream = TcpStream::connect(format!("127.0.0.1:{PORT}"))?;
            let answer = ask(&mut stream, header)?;
            if let Then::Wait = then {
                stream.read_to_end(&mut Vec::new())?;
            }
            Ok(answer)
        };
        visit()
            .map_err(|error: std::io::Error| tracer::scenario::ScenarioError::unexpected(error.to_string()))
    })?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Ok(())
}

/// No race here, so every count is exact.
#[test]
fn whose_idle_timeout_is_the_shorter_closes_first() -> Result<()> {
    const CLIENT_CLOSES: u64 = 7;
    const SERVER_IS_ASKED_TO: u64 = 5;
    const SERVER_TIMES_OUT: u64 = 3;
    let _alone = alone();
    let nginx = Nginx::start()?;
    let served = nginx.watched()?;
    for _ in 0..CLIENT_CLOSES {
        visit(&nginx, "", Then::Close)?;
    }
    for _ in 0..SERVER_IS_ASKED_TO {
        visit(&nginx, "Connection: close\r\n", Then::Wait)?;
    }
    for _ in 0..SERVER_TIMES_OUT {
        visit(&nginx, "", Then::Wait)?;
    }
    let (accepted, metrics) = nginx.when_all_have_closed(&served)?;
    metrics.assert_whole();
    assert_eq!(accepted, CLIENT_CLOSES + SERVER_IS_ASKED_TO + SERVER_TIMES_OUT);
    let connections: std::collections::BTreeSet<_> =
        nginx.requests()?.iter().map(|request| request.connection).collect();
    assert_eq!(connections.len() as u64, accepted);
    assert_eq!(nginx.said("closed keepalive connection")?, CLIENT_CLOSES);
    let server_closes = SERVER_IS_ASKED_TO + SERVER_TIMES_OUT;
    assert_eq!(metrics.first_closers(SERVICE, accepted, 0), (server_closes, CLIENT_CLOSES));
    let nginx_s = |kind| metrics.closes(&[ACCEPTED, SERVICE, ("process", "nginx"), ("kind", kind)]);
    assert_eq!((nginx_s("active"), nginx_s("passive")), (server_closes, CLIENT_CLOSES));
    // The time-outs are as long as nginx was told, and nothing else is.
    let short = |le| {
        let life = [ACCEPTED, SERVICE, ("le", le)];
        metrics.sum("finwait_connection_life_seconds_bucket", &life) as u64
    };
    assert_eq!((short("0.25"), short("4.0")), (CLIENT_CLOSES + SERVER_IS_ASKED_TO, accepted));
    served.stop().map(drop)
}
