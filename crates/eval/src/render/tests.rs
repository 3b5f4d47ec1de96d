//! A report as HTML and Markdown: what has to be in it, and what may never be.

use super::*;
use crate::gate::{Change, Gate};
use crate::report::{Candidate, Class, Confused, Failure, Field, Goal, Row};
use crate::verdict::{Overall, Verdict};
use proptest::prelude::*;
use serde_json::json;

/// What nothing in a page may load or run.
const FOREIGN: &[&str] =
    &["<script", "src=", "url(", "@import", " style=", "onload", "onclick", "javascript:", "http:", "https:"];

fn check(report: &Report) -> String {
    let page = html(report);
    for foreign in FOREIGN {
        assert!(!page.contains(foreign), "the page has {foreign}");
    }
    for element in ["html", "table", "details", "svg", "g", "section", "dl", "ul", "figure", "div", "bdi"] {
        let opened = page.matches(&format!("<{element}>")).count() + page.matches(&format!("<{element} ")).count();
        assert_eq!(opened, page.matches(&format!("</{element}>")).count(), "{element} is opened and closed");
    }
    assert!(!page.contains("NaN") && !page.contains("inf\""), "the page has what is no number");
    page
}

#[test]
fn the_verdict_is_first() {
    let page = check(&sample::report());
    let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("expected {text} in {page}"));
    let order = [
        "<h1>Good enough: use linear</h1>",
        "No language model needed",
        "What to do next",
        "Worse than in main.json by more than chance: smollm2:135m. The earlier run is",
        "Cost and quality",
        "Latency and quality",
        "id=\"candidates\"",
        "id=\"candidate-1\"",
        "Side by side",
        "How this was measured",
    ];
    assert!(order.map(at).is_sorted());
}

#[test]
fn a_candidate_has_all_that_was_found() {
    let page = check(&sample::report());
    for found in [
        "91.6 %</b> <small>90.4–92.6 %</small>",
        "macro_f1",
        "The other 28 labels",
        "why_verify_identity",
        "Calibration error (ECE)",
        "transaction_charged_twice",
        "row 318: <bdi>429 Too Many Requests, after 5 tries</bdi>",
        "214, of 3 tries each",
        "of them by an earlier run",
        "ended early: enough was known",
        "p95 lies above 201 ms, of 12 rows",
        "Not in the plot: <bdi>own-endpoint: no price is known</bdi>.",
        "&lt; $0.000001",
        "494 million weights",
        "goal 90 %",
    ] {
        assert!(page.contains(found), "expected {found}");
    }
}

#[test]
fn a_few_labels_are_a_square_and_many_looks_are_a_warning() {
    let page = check(&sample::undecided());
    for found in [
        "<h1>Not enough evidence</h1>",
        "Label about 1,340 more rows",
        "class=\"square\"",
        "That is often",
        "35 groups",
    ] {
        assert!(page.contains(found), "expected {found}");
    }
    assert!(!page.contains("Side by side"));
}

#[test]
fn the_policy_allows_the_style_of_the_page_alone() {
    let page = html(&sample::report());
    let style = page.split_once("<style>").and_then(|(_, rest)| rest.split_once("</style>")).unwrap().0;
    let digest = BASE64_STANDARD.encode(Sha256::digest(style));
    assert_eq!(
        policy(),
        format!("default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'")
    );
    assert!(page.contains(&format!("content=\"{}\"", policy())));
}

/// Texts that want to be more than text.
const HOSTILE: &[&str] = &[
    "</script><script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onclick='alert(1)",
    "{{ page }}{% raw %}",
    "</title></style></svg>",
    "card\u{202e}evil\u{2066}",
    "]]>--><!--",
    "\0\u{1b}[31m",
    "| a | b |\n# c\n`d`",
];

fn hostile(text: &str) -> Report {
    let mut report = sample::undecided();
    let words = || text.to_owned();
    report.candidates.push(Candidate {
        name: words(),
        answerer: words(),
        reasons: vec![words()],
        advice: vec![words()],
        failures: vec![Failure { number: 1, reason: words() }],
        classes: vec![Class { label: Some(words()), rows: 2, precision: None, recall: Some(0.5), f1: None }],
        confused: vec![Confused { expected: Some(words()), given: None, rows: 1 }],
        worst: vec![Row {
            number: 1,
            input: words(),
            expected: json!(text),
            outcome: json!({"label": text, text: text}),
            confidence: None,
            score: None,
        }],
        ..sample::candidate("hostile")
    });
    (report.run, report.task, report.kind) = (words(), words(), words());
    report.verdict = Overall { text: words(), recommended: Some(words()), ..report.verdict };
    (report.goal.metric, report.goal.about) = (words(), words());
    (report.test.table, report.test.sha256) = (words(), words());
    (report.notes, report.warnings) = (vec![words()], vec![words()]);
    let gate = sample::report().gate.unwrap();
    let change = Change { candidate: words(), reasons: vec![words()], ..gate.changes[0].clone() };
    let (file, run, said, warnings) = (words(), words(), words(), vec![words()]);
    report.gate = Some(Gate { file, run, text: said, changes: vec![change], warnings, ..gate });
    report
}

