//! A headless Chromium, driven over the WebDriver protocol by way of chromedriver. Knows nothing of finwait.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::LIMIT;

const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// The key's code in the WebDriver protocol.
pub(crate) const TAB: char = '\u{E004}';
pub(crate) const ENTER: char = '\u{E007}';
pub(crate) const ESCAPE: char = '\u{E00C}';
pub(crate) const END: char = '\u{E010}';
pub(crate) const LEFT: char = '\u{E012}';

/// One browser with one window and a profile of its own. Dropped, it is closed.
pub(crate) struct Browser {
    driver: Child,
    agent: ureq::Agent,
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// Starts chromedriver and a browser of 1440 by 900.
    pub(crate) fn start() -> Self {
        let mut driver = Command::new("chromedriver")
            .args(["--port=0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver: `cargo xtask page` installs it");
        let port = port(&mut driver);
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(LIMIT));
        let profile = TempDir::new().expect("a folder");
        let mut browser = Self {
            driver,
            agent: config.build().into(),
            session: format!("http://127.0.0.1:{port}/session"),
            _profile: profile,
        };
        let wanted = capabilities(browser._profile.path());
        let made = browser.call("POST", "", &json!({ "capabilities": { "alwaysMatch": wanted } }));
        browser.session = format!("{}/{}", browser.session, made["sessionId"].as_str().expect("a session"));
        browser.resize(1440, 900);
        browser
    }

    /// Asks chromedriver. An error of its own is ours.
    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.session))
            .header("content-type", "application/json")
            .body(if method == "POST" { body.to_string() } else { String::new() })
            .expect("a request");
        let answer = self.agent.run(request).expect("chromedriver answers");
        let text = answer.into_body().with_config().limit(64 << 20).read_to_string().expect("text");
        let mut answer: Value = serde_json::from_str(&text).expect("JSON");
        let value = answer["value"].take();
        assert!(value.get("error").is_none(), "{method} {path}: {value:#}");
        value
    }

    /// Loads `url`.
    pub(crate) fn go(&self, url: &str) {
        self.call("POST", "/url", &json!({ "url": url }));
    }

    /// Loads the page anew.
    pub(crate) fn reload(&self) {
        self.call("POST", "/refresh", &json!({}));
    }

    /// The back button.
    pub(crate) fn back(&self) {
        self.call("POST", "/back", &json!({}));
    }

    /// The address bar.
    pub(crate) fn url(&self) -> String {
        self.call("GET", "/url", &Value::Null).as_str().expect("a URL").to_owned()
    }

    /// Runs `body`, the body of a function, in the page and hands out what it returns.
    pub(crate) fn script(&self, body: &str) -> Value {
        self.call("POST", "/execute/sync", &json!({ "script": body, "args": [] }))
    }

    /// The same, as text.
    pub(crate) fn text(&self, body: &str) -> String {
        self.script(body).as_str().unwrap_or_default().to_owned()
    }

    /// Runs `body` until it returns something that is true.
    pub(crate) fn wait(&self, what: &str, body: &str) -> Value {
        let end = Instant::now() + LIMIT;
        loop {
            let value = self.script(body);
            if !matches!(value, Value::Null | Value::Bool(false)) {
                return value;
            }
            assert!(
                Instant::now() < end,
                "waited for {what}; the page says: {}",
                self.text("return document.body.innerText")
            );
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Clicks on the element, as a pointer does.
    pub(crate) fn click(&self, selector: &str) {
        let found = self.call("POST", "/element", &json!({ "using": "css selector", "value": selector }));
        let id = found
            .as_object()
            .and_then(|found| found.values().next())
            .and_then(Value::as_str)
            .expect("an element");
        self.call("POST", &format!("/element/{id}/click"), &json!({}));
    }

    /// Presses a key and lets it go.
    pub(crate) fn press(&self, key: char) {
        let key = key.to_string();
        let actions = json!([{ "type": "keyDown", "value": key }, { "type": "keyUp", "value": key }]);
        self.call(
            "POST",
            "/actions",
            &json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": actions }] }),
        );
    }

    /// A command of Chromium's own protocol.
    fn chromium(&self, command: &str, parameters: &Value) {
        self.call("POST", "/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }));
    }

    /// Makes the window's inside so large.
    pub(crate) fn resize(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.chromium("Emulation.setDeviceMetricsOverride", &size);
    }

    /// What the system says it prefers: `light` or `dark`.
    pub(crate) fn prefer(&self, scheme: &str) {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.chromium("Emulation.setEmulatedMedia", &features);
    }

    /// A PNG of the window.
    pub(crate) fn screenshot(&self) -> Vec<u8> {
        base64(self.call("GET", "/screenshot", &Value::Null).as_str().expect("a picture"))
    }

    /// What the console said since this was asked last.
    pub(crate) fn console(&self) -> Vec<String> {
        let log = self.call("POST", "/se/log", &json!({ "type": "browser" }));
        log.as_array().expect("a list").iter().map(|entry| entry["message"].to_string()).collect()
    }

    /// Every URL that was asked for since this was asked last.
    pub(crate) fn requests(&self) -> Vec<String> {
        let log = self.call("POST", "/se/log", &json!({ "type": "performance" }));
        let entries = log.as_array().expect("a list").iter().filter_map(|entry| entry["message"].as_str());
        let told = entries.filter_map(|message| serde_json::from_str::<Value>(message).ok());
        told.filter(|told| told["message"]["method"] == "Network.requestWillBeSent")
            .filter_map(|told| Some(told["message"]["params"]["request"]["url"].as_str()?.to_owned()))
            .collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Each may fail where the browser is gone already, and then there is nothing to close.
        let _ = self.agent.delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Headless, silent, and asking nothing of anybody by itself.
fn capabilities(profile: &std::path::Path) -> Value {
    let arguments = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--hide-scrollbars",
        &format!("--user-data-dir={}", profile.display()),
    ];
    json!({
        "goog:chromeOptions": { "args": arguments },
        "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
    })
}

/// The port that chromedriver says it listens on.
fn port(driver: &mut Child) -> u16 {
    let said = BufReader::new(driver.stdout.take().expect("stdout")).lines();
    said.map(|line| line.expect("text"))
        .find_map(|line| line.strip_suffix('.')?.rsplit_once("on port ")?.1.parse().ok())
        .expect("chromedriver tells its port")
}

/// Decodes base64; what is no letter of it is passed over.
fn base64(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0);
    for letter in text.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
        }
    }
    bytes
}
