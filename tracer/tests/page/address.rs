//! What the address bar remembers.

use crate::stage::Stage;
use crate::webdriver::{ENTER, ESCAPE};

const OPEN: &str = "return document.querySelector('#close').open";
const LADDER: &str = "return document.querySelector('#close .ladder')?.innerText";

#[test]
fn a_close_opens_as_a_ladder_and_its_address_shows_the_same() {
    let stage = Stage::played();
    let browser = &stage.browser;
    let overview = browser.url();
    browser.click("#feed > li:nth-child(3) a");
    let ladder = browser.wait("the ladder", LADDER);
    let url = browser.url();
    assert!(url.contains("/c/"), "{url}");
    browser.reload();
    assert_eq!(browser.wait("the same ladder", LADDER), ladder);
    assert_eq!(browser.url(), url);

    browser.wait("a neighbour", "return !document.querySelector('[data-step=older]').disabled");
    browser.click("[data-step=older]");
    browser.wait("the next close", &format!("return location.href !== '{url}'"));
    browser.press(ESCAPE);
    browser.wait("the dialog to close", "return !document.querySelector('#close').open");
    assert_eq!(browser.url(), overview);
    stage.end();
}

#[test]
fn the_back_button_leads_through_what_was_looked_at() {
    let stage = Stage::played();
    let browser = &stage.browser;
    let overview = browser.url();
    browser.script("document.querySelector('#feed > li:nth-child(2) a').focus()");
    browser.press(ENTER);
    browser.wait("the close", OPEN);
    browser.back();
    browser.wait("the overview", "return !document.querySelector('#close').open");
    assert_eq!(browser.url(), overview);
    choose(&stage, "kind", "reset");
    browser.wait("the filter", "return location.search === '?kind=reset'");
    browser.back();
    browser.wait("all kinds", "return document.querySelector('[name=kind]').value === ''");
    assert_eq!(browser.url(), overview);
    stage.end();
}

#[test]
fn filters_are_in_the_address_and_a_link_shows_the_same() {
    let stage = Stage::played();
    let browser = &stage.browser;
    let all = stage.rows();
    choose(&stage, "kind", "reset");
    let resets = "const kinds = [...document.querySelectorAll('#feed .kind')]; return kinds.length > 0 && kinds.every((kind) => kind.textContent.startsWith('reset')) && kinds.length";
    let rows = browser.wait("only resets", resets);
    assert!(rows.as_u64().expect("a number") < all as u64);
    assert!(browser.url().ends_with("?kind=reset"), "{}", browser.url());
    browser.reload();
    assert_eq!(browser.wait("only resets again", resets), rows);
    assert_eq!(browser.text("return document.querySelector('[name=kind]').value"), "reset");

    type_into(&stage, "process", "nobody");
    browser.wait(
        "nothing that fits",
        "return document.querySelector('#feed-empty').checkVisibility() && location.search.includes('process=nobody')",
    );
    assert!(browser.url().ends_with("?kind=reset&process=nobody"), "{}", browser.url());
    browser.click("#clear");
    browser.wait("everything", &format!("return document.querySelectorAll('#feed > li').length === {all}"));
    assert!(browser.url().ends_with('/'), "{}", browser.url());
    stage.end();
}

#[test]
fn the_services_can_be_sorted_by_every_column_and_the_order_is_in_the_address() {
    let stage = Stage::played();
    let browser = &stage.browser;
    browser.wait("services", "return document.querySelectorAll('#services tbody tr').length > 2");
    let sorted = |key: &str| {
        browser.text(&format!(
            "return document.querySelector('#services th[data-key={key}]').getAttribute('aria-sort')"
        ))
    };
    assert_eq!(sorted("trouble"), "descending");
    let keys = browser.script(
        "return [...document.querySelectorAll('#services th[data-key]')].map((head) => head.dataset.key)",
    );
    for key in keys.as_array().expect("columns").iter().filter_map(|key| key.as_str()) {
        browser.script(&format!("document.querySelector('#services th[data-key={key}] button').click()"));
        assert_ne!(sorted(key), "none", "{key}");
        assert!(browser.url().contains(&format!("sort={key}.")), "{}", browser.url());
    }
    browser.script("document.querySelector('#services th[data-key=closed] button').click()");
    let values = "return [...document.querySelectorAll('#services tbody tr')].map((row) => Number(row.cells[[...document.querySelectorAll('#services th[data-key]')].findIndex((head) => head.dataset.key === 'closed')].textContent.replaceAll(',', '')))";
    let values: Vec<u64> = serde_json::from_value(browser.script(values)).expect("numbers");
    assert!(values.is_sorted_by(|a, b| a >= b), "{values:?}");
    browser.reload();
    browser.wait("the same order", "return document.querySelector('#services th[data-key=closed]')?.getAttribute('aria-sort') === 'descending'");
    stage.end();
}

/// Chooses in a list of the filters.
fn choose(stage: &Stage, name: &str, value: &str) {
    set(stage, name, value, "change");
}

/// Writes into a field of the filters.
fn type_into(stage: &Stage, name: &str, value: &str) {
    set(stage, name, value, "input");
}

fn set(stage: &Stage, name: &str, value: &str, event: &str) {
    stage.browser.script(&format!(
        "const field = document.querySelector('#filters [name={name}]'); field.value = '{value}'; field.dispatchEvent(new Event('{event}', {{ bubbles: true }}))"
    ));
}
