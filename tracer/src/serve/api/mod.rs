//! The JSON API, `/api/v1/…`: what the page shows, for whoever else wants it. `docs/api.md` names every key.

mod closes;
mod events;
mod history;
mod services;
mod stuck;
mod summary;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;

use super::http::Shared;
use crate::sink::Context;
use crate::stats::Snapshot;

/// The routes, without their common beginning.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/summary", get(summary::answer))
        .route("/history", get(history::answer))
        .route("/services", get(services::answer))
        .route("/stuck", get(stuck::answer))
        .route("/closes", get(closes::answer))
        .route("/closes/{conn_id}", get(closes::one))
        .route("/events", get(events::answer))
        .fallback(|| async { refuse(StatusCode::NOT_FOUND, "there is no such thing in the API") })
}

#[derive(Serialize)]
struct ErrorJson<'a> {
    error: &'a str,
}

/// One sentence with its status.
fn refuse(status: StatusCode, why: &str) -> Response {
    let body = serde_json::to_string(&ErrorJson { error: why }).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, JSON)], body).into_response()
}

/// Nothing was observed yet.
fn too_early() -> Response {
    refuse(StatusCode::SERVICE_UNAVAILABLE, "finwait does not observe yet")
}

const JSON: &str = "application/json";

/// `value`, where answers that nobody takes leave room for it.
fn json(shared: &Shared, value: &impl Serialize) -> Response {
    let full = || refuse(StatusCode::SERVICE_UNAVAILABLE, "too much waits for clients that do not read it");
    let Some(place) = shared.answers.reserve() else { return full() };
    let Ok(text) = serde_json::to_string(value) else {
        return refuse(StatusCode::INTERNAL_SERVER_ERROR, "the answer cannot be written as JSON");
    };
    match place.hold(text) {
        Some(answer) => ([(header::CONTENT_TYPE, JSON)], Body::from(answer)).into_response(),
        None => full(),
    }
}

/// Host and clocks, for records.
fn context(snapshot: &Snapshot) -> Context {
    Context { host: snapshot.host.clone(), clock: snapshot.clock }
}

/// A name as a JSON key for what may be unknown.
const UNKNOWN: &str = "unknown";
