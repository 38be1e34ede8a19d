//! What every test has: a served page, a browser that looks at it, and at the end the proof that the browser had no complaint
//! and asked nobody else.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracer::scenario::{Namespace, Scenario, catalog};

use crate::served::Served;
use crate::webdriver::Browser;

/// A process that is being started holds copies of open descriptors for a moment: nobody starts one while traffic is made.
static ALONE: Mutex<()> = Mutex::new(());

/// Rows of the list of closes.
pub(crate) const ROWS: &str = "#feed > li";

/// See the module.
pub(crate) struct Stage {
    pub(crate) browser: Browser,
    pub(crate) served: Served,
    /// Where the traffic is; none for a recording
    pub(crate) namespace: Option<Namespace>,
    _alone: MutexGuard<'static, ()>,
}

impl Stage {
    /// Observes an empty namespace; the page is open.
    pub(crate) fn live() -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let namespace = Namespace::new().expect("namespace");
        let served = Served::live(&namespace);
        Self::open(served, Some(namespace), alone)
    }

    /// Observes, and every scenario has been played.
    pub(crate) fn played() -> Self {
        let stage = Self::live();
        stage.play(catalog::ALL);
        stage
    }

    /// Serves one of the recordings of the tracker's tests.
    pub(crate) fn recorded(name: &str) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("core/tests/recordings").join(name);
        Self::open(Served::recording(&file), None, alone)
    }

    fn open(served: Served, namespace: Option<Namespace>, alone: MutexGuard<'static, ()>) -> Self {
        let browser = Browser::start();
        browser.go(&served.url("/"));
        let stage = Self { browser, served, namespace, _alone: alone };
        stage
            .browser
            .wait("the sentence of health", "return document.querySelector('#health .mark') !== null");
        stage
    }

    /// Makes traffic, and waits until the page lists a close of each socket.
    pub(crate) fn play(&self, scenarios: &[Scenario]) {
        let before = self.rows();
        let namespace = self.namespace.as_ref().expect("a live stage");
        let made = catalog::run(scenarios, namespace).expect("scenarios");
        let script =
            format!("return document.querySelectorAll('{ROWS}').length >= {}", before + made.side_count());
        self.browser.wait("a row for each close", &script);
    }

    /// Closes listed.
    pub(crate) fn rows(&self) -> usize {
        let script = format!("return document.querySelectorAll('{ROWS}').length");
        self.browser.script(&script).as_u64().and_then(|rows| rows.try_into().ok()).expect("a number")
    }

    /// Leaves a picture in `target/page-screenshots`.
    pub(crate) fn picture(&self, name: &str) {
        let folder = target().join("page-screenshots");
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join(format!("{name}.png")), self.browser.screenshot()).expect("a file");
    }

    /// The browser's console is empty, and every request went to finwait.
    pub(crate) fn end(self) {
        let said = self.browser.console();
        assert!(said.is_empty(), "the console says {said:#?}");
        self.asked_nobody_else();
    }

    /// Every request went to finwait.
    pub(crate) fn asked_nobody_else(&self) {
        let own = self.served.url("/");
        let requests = self.browser.requests();
        assert!(requests.iter().any(|url| url.starts_with(&own)), "{requests:#?}");
        let others: Vec<_> = requests.iter().filter(|url| !url.starts_with(&own)).collect();
        assert!(others.iter().all(|url| is_no_request(url)), "asked {others:#?}");
    }
}

/// A browser's own first window, and what a page holds within itself.
fn is_no_request(url: &str) -> bool {
    ["data:", "about:", "chrome:"].iter().any(|scheme| url.starts_with(scheme))
}

/// Cargo's target folder: the test's program is in `<target>/<profile>/deps`.
fn target() -> PathBuf {
    let program = std::env::current_exe().expect("this program");
    program.ancestors().nth(3).expect("the target folder").to_path_buf()
}
