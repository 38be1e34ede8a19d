//! What the page looks like, and whether everybody can use it.

use crate::stage::Stage;
use crate::webdriver::TAB;

const DIALOG: &str = "return document.querySelector('#close .ladder') !== null";

/// Texts with less contrast than WCAG's AA asks, each with its ratio.
const FAINT: &str = r"
const channel = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const parse = (text) => { const numbers = text.match(/[\d.]+/g)?.map(Number) ?? [0, 0, 0, 0]; return numbers.length === 3 ? [...numbers, 1] : numbers; };
const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3]));
const ground = (node) => {
  const layers = [];
  for (let at = node; at; at = at.parentElement) { const colour = parse(getComputedStyle(at).backgroundColor); layers.push(colour); if (colour[3] === 1) break; }
  return layers.reduceRight((under, top) => over(top, under), [255, 255, 255]);
};
const root = document.querySelector('dialog[open]') ?? document.body;
const faint = new Map();
const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !node.checkVisibility() || node.closest(':disabled, .spoken, .hidden, option, title, script, noscript, dialog:not([open])')) continue;
  const style = getComputedStyle(node);
  const ink = parse(node instanceof SVGElement ? style.fill : style.color);
  const behind = ground(node instanceof SVGElement ? node.ownerSVGElement.parentElement : node);
  const [a, b] = [luminance(over(ink, behind)), luminance(behind)].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && Number(style.fontWeight) >= 700);
  if (ratio < (large ? 3 : 4.5)) faint.set(`${node.tagName}.${node.getAttribute('class')} ${style.color} on ${behind}`, `${ratio.toFixed(2)}: ${walker.currentNode.data.trim()}`);
}
return [...faint].map((entry) => entry.join(' '));
";

/// Everything that the keyboard must reach, by a name that stays when a chart is drawn anew.
const CONTROLS: &str = r#"
const name = (node) => [node.tagName, node.id || node.name || node.getAttribute('href') || node.getAttribute('aria-label')?.split(';')[0] || node.dataset.word || node.textContent.trim()].join(' ');
const all = [...(document.querySelector('dialog[open]') ?? document).querySelectorAll('a[href], button:not(:disabled), select, input, summary, [tabindex="0"]')];
"#;

#[test]
fn both_themes_are_there_and_the_choice_is_remembered() {
    let stage = Stage::played();
    let browser = &stage.browser;
    browser.wait("charts", "return document.querySelector('.heat-panel .cell') !== null");
    let ground = || browser.text("return getComputedStyle(document.body).backgroundColor");
    browser.prefer("light");
    let light = ground();
    stage.picture("overview-light");
    browser.prefer("dark");
    let dark = ground();
    stage.picture("overview-dark");
    assert_ne!(light, dark);
    browser.click("#theme");
    assert_eq!(
        (browser.text("return document.querySelector('#theme').textContent"), ground()),
        ("Theme: light".into(), light.clone())
    );
    browser.reload();
    browser.wait("the page", "return document.querySelector('#health .mark') !== null");
    assert_eq!(ground(), light, "the choice outlives a reload");
    browser.click("#theme");
    browser.prefer("light");
    assert_eq!(ground(), dark);
    stage.end();
}

#[test]
fn every_text_stands_out_from_its_ground_in_both_themes() {
    let stage = Stage::played();
    let browser = &stage.browser;
    browser.wait("charts", "return document.querySelector('.heat-panel .cell') !== null");
    for page in ["/", "/?kind=reset", "close"] {
        if page == "close" {
            browser.click("#feed > li a");
            browser.wait("the ladder", DIALOG);
        } else {
            browser.go(&stage.served.url(page));
            browser.wait("closes", "return document.querySelector('#feed > li') !== null && document.querySelector('.heat-panel .cell') !== null");
        }
        for theme in ["light", "dark"] {
            browser.prefer(theme);
            let faint = browser.script(FAINT);
            assert_eq!(faint, serde_json::json!([]), "{page}, {theme}");
        }
    }
    stage.end();
}

#[test]
fn a_telephone_shows_it_without_scrolling_sideways() {
    let stage = Stage::played();
    let browser = &stage.browser;
    browser.resize(360, 740);
    browser.go(&stage.served.url("/"));
    browser.wait("closes", "return document.querySelector('#feed > li') !== null && document.querySelector('.heat-panel .cell') !== null");
    let wide = "const node = document.querySelector('dialog[open]') ?? document.documentElement; return node.scrollWidth > node.clientWidth && `${node.scrollWidth} px of ${node.clientWidth}`";
    assert_eq!(browser.script(wide), false);
    stage.picture("telephone-light");
    browser.script("document.querySelector('#feed > li a').click()");
    browser.wait("the ladder", DIALOG);
    assert_eq!(browser.script(wide), false);
    stage.picture("telephone-ladder-light");
    browser.prefer("dark");
    stage.picture("telephone-ladder-dark");
    stage.end();
}

#[test]
fn every_control_is_reached_by_tab_and_shows_that_it_has_the_focus() {
    let stage = Stage::played();
    let browser = &stage.browser;
    browser.wait("everything", "return document.querySelector('.heat-panel .cell') !== null && document.querySelector('#services tbody tr') !== null");
    reach_all(&stage);
    browser.click("#feed > li a");
    browser.wait("the ladder", DIALOG);
    reach_all(&stage);
    stage.end();
}

/// Presses Tab until every control has had the focus.
fn reach_all(stage: &Stage) {
    let browser = &stage.browser;
    let wanted =
        format!("{CONTROLS} return [...new Set(all.filter((node) => node.checkVisibility()).map(name))]");
    let mut left: Vec<String> = serde_json::from_value(browser.script(&wanted)).expect("names");
    let count = left.len();
    assert!(count >= 4, "{left:?}");
    let here = format!(
        "{CONTROLS} const node = document.activeElement; const style = getComputedStyle(node); return node === document.body || node.tagName === 'DIALOG' ? [] : [name(node), style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2]"
    );
    for _ in 0..2 * count + 20 {
        browser.press(TAB);
        let focus = browser.script(&here);
        let Some(name) = focus[0].as_str() else { continue };
        assert_eq!(focus[1], true, "{name} has the focus and does not show it");
        left.retain(|other| other != name);
        if left.is_empty() {
            return;
        }
    }
    panic!("never reached by Tab: {left:#?}");
}
