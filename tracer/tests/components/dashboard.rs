//! The expressions of deploy/grafana/finwait.json, as Grafana would send them.

use anyhow::{Context, Result};
use serde_json::Value;

const DASHBOARD: &str = include_str!("../../../deploy/grafana/finwait.json");

/// Where it stands, and the expression with its variables filled in.
pub(crate) struct Expression {
    pub(crate) place: String,
    pub(crate) text: String,
}

/// All of them: every target of every panel, and the annotations.
pub(crate) fn expressions() -> Result<Vec<Expression>> {
    let dashboard: Value = serde_json::from_str(DASHBOARD)?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut found = Vec::new();
    for panel in list(&dashboard["panels"]) {
        for target in list(&panel["targets"]) {
            found.push((format!("{} {}", panel["title"], target["refId"]), target["expr"].clone()));
        }
    }
    for annotation in list(&dashboard["annotations"]["list"]) {
        if annotation["builtIn"].is_null() {
            found.push((annotation["name"].to_string(), annotation["expr"].clone()));
        }
    }
    let filled = |(place, text): (String, Value)| {
        let text = fill(text.as_str().with_context(|| place.clone())?);
        Ok(Expression { place, text })
    };
    found.into_iter().map(filled).collect()
}

/// Everything is chosen, as when the dashboard is opened.
fn fill(text: &str) -> String {
    let mut text = text
        .replace("$__rate_interval", "1m")
        .replace("$__interval", "1m")
        .replace("${by:csv}", "role,service_port");
    for variable in ["$instance", "$role", "$service_port", "$process"] {
        text = text.replace(&format!("\"{variable}\""), "\".*\"");
    }
    text
}
