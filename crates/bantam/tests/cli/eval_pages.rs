//! The pages of evaluations in a real browser: rows are answered and stand in the table, a live run becomes its report.

use crate::browser::Browser;
use crate::desk::Desk;
use crate::eval::{BASELINES, fill};
use crate::serve::Serving;
use ledger::{Ledger, NewRun, Run};
use serde_json::{Value, json};

/// A server of a task over tables, and a browser; none where there is no browser.
fn scene(model: &str) -> Option<(Desk, Serving, Browser)> {
    let browser = Browser::start()?;
    let desk = Desk::without_model();
    fill(&desk, "threshold = 0.9", BASELINES);
    desk.write("triage.toml", format!("{model}{}", desk.read("triage.toml")));
    let task = desk.path("triage.toml");
    let server = Serving::start(desk.home.path(), &["--log-level", "error", "--task", task.to_str().unwrap()]);
    Some((desk, server, browser))
}

const MODEL: &str = "model = \"small\"\n";

#[test]
fn a_person_answers_rows_and_they_stand_in_the_table() {
    let Some((desk, server, browser)) = scene(MODEL) else { return };
    desk.write("test.csv", "id,text,label\r\n1,\"x, \"\"y\"\"\",\r\n2,z,account\r\n3,w,\r\n4,v,\r\n5,u,\r\n");
    browser.open(&format!("{}/evals", server.url));
    browser.wait("document.querySelector('#labels a') !== null");
    assert!(browser.value("document.getElementById('labels').innerText").as_str().unwrap().contains("4 rows of 5"));
    browser.click("#labels a");
    browser.wait("document.querySelectorAll('#answer button').length === 2");
    assert_eq!(browser.value("document.querySelector('#input .text').textContent"), "x, \"y\"");
    // By key, by click, skipped, by key; then the last one is put right.
    browser.type_into("body", "1");
    browser.wait("document.getElementById('number').textContent === 'Row 3'");
    browser.click("#answer button:nth-child(2)");
    browser.wait("document.getElementById('number').textContent === 'Row 4'");
    browser.type_into("body", "s");
    browser.wait("document.getElementById('number').textContent === 'Row 5'");
    browser.type_into("body", "1");
    browser.wait("document.getElementById('notice').textContent.startsWith('1 row was skipped')");
    browser.type_into("body", "z");
    browser.wait("document.getElementById('number').textContent === 'Row 5'");
    browser.type_into("body", "2");
    browser.wait("document.getElementById('row').hidden");
    let table = "id,text,label\r\n1,\"x, \"\"y\"\"\",billing\r\n2,z,account\r\n3,w,account\r\n4,v,\r\n5,u,account\r\n";
    assert_eq!(desk.read("test.csv"), table);
    assert_eq!(browser.value("document.getElementById('left').textContent"), "1 row of 5 to answer");
    // What somebody else did meanwhile is seen, and not written over.
    browser.command("refresh", &json!({}));
    browser.wait("document.getElementById('number').textContent === 'Row 4'");
    desk.write("test.csv", table.replace("4,v,", "4,other,"));
    browser.type_into("body", "1");
    browser.wait("document.getElementById('notice').textContent.includes('row 4 is another one by now')");
    browser.wait("document.querySelector('#input .text').textContent === 'other'");
    assert_eq!(desk.read("test.csv"), table.replace("4,v,", "4,other,"));
}

/// A run like another one, begun and not ended.
fn begun(ledger: &Ledger, like: &Run) -> Run {
    ledger.create_run(&NewRun { name: "live".to_owned(), ..like.new.clone() }).unwrap()
}

#[test]
fn a_run_is_watched_until_it_is_a_report() {
    let Some((desk, server, browser)) = scene(MODEL) else { return };
    desk.done(&["eval", "triage.toml"]);
    let ledger = Ledger::open(&desk.home.path().join("ledger.sqlite")).unwrap();
    let done = ledger.run("triage-1").unwrap().unwrap();
    let rows = ledger.run_rows(done.id).unwrap();
    let live = begun(&ledger, &done);
    let held = ledger.hold_run(&live).unwrap();
    ledger.record_rows(live.id, &rows[..30]).unwrap();
    browser.open(&format!("{}/evals", server.url));
    browser.wait("document.querySelectorAll('#runs tr').length === 2");
    assert_eq!(browser.value("document.querySelector('#runs tr .badge').textContent"), "running");
    browser.click("#runs tr a");
    browser.wait("document.getElementById('progress').innerText.includes('30 of 80')");
    ledger.record_rows(live.id, &rows[30..100]).unwrap();
    browser.wait("document.getElementById('progress').innerText.includes('20 of 80')");
    drop(held);
    browser.wait("document.getElementById('notice').textContent.startsWith('Nobody is at it')");
    let held = ledger.hold_run(&live).unwrap();
    ledger.record_rows(live.id, &rows[100..]).unwrap();
    ledger.end_run(live.id, &done.report.clone().unwrap()).unwrap();
    drop(held);
    browser.wait("!document.getElementById('report').hidden");
    let frame = "document.getElementById('report').contentDocument";
    browser.wait(&format!("{frame}.querySelector('h1') !== null"));
    assert_eq!(browser.value(&format!("{frame}.querySelector('h1').textContent")), "Good enough: use linear");
    browser.wait(&format!("getComputedStyle({frame}.querySelector('.verdict')).borderLeftWidth !== '0px'"));
    browser.wait(&format!("document.getElementById('report').clientHeight > {frame}.body.clientHeight - 2"));
    // Its rows, and what changed.
    browser.open(&format!("{}/evals/triage-1/rows?only=wrong&candidate=0", server.url));
    browser.wait("document.querySelectorAll('#rows tr').length === 40");
    let first = browser.value("document.querySelector('#rows tr').innerText");
    assert!(first.as_str().unwrap().contains("about my"), "{first}");
    browser.open(&format!("{}/evals/compare?a=triage-1&b=live", server.url));
    browser.wait("document.querySelectorAll('.change').length === 2");
    assert_eq!(browser.complaints(), Vec::<Value>::new());
}
