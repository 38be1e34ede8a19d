//! `GET /api/v1/events`: closes as they come, as server-sent events. A client that does not keep up is told how many it missed.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use super::{Shared, refuse};
use crate::serve::http::Patience;

/// A comment this often shows both sides that the other is there.
const ALIVE: Duration = Duration::from_secs(15);
/// A stream ends after this: a client that is there comes again, one that never reads is gone.
const STREAM_TIME: Duration = Duration::from_secs(600);

/// A stream of what comes from now on.
pub(super) async fn answer(
    State(shared): State<Arc<Shared>>,
    Extension(patience): Extension<Patience>,
) -> Response {
    let Ok(place) = shared.streams.clone().try_acquire_owned() else {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "too many streams are open");
    };
    patience.for_a_stream();
    let stream =
        Stream { closes: shared.closes.subscribe(), end: Instant::now() + STREAM_TIME, _place: place };
    let events = unfold(stream, |mut stream| async move {
        let event = stream.next().await?;
        Some((Ok::<_, Infallible>(event), stream))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE)).into_response()
}

struct Stream {
    closes: Receiver<Arc<str>>,
    end: Instant,
    _place: OwnedSemaphorePermit,
}

impl Stream {
    /// `None` ends it.
    async fn next(&mut self) -> Option<Event> {
        match tokio::time::timeout_at(self.end, self.closes.recv()).await.ok()? {
            Ok(close) => Some(Event::default().event("close").data(&*close)),
            Err(RecvError::Lagged(missed)) => {
                Some(Event::default().event("skipped").data(format!("{{\"skipped\":{missed}}}")))
            }
            Err(RecvError::Closed) => None,
        }
    }
}
