//! The web page: files that are part of the program. It asks nothing of any other host.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

const INDEX: &[u8] = include_bytes!("assets/index.html");

macro_rules! assets {
    ($($kind:ident $name:literal,)*) => {
        /// Name, type and content.
        const ASSETS: &[(&str, &str, &[u8])] = &[$(($name, $kind, include_bytes!(concat!("assets/", $name))),)*];
    };
}

assets! {
    SCRIPT "api.js",
    CSS "charts.css",
    SCRIPT "close.js",
    SCRIPT "dom.js",
    SCRIPT "explain.js",
    SCRIPT "facts.js",
    SVG "favicon.svg",
    SCRIPT "feed.js",
    SCRIPT "filters.js",
    SCRIPT "format.js",
    SCRIPT "health.js",
    SCRIPT "heatmap.js",
    SCRIPT "history.js",
    SCRIPT "ladder-model.js",
    CSS "ladder.css",
    SCRIPT "ladder.js",
    SCRIPT "main.js",
    SCRIPT "match.js",
    SCRIPT "mix.js",
    SCRIPT "services.js",
    SCRIPT "state.js",
    SCRIPT "strip.js",
    SCRIPT "stuck.js",
    CSS "style.css",
    SCRIPT "table.js",
    SCRIPT "theme.js",
    SCRIPT "timeaxis.js",
    SCRIPT "words.js",
}

/// `/`, and `/c/<conn_id>`: the page itself reads which.
pub(super) async fn index() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, HTML)], INDEX)
}

/// `/assets/<name>`
pub(super) async fn asset(Path(name): Path<String>) -> Response {
    match ASSETS.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, content)) => ([(header::CONTENT_TYPE, *kind)], *content).into_response(),
        None => (StatusCode::NOT_FOUND, "there is no such file\n").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that was forgotten would be missing only in the browser.
    #[test]
    fn every_file_of_the_page_is_served() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/serve/assets");
        let names =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut files: Vec<_> = names.filter(|name| name != "index.html").collect();
        files.sort();
        assert_eq!(files, ASSETS.iter().map(|(name, ..)| *name).collect::<Vec<_>>());
    }
}
