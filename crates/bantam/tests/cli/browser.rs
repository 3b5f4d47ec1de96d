//! A real browser to look at pages with.
//!
//! Needs `chromium` and `chromedriver`; without them it says that it is skipped, and with `BANTAM_CI=1` it fails. The
//! browser is driven over WebDriver (W3C Recommendation), a handful of its commands.

use crate::serve::client;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A browser with one window, ended when dropped.
pub struct Browser {
    driver: Child,
    session: String,
}

impl Browser {
    /// None where there is no driver.
    pub fn start() -> Option<Browser> {
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

    /// A command of WebDriver, with its answer.
    pub fn command(&self, path: &str, body: &Value) -> Value {
        let request = client().post(format!("{}/{path}", self.session)).body(body.to_string());
        let answer: Value = serde_json::from_str(&request.send().unwrap().text().unwrap()).unwrap();
        assert!(answer["value"]["error"].is_null(), "{path}: {answer}");
        answer["value"].clone()
    }

    /// Goes to an address.
    pub fn open(&self, url: &str) {
        self.command("url", &json!({"url": url}));
    }

    /// What an expression of JavaScript is on the page.
    pub fn value(&self, expression: &str) -> Value {
        self.command("execute/sync", &json!({"script": format!("return {expression}"), "args": []}))
    }

    /// Waits until an expression is true.
    pub fn wait(&self, expression: &str) {
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

    /// Presses keys in an element.
    pub fn type_into(&self, css: &str, text: &str) {
        self.command(&format!("element/{}/value", self.element(css)), &json!({"text": text}));
    }

    /// Clicks on an element.
    pub fn click(&self, css: &str) {
        self.command(&format!("element/{}/click", self.element(css)), &json!({}));
    }

    /// What the browser complained of.
    pub fn complaints(&self) -> Vec<Value> {
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
