//! What the page shows while things happen.

use tracer::scenario::catalog;

use crate::served::Served;
use crate::stage::Stage;
use crate::webdriver::{END, ENTER, LEFT};

#[test]
fn closes_appear_as_they_happen_without_a_reload() {
    let stage = Stage::live();
    let browser = &stage.browser;
    let empty = browser.wait("the empty state", "return document.querySelector('#feed-empty').checkVisibility() && document.querySelector('#feed-empty').textContent");
    assert!(empty.as_str().expect("text").contains("appears here"), "{empty}");
    stage.picture("empty-light");
    browser.script("window.never_left = true");
    browser.wait("the stream", "return document.querySelector('#link').textContent === 'live'");

    stage.play(&[catalog::CLIENT_CLOSES_FIRST, catalog::UNREAD_DATA, catalog::REFUSED]);
    assert_eq!(browser.script("return window.never_left"), true);
    let kinds = browser.text(
        "return [...document.querySelectorAll('#feed .kind')].map((kind) => kind.textContent).join('; ')",
    );
    for kind in ["active", "passive", "reset sent", "reset rcvd", "refused"] {
        assert!(kinds.contains(kind), "{kind} is not among {kinds}");
    }
    browser.wait(
        "the figures to follow",
        "return document.querySelector('#rates').textContent.includes('5 ended so far')",
    );
    let losses = browser.text("return document.querySelector('#losses').textContent");
    assert!(losses.contains("nothing lost"), "{losses}");
    stage.end();
}

#[test]
fn a_paused_list_stands_still_and_says_how_many_are_new() {
    let stage = Stage::live();
    stage.play(&[catalog::CLIENT_CLOSES_FIRST]);
    let browser = &stage.browser;
    browser.click("#pause");
    let namespace = stage.namespace.as_ref().expect("live");
    catalog::run(&[catalog::SERVER_CLOSES_FIRST], namespace).expect("scenario");
    browser.wait(
        "new closes to be told",
        "return document.querySelector('#feed-note').textContent.includes('paused, 2 new')",
    );
    assert_eq!(stage.rows(), 2);
    browser.click("#pause");
    browser.wait("the new closes", "return document.querySelectorAll('#feed > li').length === 4");
    stage.end();
}

#[test]
fn a_cell_of_a_heat_map_is_reached_by_the_keyboard_and_opens_its_closes() {
    let stage = Stage::played();
    let browser = &stage.browser;
    browser.wait("cells", "return document.querySelectorAll('[id^=\"FIN_WAIT1-\"]').length > 0");
    browser.script("document.querySelector('[aria-label^=\"FIN_WAIT1:\"]').focus()");
    browser.press(END);
    browser.press(LEFT);
    let label = browser.text("return document.getElementById(document.activeElement.getAttribute('aria-activedescendant')).getAttribute('aria-label')");
    assert!(label.starts_with("FIN_WAIT1: ") && label.contains(" took "), "{label}");
    let closes: usize = label.split(' ').nth(1).and_then(|number| number.parse().ok()).expect("a number");
    browser.press(ENTER);
    browser.wait(
        "the closes of the cell",
        &format!("return document.querySelectorAll('#feed > li').length === {closes}"),
    );
    let url = browser.url();
    for part in ["state=FIN_WAIT1", "min_ns=", "max_ns=", "start_ns=", "end_ns="] {
        assert!(url.contains(part), "{url}");
    }
    stage.picture("cell-light");
    stage.end();
}

#[test]
fn the_page_says_that_finwait_is_away_and_finds_it_again() {
    let mut stage = Stage::played();
    let address = stage.served.address();
    let namespace = stage.namespace.take().expect("live");
    let browser = &stage.browser;
    let shown = stage.rows();
    stage.asked_nobody_else();
    stage.served.end();
    browser.wait(
        "the banner",
        "return document.querySelector('#banner').textContent.includes('does not answer')",
    );
    let rows = browser.script("return document.querySelectorAll('#feed > li').length");
    assert_eq!(rows, shown, "what was known is still shown");
    stage.served = Served::live_again(&namespace, address);
    browser.wait("the banner to go", "return document.querySelector('#banner').hidden");
    browser.wait("the stream", "return document.querySelector('#link').textContent === 'live'");
    browser.wait("the new run's closes", "return document.querySelectorAll('#feed > li').length === 0");
}
