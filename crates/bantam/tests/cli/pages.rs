//! The pages in a real browser: ask a real model, watch the answer come, stop it, reload.

use crate::browser::Browser;
use crate::models::{CHAT, store};
use crate::serve::Serving;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The text of the newest answer.
const ANSWER: &str = "[...document.querySelectorAll('.turn.assistant .text')].at(-1).textContent";

#[test]
fn a_person_asks_watches_stops_and_reloads() {
    let Some(home) = store(CHAT) else { return };
    let Some(browser) = Browser::start() else { return };
    let server = Serving::start(&home, &[CHAT]);
    server.wait_until_ready();
    browser.open(&format!("{}/", server.url));
    browser.wait("document.querySelectorAll('#model option').length > 0");
    browser.wait(&format!("[...document.querySelectorAll('#model option')].some((one) => one.value === '{CHAT}')"));
    browser.command(
        "execute/sync",
        &json!({"script": format!("document.getElementById('model').value = '{CHAT}'"), "args": []}),
    );

    // Ask; Enter sends.
    browser.type_into("#temperature", "0");
    browser.type_into("#question", "What is 2 plus 2?\u{e007}");
    browser.wait("document.body.dataset.running === 'no' && document.querySelectorAll('.turn.assistant').length === 1");
    let answer = browser.value(&format!("document.querySelectorAll('.turn.assistant .text').length && {ANSWER}"));
    assert!(answer.as_str().unwrap().contains('4'), "{answer}");
    let speed = browser.value("document.querySelector('.turn.assistant .speed').textContent");
    assert!(speed.as_str().unwrap().contains("tokens/s"), "{speed}");

    // Watch a long one grow, then stop it.
    browser.type_into("#question", "Write a very long story about a hen.\u{e007}");
    browser.wait(&format!("document.body.dataset.running === 'yes' && {ANSWER}.length > 20"));
    let before = browser.value(&format!("{ANSWER}.length")).as_u64().unwrap();
    browser.wait(&format!("{ANSWER}.length > {before}"));
    browser.click("#stop");
    browser.wait("document.body.dataset.running === 'no'");
    let kept = browser.value(ANSWER);
    assert_eq!(browser.value("document.getElementById('notice').textContent"), "Stopped.");
    // The server lets go of it: nothing is computed any more.
    let begin = Instant::now();
    let is_idle = |state: &Value| state["under_way"] == 0 && state["models"][0]["activity"]["running"] == 0;
    let state = || serde_json::from_str::<Value>(&server.get("/status.json").1).unwrap();
    while !is_idle(&state()) {
        assert!(begin.elapsed() < Duration::from_secs(20), "still computing: {}", state());
        std::thread::sleep(Duration::from_millis(20));
    }

    // Reload: the conversation is still there, and goes on.
    browser.command("refresh", &json!({}));
    browser.wait("document.querySelectorAll('.turn.assistant').length === 2");
    assert_eq!(browser.value(ANSWER), kept);
    browser.click("#curl");
    browser.wait("(document.body.dataset.curl || '').includes('/v1/chat/completions')");
    browser.click("#clear");
    browser.wait("document.querySelectorAll('.turn').length === 0");

    // The other pages.
    browser.open(&format!("{}/status", server.url));
    browser.wait("document.querySelectorAll('#models tr').length === 1 && document.querySelector('#plot_requests polyline') !== null");
    browser.open(&format!("{}/docs", server.url));
    browser.wait("document.querySelectorAll('article').length > 5");
    assert_eq!(browser.complaints(), Vec::<Value>::new());
    let (code, err) = server.end("-TERM");
    assert_eq!(code, 0, "{err}");
}
