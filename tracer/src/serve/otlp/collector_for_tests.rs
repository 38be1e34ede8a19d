//! A collector for tests: HTTP/1.1 over one listener, answers by script.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message;

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A request as it came.
pub struct Received {
    pub at: Instant,
    /// Request line and headers, lower case
    pub head: Vec<String>,
    pub body: Vec<u8>,
}

impl Received {
    pub fn message(&self) -> ExportMetricsServiceRequest {
        ExportMetricsServiceRequest::decode(&*self.body).unwrap()
    }
}

pub enum Answer {
    /// Status, further headers, body
    Http(u16, &'static str, Vec<u8>),
    /// Nothing, with the connection open for ever
    Silence,
}

pub fn ok() -> Answer {
    Answer::Http(200, "content-type: application/x-protobuf\r\n", Vec::new())
}

pub struct Collector {
    pub address: SocketAddr,
    received: Receiver<Received>,
}

impl Collector {
    pub fn start(answer: impl FnMut(usize) -> Answer + Send + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), answer)
    }

    /// Serves until the test ends; `answer` gets the number of the request, from 0.
    pub fn on(listener: TcpListener, mut answer: impl FnMut(usize) -> Answer + Send + 'static) -> Self {
        let address = listener.local_addr().unwrap();
        let (send, received) = mpsc::channel();
        thread::spawn(move || {
            let mut kept = Vec::new();
            for (number, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                let Some(request) = read(&stream) else { continue };
                match answer(number) {
                    Answer::Silence => kept.push(stream),
                    Answer::Http(status, headers, body) => write(&mut stream, status, headers, &body),
                }
                if send.send(request).is_err() {
                    return;
                }
            }
        });
        Self { address, received }
    }

    pub fn next(&self) -> Received {
        self.received.recv_timeout(PATIENCE).expect("a request")
    }

    pub fn nothing_within(&self, time: Duration) -> bool {
        self.received.recv_timeout(time).is_err()
    }
}

fn read(stream: &TcpStream) -> Option<Received> {
    let at = Instant::now();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
        if line == "\r\n" {
            break;
        }
        head.push(line.trim_end().to_lowercase());
    }
    let length = head.iter().find_map(|line| line.strip_prefix("content-length: "))?.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Received { at, head, body })
}

fn write(stream: &mut TcpStream, status: u16, headers: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {status} x\r\n{headers}content-length: {}\r\n\r\n", body.len());
    // The other side may have given up by now; its test notices.
    _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}