#[test]
fn whatever_data_says_is_text() {
    for text in HOSTILE {
        let report = hostile(text);
        let page = html(&report);
        assert!(!page.contains("<script") && !page.contains("<img") && !page.contains(" onclick='"), "{text}");
        assert_eq!(page.matches("</title>").count(), html(&hostile("plain")).matches("</title>").count(), "{text}");
        assert_eq!(page.matches("</style>").count(), 1, "{text}");
        assert!(!page.contains(['\u{202e}', '\u{2066}', '\0', '\u{1b}']), "{text}");
        let markdown = markdown(&report);
        assert!(
            !markdown.contains(['\u{202e}', '\0']) && !markdown.lines().any(|line| line.starts_with("# c")),
            "{text}"
        );
        let bars = |line: &str| line.matches('|').count() - line.matches("\\|").count();
        for (line, next) in markdown.lines().zip(markdown.lines().skip(1)) {
            let is_table = line.starts_with('|') && next.starts_with('|');
            assert!(!is_table || bars(line) == bars(next), "{text}: a row of a table has other cells: {next}");
        }
    }
    assert!(html(&hostile("card\u{202e}")).contains("card[U+202E]"));
}

#[test]
fn nothing_to_show_is_shown_too() {
    let mut report = sample::report();
    (report.candidates, report.comparisons) = (Vec::new(), Vec::new());
    report.verdict =
        Overall { verdict: None, recommended: None, text: "Nothing was evaluated.".to_owned(), more_rows: None };
    report.goal.threshold = None;
    report.test.rows = 0;
    let page = check(&report);
    assert!(page.contains("No verdict: the task names no threshold") && page.contains("No candidate was evaluated."));
    assert!(markdown(&report).contains("No candidate was evaluated."));
}

#[test]
fn fields_of_an_extraction_are_a_table() {
    let mut report = sample::undecided();
    let field = |field: &str, f1| Field { field: field.to_owned(), precision: Some(0.9), recall: Some(0.8), f1 };
    report.candidates[0].fields = vec![field("/date", Some(0.93)), field("/total", Some(0.41))];
    report.candidates[0].classes = Vec::new();
    let page = check(&report);
    assert!(page.find("/total").unwrap() < page.find("/date").unwrap());
    assert!(markdown(&report).contains("the worst fields by F1: `/total` 41.0 %, `/date` 93.0 %."));
}

#[test]
fn of_some_metrics_less_is_better() {
    let mut report = sample::undecided();
    report.goal =
        Goal { metric: "perplexity".to_owned(), threshold: Some(12.0), is_better_higher: false, ..report.goal };
    report.candidates[0].figure = Some(sample::figure(11.3, 10.9, 11.84));
    let page = check(&report);
    for found in ["perplexity, less is better", "perplexity of at most 12", "11.3</b> <small>10.9–11.8<", "goal 12<"]
    {
        assert!(page.contains(found), "expected {found}");
    }
    assert!(markdown(&report).contains("| 11.3 | 10.9–11.8 |"));
}

#[test]
fn without_a_threshold_nobody_is_judged() {
    let mut report = sample::report();
    (report.goal.threshold, report.verdict.verdict, report.verdict.recommended) = (None, None, None);
    report.candidates.iter_mut().for_each(|candidate| candidate.verdict = None);
    let page = check(&report);
    assert!(!page.contains("class=\"badge") && !page.contains("<th>Verdict</th>"));
    assert!(page.contains("Name a threshold in the task file"));
}

#[test]
fn a_pull_request_shows_the_essentials() {
    insta::assert_snapshot!("markdown", markdown(&sample::report()));
}

fn odd_number() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(0.0),
        Just(1.0),
        any::<f64>(),
        0.0..1.0_f64
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_number_is_too_odd_for_a_page(numbers in prop::collection::vec(odd_number(), 12), verdict in 0..4_usize) {
        let mut report = sample::report();
        let verdict = [None, Some(Verdict::GoodEnough), Some(Verdict::NotGoodEnough), Some(Verdict::NotEnoughEvidence)][verdict];
        report.verdict.verdict = verdict;
        (report.goal.threshold, report.goal.latency_ms_p95) = (Some(numbers[0]), Some(numbers[1]));
        (report.smallest_difference, report.goal.level) = (Some(numbers[2]), numbers[3]);
        for candidate in &mut report.candidates {
            candidate.figure = Some(sample::figure(numbers[4], numbers[5], numbers[6]));
            candidate.cost_per_1000 = Some(numbers[7]);
            candidate.prompt_tokens = numbers[8];
            if let Some(latency) = &mut candidate.latency {
                (latency.p95, latency.p95_low, latency.p95_high) = (numbers[9], numbers[10], Some(numbers[11]));
            }
            for class in &mut candidate.classes {
                (class.f1, class.recall) = (Some(numbers[4]), Some(numbers[5]));
            }
            if let Some(calibration) = &mut candidate.calibration {
                calibration.bins[0].confidence = numbers[0];
                calibration.bins[1].right.low = numbers[1];
                calibration.ece = numbers[2];
            }
        }
        for change in report.gate.iter_mut().flat_map(|gate| &mut gate.changes) {
            (change.p, change.difference) = (Some(numbers[3]), Some(sample::figure(numbers[4], numbers[5], numbers[6])));
        }
        for comparison in &mut report.comparisons {
            (comparison.p, comparison.difference.value) = (numbers[0], numbers[1]);
        }
        check(&report);
        prop_assert!(!markdown(&report).contains("NaN"));
    }
}
