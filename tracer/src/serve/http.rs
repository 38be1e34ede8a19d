//! The HTTP side: accepts, routes, answers. Everything a client can hold is bounded: connections, requests at once, the
//! time for a header, the time for a whole connection.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::metrics::{self, Format};
use super::reader::Reader;
use super::{Access, Listening, Web};

/// Connections at once; more are closed unread.
const CONNECTIONS: usize = 256;
/// For a request's line and headers to arrive.
const HEADER_TIME: Duration = Duration::from_secs(5);
/// A connection ends after this, whatever it does: scrapers come again.
const CONNECTION_TIME: Duration = Duration::from_secs(60);
/// Of a request's line and headers.
const HEADER_BYTES: usize = 16 << 10;
/// After accept() failed, say for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why HTTP cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No runtime, or no thread
    #[error("cannot start the HTTP thread: {0}")]
    Thread(#[from] io::Error),
}

/// What requests share.
#[derive(Debug)]
struct Shared {
    reader: Arc<Reader>,
    access: Access,
    requests: Semaphore,
}

/// Serves on a thread of its own, until the process ends.
pub(super) fn start(listening: Listening, web: &Web, reader: Arc<Reader>) -> Result<(), HttpError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let listener = {
        let _inside = runtime.enter();
        TcpListener::from_std(listening.socket)?
    };
    let shared = Arc::new(Shared {
        reader,
        access: Access::new(&web.allowed_hosts),
        requests: Semaphore::new(web.max_requests),
    });
    thread::Builder::new()
        .name("http".to_owned())
        .spawn(move || runtime.block_on(accept(listener, shared)))?;
    Ok(())
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
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIME)
                .max_buf_size(HEADER_BYTES)
                .serve_connection(TokioIo::new(stream), service);
            // A client that breaks off, is too slow or sends nonsense is nobody's concern.
            let _ = tokio::time::timeout(CONNECTION_TIME, served).await;
            drop(place);
        });
    }
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(index))
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
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

const INDEX: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>finwait</title>\
<h1>finwait</h1><ul><li><a href=\"/metrics\">/metrics</a>: summaries of TCP closes, for Prometheus</li>\
<li><a href=\"/-/healthy\">/-/healthy</a>, <a href=\"/-/ready\">/-/ready</a></li></ul></html>\n";

async fn index() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], INDEX)
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
    let Some(families) = shared.reader.read().await else {
        return (StatusCode::SERVICE_UNAVAILABLE, "finwait does not observe yet\n").into_response();
    };
    let format =
        Format::wanted(headers.get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok()));
    let text = metrics::encode(&families, format);
    ([(header::CONTENT_TYPE, format.content_type())], Body::from(text)).into_response()
}
