//! The HTTP side: accepts, routes, answers. Everything a client can hold is bounded: connections, requests at once, the
//! time for a header, the time for a whole connection.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::mpsc::Receiver;
use tokio::sync::{Semaphore, broadcast};

use super::answers::Answers;
use super::feed::Told;
use super::metrics::{self, Format};
use super::reader::Reader;
use super::recent::Recent;
use super::watchdog::Heart;
use super::{Access, Listening, Web, api, page};
use crate::redact::Redaction;
use crate::sink::{CloseJson, Context};

/// Connections at once; more are closed unread.
const CONNECTIONS: usize = 256;
/// For a request's line and headers to arrive.
const HEADER_TIME: Duration = Duration::from_secs(5);
/// A connection, which is for one request, ends after this: what it holds is freed then, whoever does not read.
const CONNECTION_TIME: Duration = Duration::from_secs(15);
/// Of a request's line and headers.
const HEADER_BYTES: usize = 16 << 10;
/// After accept() failed, say for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Streams of closes at once.
const STREAMS: usize = 32;
/// Closes that a stream may lag behind.
const LAGGING: usize = 1024;
/// What a page may do: nothing but show what comes from here.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Why HTTP cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No runtime, or no thread
    #[error("cannot start the HTTP thread: {0}")]
    Thread(#[from] io::Error),
}

/// What requests share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) reader: Arc<Reader>,
    access: Access,
    requests: Semaphore,
    pub(super) answers: Answers,
    recent: Mutex<Recent>,
    /// Closes that were not handed over
    pub(super) skipped: Arc<AtomicU64>,
    /// Each close as it comes, as JSON
    pub(super) closes: broadcast::Sender<Arc<str>>,
    pub(super) streams: Arc<Semaphore>,
    /// Something is withheld of peers
    pub(super) redacted: bool,
    pub(super) replay: bool,
}

impl Shared {
    /// Held for a short time only, and by this thread alone.
    pub(super) fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a connection may last: it is a stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Patience(Arc<AtomicBool>);

impl Patience {
    /// From now on it may.
    pub(super) fn for_a_stream(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_for_a_stream(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Serves on a thread of its own, until the process ends.
pub(super) fn start(
    listening: Listening,
    web: &Web,
    reader: Arc<Reader>,
    told: Receiver<Told>,
    skipped: Arc<AtomicU64>,
    heart: Option<Heart>,
) -> Result<(), HttpError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let listener = {
        let _inside = runtime.enter();
        TcpListener::from_std(listening.socket)?
    };
    let shared = Arc::new(Shared {
        reader,
        access: Access::new(&web.allowed_hosts),
        requests: Semaphore::new(web.max_requests),
        answers: Answers::default(),
        recent: Mutex::new(Recent::new(web.recent_closes)),
        skipped,
        closes: broadcast::Sender::new(LAGGING),
        streams: Arc::new(Semaphore::new(STREAMS)),
        redacted: web.redaction != Redaction::Off,
        replay: web.replay,
    });
    thread::Builder::new().name("http".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::spawn(keep(told, shared.clone()));
            heart.map(|heart| tokio::spawn(heart.beat()));
            accept(listener, shared).await;
        });
    })?;
    Ok(())
}

/// Takes in what the loop hands over; it is copied as JSON only while somebody listens.
async fn keep(mut told: Receiver<Told>, shared: Arc<Shared>) {
    while let Some(told) = told.recv().await {
        if let (Told::Close(close), true) = (&told, shared.closes.receiver_count() > 0) {
            let context = shared
                .reader
                .last_sheet()
                .map(|sheet| Context { host: sheet.snapshot.host.clone(), clock: sheet.snapshot.clock });
            let json = serde_json::to_string(&CloseJson::new(close, &context.unwrap_or_default()));
            // Nobody may be left who listens.
            let _ = json.map(|json| shared.closes.send(json.into()));
        }
        shared.recent().take(told);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let router = router(shared);
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(place) = connections.clone().try_acquire_owned() else { continue };
        let patience = Patience::default();
        let service = TowerToHyperService::new(router.clone().layer(Extension(patience.clone())));
        tokio::spawn(async move {
            let mut served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIME)
                .keep_alive(false)
                .max_buf_size(HEADER_BYTES)
                .serve_connection(TokioIo::new(stream), service);
            // A client that breaks off, is too slow or sends nonsense is nobody's concern.
            while tokio::time::timeout(CONNECTION_TIME, &mut served).await.is_err()
                && patience.is_for_a_stream()
            {}
            drop(place);
        });
    }
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(page::index))
        .route("/c/{conn_id}", get(page::index))
        .route("/assets/{name}", get(page::asset))
        .nest("/api/v1", api::routes())
        .route("/metrics", get(metrics))
        .route("/-/healthy", get(healthy))
        .route("/healthz", get(healthy))
        .route("/-/ready", get(ready))
        .route("/readyz", get(ready))
        .fallback(|| async { (StatusCode::NOT_FOUND, "there is no such page\n") })
        .layer(middleware::from_fn_with_state(shared.clone(), admit))
        .with_state(shared)
}

/// Host, number of requests, and the headers that every answer has.
async fn admit(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).map(|host| host.to_str().unwrap_or("\u{fffd}"));
    let mut response = if !shared.access.admits(host) {
        let why = "finwait is not asked under this name: see --web.allowed-host\n";
        (StatusCode::MISDIRECTED_REQUEST, why).into_response()
    } else if let Ok(_place) = shared.requests.try_acquire() {
        next.run(request).await
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "too many requests at once: see --web.max-requests\n")
            .into_response()
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn healthy() -> &'static str {
    "finwait is healthy\n"
}

/// Ready is who has begun to observe.
async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    match shared.reader.is_ready().await {
        true => "finwait is ready\n".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, "finwait does not observe yet\n").into_response(),
    }
}

async fn metrics(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let Some(place) = shared.answers.reserve() else { return full() };
    let Some(families) = shared.reader.read().await else {
        return (StatusCode::SERVICE_UNAVAILABLE, "finwait does not observe yet\n").into_response();
    };
    let format =
        Format::wanted(headers.get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok()));
    let Some(answer) = place.hold(metrics::encode(&families, format)) else { return full() };
    ([(header::CONTENT_TYPE, format.content_type())], Body::from(answer)).into_response()
}

fn full() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "too much waits for clients that do not read it\n").into_response()
}
