//! How closes of each kind are drawn, from recordings.

use crate::stage::Stage;

/// Opens the first close that fits `query`, leaves a picture, and gives the ladder's rows as they are read out.
fn ladder(stage: &Stage, query: &str, picture: &str) -> String {
    let browser = &stage.browser;
    browser.go(&stage.served.url(&format!("/?{query}")));
    browser.wait("the close", "return document.querySelector('#feed > li a') !== null");
    browser.click("#feed > li a");
    browser.wait("the ladder", "return document.querySelector('#close .ladder') !== null");
    for theme in ["light", "dark"] {
        browser.prefer(theme);
        stage.picture(&format!("ladder-{picture}-{theme}"));
    }
    browser.prefer("light");
    browser.text("return [...document.querySelectorAll('#close .ladder li')].map((row) => row.textContent).join('\\n')")
}

/// Each of `parts` is in `text`, in this order.
fn assert_in_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        rest = rest.split_once(part).unwrap_or_else(|| panic!("no {part} at its place in\n{text}")).1;
    }
}

#[test]
fn a_close_in_four_segments_has_four_arrows() {
    let stage = Stage::recorded("half_close.jsonl");
    let rows = ladder(&stage, "kind=active", "four");
    assert_in_order(
        &rows,
        &[
            "SYN",
            "SYN, ACK",
            "FIN_WAIT1",
            "wave 1",
            "FIN",
            "FIN_WAIT2",
            "wave 2",
            "ACK",
            "TIME_WAIT",
            "wave 3",
            "FIN",
            "wave 4",
            "ACK",
        ],
    );
    let words = stage.browser.text("return document.querySelector('#close .explain').textContent");
    assert!(words.contains("This end closed first: shutdown() by scene-client/"), "{words}");
    assert!(words.contains("Four segments."), "{words}");
    assert!(stage.browser.text("return document.querySelector('#badges').textContent").contains("replay"));
    stage.end();
}

#[test]
fn a_close_in_three_segments_has_one_arrow_for_fin_and_ack_and_marks_what_was_slow() {
    let stage = Stage::recorded("FIN_lost.jsonl");
    let rows = ladder(&stage, "kind=active", "three-slow");
    assert_in_order(
        &rows,
        &[
            "wave 1",
            "FIN",
            "sent again 3 times",
            "slow: ",
            "FIN_WAIT1",
            "wave 2+3",
            "FIN, ACK slow",
            "three in all",
            "wave 4",
        ],
    );
    assert!(!rows.contains("wave 2,") && !rows.contains("wave 3,"), "{rows}");
    // The other end is on the same host.
    assert!(
        stage
            .browser
            .text("return document.querySelector('#close .ladder-heads').textContent")
            .contains("also on this host")
    );
    assert_in_order(&rows, &["CLOSE_WAIT", "LAST_ACK"]);
    stage.end();
}

#[test]
fn fins_that_crossed_are_drawn_crossing() {
    let stage = Stage::recorded("simultaneous_close.jsonl");
    let rows = ladder(&stage, "kind=simultaneous", "simultaneous");
    assert_in_order(&rows, &["wave 1", "FIN", "wave 2", "FIN", "wave 3", "ACK", "wave 4", "ACK"]);
    let heads = stage.browser.script("return document.querySelectorAll('#close .cross .head').length");
    assert_eq!(heads, 2);
    stage.end();
}

#[test]
fn a_reset_is_an_arrow_of_its_own_with_its_cause() {
    let stage = Stage::recorded("reset_by_unread_data.jsonl");
    let rows = ladder(&stage, "kind=reset&state=", "reset");
    assert_in_order(&rows, &["RST"]);
    assert!(!rows.contains("wave"), "no FIN was sent: {rows}");
    stage.end();
}

#[test]
fn a_refused_connection_is_a_syn_and_a_reset() {
    let stage = Stage::recorded("refused_connect.jsonl");
    let rows = ladder(&stage, "kind=refused", "refused");
    assert_in_order(&rows, &["sent to the peer: SYN", "received from the peer: RST"]);
    stage.end();
}

#[test]
fn waves_that_were_not_seen_are_dashed_and_say_why() {
    let stage = Stage::recorded("unread_data_after_FIN.jsonl");
    let rows = ladder(&stage, "kind=reset", "unseen");
    assert_in_order(
        &rows,
        &["wave 1", "FIN", "? ", "not seen", "wave 2", "ACK", "no hook in force shows it", "RST"],
    );
    let dashes = stage.browser.text("return getComputedStyle(document.querySelector('#close .is-unknown .arrow-line line')).strokeDasharray");
    assert_ne!(dashes, "none");
    stage.end();
}

#[test]
fn a_close_that_is_not_kept_says_so() {
    let stage = Stage::recorded("refused_connect.jsonl");
    let browser = &stage.browser;
    browser.go(&stage.served.url("/c/0-0-0"));
    browser.wait("the answer", "return document.querySelector('#close').textContent.includes('is not kept')");
    stage.asked_nobody_else();
}
