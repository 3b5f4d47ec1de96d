//! The pages in a real browser: ask a real model, watch the answer come, stop it, reload.
//!
//! Needs `chromium` and `chromedriver`; without them it says that it is skipped, and with `BANTAM_CI=1` it fails. The
//! browser is driven over WebDriver (W3C Recommendation), a handful of its commands.

use crate::models::{CHAT, store};
use crate::serve::{Serving, client};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A browser with one window, ended when dropped.
struct Browser {
    driver: Child,
    session: String,
}

impl Browser {
    /// None where there is no driver.
    fn start() -> Option<Browser> {
        let mut driver = match Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).spawn() {
            Ok(driver) => driver,
            Err(_) => {
                assert!(std::env::var_os("BANTAM_CI").is_none(), "chromedriver is not here, and BANTAM_CI is set");
                eprintln!("skipped: chromedriver is not here (packages chromium and chromium-driver)");
                return None;
            }
        };
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.find_map(|line| {
            let line = line.expect("chromedriver writes text");
            let rest = line.split_once("on port ")?.1.trim_end_matches('.').to_owned();
            // It says first which port it was asked for: any, as 0.
            rest.parse::<u16>().ok().filter(|port| *port != 0)
        });
        let driver_url = format!("http://127.0.0.1:{}", port.expect("chromedriver tells its port"));
        // What it says later has a reader, so that it never waits for one.
        std::thread::spawn(move || lines.for_each(drop));
        let options = json!({"args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1200,800"]});
        let wanted = json!({"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}});
        let request = client().post(format!("{driver_url}/session"));
        let answer = request.body(json!({"capabilities": wanted}).to_string()).send().unwrap().text().unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let id = answer["value"]["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {answer}"));
        Some(Browser { session: format!("{driver_url}/session/{id}"), driver })
    }

    fn command(&self, path: &str, body: &Value) -> Value {
        let request = client().post(format!("{}/{path}", self.session)).body(body.to_string());
        let answer: Value = serde_json::from_str(&request.send().unwrap().text().unwrap()).unwrap();
        assert!(answer["value"]["error"].is_null(), "{path}: {answer}");
        answer["value"].clone()
    }

    fn open(&self, url: &str) {
        self.command("url", &json!({"url": url}));
    }

    /// What an expression of JavaScript is on the page.
    fn value(&self, expression: &str) -> Value {
        self.command("execute/sync", &json!({"script": format!("return {expression}"), "args": []}))
    }

    fn wait(&self, expression: &str) {
        let begin = Instant::now();
        while self.value(expression) != json!(true) {
            let page = self.value("document.body.innerText");
            assert!(begin.elapsed() < Duration::from_secs(60), "waited in vain for {expression} on: {page}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn element(&self, css: &str) -> String {
        let found = self.command("element", &json!({"using": "css selector", "value": css}));
        let id = found.as_object().and_then(|found| found.values().next()).and_then(Value::as_str);
        id.unwrap_or_else(|| panic!("no element {css}")).to_owned()
    }

    fn type_into(&self, css: &str, text: &str) {
        self.command(&format!("element/{}/value", self.element(css)), &json!({"text": text}));
    }

    fn click(&self, css: &str) {
        self.command(&format!("element/{}/click", self.element(css)), &json!({}));
    }

    /// What the browser complained of.
    fn complaints(&self) -> Vec<Value> {
        let all = self.command("se/log", &json!({"type": "browser"}));
        let severe = all.as_array().unwrap().iter().filter(|entry| entry["level"] == "SEVERE");
        severe.cloned().collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = client().delete(&self.session).send();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

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
