//! Whole evaluations of candidates that answer what they are told to.

use super::*;
use crate::contender::Price;
use crate::gate::{Course, Method};
use crate::grader::{Grade, Graded, Grader};
use crate::metrics::Judged;
use crate::report::Place;
use crate::test_set::Leaks;
use chat::ChatError;
use futures::executor::block_on;
use futures::future::BoxFuture;
use serde_json::Map;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tasks::{Input, Machine, Outcome, TaskError, Work};

/// Answers by a function of the text, and counts how often it is asked.
struct Scripted<F> {
    answer: F,
    asked: Arc<AtomicUsize>,
}

impl<F: Fn(&str) -> Result<&'static str, TaskError> + Send + Sync> Work for Scripted<F> {
    fn ask<'a>(&'a self, input: &'a Input) -> BoxFuture<'a, Result<Outcome, TaskError>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = (self.answer)(input.fields["text"].as_str().unwrap());
        Box::pin(async move {
            let fields: Map<_, _> = [("label".to_owned(), answer?.into())].into_iter().collect();
            Ok(Outcome { fields, prompt_tokens: 10, completion_tokens: 1, ..Outcome::default() })
        })
    }

    fn concurrency(&self) -> usize {
        4
    }
}

struct Nobody;

impl Watch for Nobody {
    fn judged(&self, _: usize, _: usize, _: bool, _: Option<f64>) {}
}

/// Sets a flag once so many rows were judged.
struct After<'f>(usize, &'f AtomicBool);

impl Watch for After<'_> {
    fn judged(&self, done: usize, _: usize, _: bool, _: Option<f64>) {
        if done == self.0 {
            self.1.store(true, Ordering::SeqCst);
        }
    }
}

/// A folder with a test of so many texts, `0` to `n`, each of them labelled a.
struct Scene {
    folder: tempfile::TempDir,
    ledger: Ledger,
    asked: Arc<AtomicUsize>,
    place: Place,
}

impl Scene {
    fn new(rows: usize) -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let lines: String = (0..rows).map(|row| format!("{row},a\n")).collect();
        std::fs::write(folder.path().join("test.csv"), format!("text,label\n{lines}")).unwrap();
        let ledger = Ledger::open(&folder.path().join("ledger.sqlite")).unwrap();
        Scene { folder, ledger, asked: Arc::default(), place: Place::Local }
    }

    fn task(&self, goal: &str) -> Task {
        let text = format!(
            "kind = \"classify\"\n[data]\ntest = \"test.csv\"\nexpected = \"label\"\n\
             [classify]\nlabels = [\"a\", \"b\"]\n[goal]\n{goal}\n"
        );
        Task::parse(&text, &self.folder.path().join("triage.toml")).unwrap()
    }

    fn begin(&self, goal: &str, names: &[&str], options: Options) -> Result<Evaluation<'_>, EvalError> {
        self.plan(goal, names, options)?.begin()
    }

    fn plan(&self, goal: &str, names: &[&str], options: Options) -> Result<Plan<'_>, EvalError> {
        let task = self.task(goal);
        let entrant = |name: &&str| Entrant {
            name: (*name).to_owned(),
            answerer: (*name).to_owned(),
            place: self.place,
            fingerprint: format!("digest of {name}"),
            task: task.clone(),
        };
        let test = TestSet::read(&task, None, Leaks::Refused).unwrap();
        Plan::new(&self.ledger, task.clone(), test, names.iter().map(entrant).collect(), options)
    }

    fn contender(&self, answer: impl Fn(&str) -> Result<&'static str, TaskError> + Send + Sync + 'static) -> Contender {
        Contender {
            tries: vec![Arc::new(Scripted { answer, asked: Arc::clone(&self.asked) })],
            preview: Box::new(|input| Some(format!("Which? {}", input.fields["text"]))),
            price: Price::Machine(Machine { watts: 0.0, price_per_kwh: 0.0, price_per_hour: 3.6 }),
            parameters: Some(1),
        }
    }

    fn judge(&self, evaluation: &mut Evaluation<'_>, contender: &Contender) {
        block_on(evaluation.judge(contender, &Nobody, &AtomicBool::new(false))).unwrap();
    }

    fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::SeqCst)
    }
}

fn number(text: &str) -> usize {
    text.parse().unwrap()
}

/// Right on all but every so many texts.
fn wrong_every(rows: usize) -> impl Fn(&str) -> Result<&'static str, TaskError> + Send + Sync + 'static {
    move |text| Ok(if number(text).is_multiple_of(rows) { "b" } else { "a" })
}

#[test]
fn the_cheapest_that_is_good_enough_is_recommended_and_the_others_are_told_why_not() {
    let scene = Scene::new(200);
    let mut evaluation = scene.begin("threshold = 0.9", &["good", "bad", "even"], Options::default()).unwrap();
    scene.judge(&mut evaluation, &scene.contender(wrong_every(50)));
    scene.judge(&mut evaluation, &scene.contender(wrong_every(2)));
    scene.judge(&mut evaluation, &scene.contender(wrong_every(10)));
    let report = evaluation.finish().unwrap();
    let verdicts: Vec<_> = report.candidates.iter().map(|candidate| candidate.verdict.unwrap()).collect();
    assert_eq!(verdicts, [Verdict::GoodEnough, Verdict::NotGoodEnough, Verdict::NotEnoughEvidence]);
    assert_eq!(report.verdict.recommended.as_deref(), Some("good"));
    assert_eq!(report.verdict.text, "Take good: the cheapest that is good enough for accuracy of 0.9.");
    let [good, bad, _] = &report.candidates[..] else { panic!("{report:?}") };
    let figure = good.figure.unwrap();
    assert!((figure.value - 0.98).abs() < 1e-9 && figure.low > 0.9 && figure.high < 1.0, "{figure:?}");
    assert!(bad.reasons[0].starts_with("accuracy is 0.500, between 0."), "{:?}", bad.reasons);
    assert!(bad.reasons[0].ends_with(": all of it short of 0.9"), "{:?}", bad.reasons);
    assert_eq!(bad.advice[0], "good does better on the same rows: 0.980");
    assert!(
        !bad.advice.iter().any(|line| line.starts_with("it fails most")),
        "both labels say nothing: {:?}",
        bad.advice
    );
    assert_eq!(report.comparisons[0].only_other, Some(96));
    assert!(report.comparisons[0].p < 1e-6 && report.comparisons[0].difference.high < -0.3);
    assert_eq!(scene.ledger.run("triage-1").unwrap().unwrap().report, Some(json!(report)));
    assert_eq!((report.test.rows, report.test.looks), (200, 1));
    let shown = "200 rows show 4 times of 5 that a candidate is good enough if it is really right on 95.9 % or more.";
    assert!(report.notes.iter().any(|note| note.starts_with(shown)), "{:?}", report.notes);
}

#[test]
fn a_run_that_was_stopped_goes_on_and_ends_with_the_same_figures() {
    let undisturbed = Scene::new(120);
    let mut evaluation = undisturbed.begin("threshold = 0.9", &["one"], Options::default()).unwrap();
    undisturbed.judge(&mut evaluation, &undisturbed.contender(wrong_every(7)));
    let expected = evaluation.finish().unwrap();
    let scene = Scene::new(120);
    for stop_at in [1, 30, 77] {
        let mut evaluation = scene.begin("threshold = 0.9", &["one"], Options::default()).unwrap();
        let flag = AtomicBool::new(false);
        let contender = scene.contender(wrong_every(7));
        let error = block_on(evaluation.judge(&contender, &After(stop_at, &flag), &flag)).unwrap_err();
        assert_eq!(error.to_string(), "stopped; the same command goes on where it was");
    }
    let mut evaluation = scene.begin("threshold = 0.9", &["one"], Options::default()).unwrap();
    assert!(evaluation.is_resumed);
    scene.judge(&mut evaluation, &scene.contender(wrong_every(7)));
    // What was under way when it was stopped is asked again, and no more than that.
    let asked = scene.asked();
    assert!((120..=120 + 3 * 4).contains(&asked), "{asked}");
    let report = evaluation.finish().unwrap();
    assert_eq!(report.candidates[0].figure, expected.candidates[0].figure);
    assert_eq!(report.candidates[0].worst.len(), expected.candidates[0].worst.len());
    assert_eq!(scene.ledger.runs().unwrap().len(), 1);
}

#[test]
fn what_a_provider_was_asked_is_never_asked_again_however_a_run_ends() {
    let scene = Scene { place: Place::Remote, ..Scene::new(120) };
    for stop_at in [1, 30, 77] {
        let mut evaluation = scene.begin("threshold = 0.9", &["one"], Options::default()).unwrap();
        let flag = AtomicBool::new(false);
        let contender = scene.contender(wrong_every(7));
        block_on(evaluation.judge(&contender, &After(stop_at, &flag), &flag)).unwrap_err();
    }
    let mut evaluation = scene.begin("threshold = 0.9", &["one"], Options::default()).unwrap();
    scene.judge(&mut evaluation, &scene.contender(wrong_every(7)));
    assert_eq!((scene.asked(), evaluation.finish().unwrap().candidates[0].answered), (120, 120));
    // One that is sure before the last row, and one whose rows all fail from some on.
    let options = Options { stop_when_sure: true, ..Options::default() };
    let mut evaluation = scene.begin("threshold = 0.9", &["bad", "broken"], options).unwrap();
    scene.judge(&mut evaluation, &scene.contender(wrong_every(2)));
    let known = |name: &str| scene.ledger.answers(&format!("digest of {name}")).unwrap().len();
    assert_eq!(scene.asked(), known("bad"));
    let calls = AtomicUsize::new(0);
    let breaks = move |_: &str| match calls.fetch_add(1, Ordering::SeqCst) {
        40 => Err(TaskError::Model(ChatError::UnknownModel("no such model".to_owned()))),
        _ => Ok("a"),
    };
    block_on(evaluation.judge(&scene.contender(breaks), &Nobody, &AtomicBool::new(false))).unwrap_err();
    let asked = scene.asked();
    assert_eq!(asked, known("broken") + 1, "all but the one that failed");
    assert!(asked < 50, "{asked}");
}

#[test]
fn a_second_run_of_the_same_rows_asks_nothing() {
    let scene = Scene::new(50);
    for (name, asked) in [("triage-1", 50), ("triage-2", 0)] {
        let mut evaluation = scene.begin("threshold = 0.5", &["one"], Options::default()).unwrap();
        assert_eq!((evaluation.name(), evaluation.is_resumed), (name, false));
        scene.judge(&mut evaluation, &scene.contender(wrong_every(3)));
        let report = evaluation.finish().unwrap();
        assert_eq!((scene.asked(), report.candidates[0].reused), (asked, 50 - asked as u64));
    }
    let options = Options { name: Some("triage-1".to_owned()), ..Options::default() };
    let error = scene.begin("threshold = 0.5", &["one"], options).err().unwrap().to_string();
    assert!(error.starts_with("there is a run \"triage-1\" already\nhint: "), "{error}");
}

/// The report of an undisturbed run in a scene of its own, as its file has it.
fn earlier(
    scene: &Scene,
    goal: &str,
    answer: impl Fn(&str) -> Result<&'static str, TaskError> + Send + Sync + 'static,
) -> Earlier {
    let mut evaluation = scene.begin(goal, &["one"], Options::default()).unwrap();
    scene.judge(&mut evaluation, &scene.contender(answer));
    let path = scene.folder.path().join("main.json");
    std::fs::write(&path, json!(evaluation.finish().unwrap()).to_string()).unwrap();
    Earlier { file: "main.json".to_owned(), ..Earlier::read(&path).unwrap() }
}

/// How a run stands to it, in a scene that never saw the other's ledger.
fn held_against(
    earlier: &Earlier,
    scene: &Scene,
    goal: &str,
    answer: impl Fn(&str) -> Result<&'static str, TaskError> + Send + Sync + 'static,
) -> Gate {
    let options = Options { earlier: Some(earlier.clone()), ..Options::default() };
    let mut evaluation = scene.begin(goal, &["one"], options).unwrap();
    scene.judge(&mut evaluation, &scene.contender(answer));
    evaluation.finish().unwrap().gate.unwrap()
}

#[test]
fn what_got_worse_is_seen_on_the_same_rows_where_two_intervals_would_not_show_it() {
    let goal = "confidence = 0.95";
    let before = earlier(&Scene::new(200), goal, wrong_every(10));
    let worse = |text: &str| Ok(if number(text).is_multiple_of(10) || number(text) % 25 == 1 { "b" } else { "a" });
    let gate = held_against(&before, &Scene::new(200), goal, worse);
    let change = &gate.changes[0];
    assert_eq!((gate.course, change.method, change.rows), (Course::Worse, Method::Paired, 200));
    assert_eq!(gate.text, "Worse than in main.json by more than chance: one.");
    assert!(
        change.reasons[0].starts_with(
            "accuracy was 0.900 and is 0.860 on the 200 rows that both runs answered, a difference of -0.040 (-0.0"
        ) && change.reasons[0].ends_with(", p = 0.008): worse by more than chance"),
        "{:?}",
        change.reasons
    );
    // Without what every row added, the intervals are all that there is.
    let mut bare = before.clone();
    bare.report.evidence = Evidence::default();
    let gate = held_against(&bare, &Scene::new(200), goal, worse);
    assert_eq!((gate.course, gate.changes[0].method), (Course::Same, Method::Intervals));
    let same = held_against(&before, &Scene::new(200), goal, wrong_every(10));
    assert_eq!((same.course, same.changes[0].p), (Course::Same, Some(1.0)));
    let better = held_against(&before, &Scene::new(200), goal, |_| Ok("a"));
    assert_eq!(better.text, "Not worse than in main.json, and better by more than chance: one.");
}

#[test]
fn rows_of_another_test_are_compared_where_they_are_the_same() {
    let goal = "metric = \"macro_f1\"";
    let before = earlier(&Scene::new(150), goal, wrong_every(10));
    let gate = held_against(&before, &Scene::new(200), goal, |_| Ok("b"));
    assert_eq!((gate.course, gate.changes[0].rows), (Course::Worse, 150));
    assert_eq!(
        gate.warnings,
        ["the test has changed: 150 of its 200 rows are among the 150 of main.json, with the same right answer"]
    );
}

#[test]
fn what_has_no_answer_now_is_no_silent_pass() {
    let goal = "confidence = 0.95";
    let before = earlier(&Scene::new(100), goal, |_| Ok("a"));
    let fails = |rows: usize| {
        move |text: &str| match number(text) {
            text if text < rows => Err(TaskError::Model(ChatError::Overloaded("too many at once".to_owned()))),
            _ => Ok("a"),
        }
    };
    let gate = held_against(&before, &Scene::new(100), goal, fails(30));
    assert_eq!(gate.text, "Whether it is worse than in main.json cannot be said of one.");
    let reason = &gate.changes[0].reasons[0];
    assert!(reason.ends_with(", but 30 rows have no answer now: with them it may be worse"), "{reason}");
    assert_eq!(held_against(&before, &Scene::new(100), goal, fails(2)).course, Course::Same);
    assert_eq!(held_against(&before, &Scene::new(100), goal, fails(100)).course, Course::Unknown);
}

#[test]
fn what_cannot_be_compared_is_refused_before_anything_is_asked() {
    let scene = Scene::new(20);
    let before = earlier(&scene, "threshold = 0.5", |_| Ok("a"));
    let error = |goal: &str, names: &[&str]| {
        let options = Options { earlier: Some(before.clone()), ..Options::default() };
        scene.begin(goal, names, options).err().unwrap().to_string()
    };
    assert_eq!(
        error("metric = \"macro_f1\"", &["one"]),
        "main.json has figures of accuracy, and this task is judged by macro_f1\nhint: only figures of one metric can be \
         compared: `metric = \"accuracy\"` in [goal], or write a new main.json with --report"
    );
    assert!(error("", &["two"]).starts_with("main.json: expected a candidate that is judged now, got one\nhint: "));
    let mut before = before;
    let gone = report::Candidate { name: "gone".to_owned(), ..before.report.candidates[0].clone() };
    before.report.candidates.push(gone);
    let gate = held_against(&before, &Scene::new(20), "threshold = 0.5", |_| Ok("a"));
    assert_eq!(gate.warnings, ["of the candidates of main.json these were not judged now: gone"]);
    assert_eq!(
        (gate.course, gate.text.as_str()),
        (Course::Unknown, "Whether it is worse than in main.json cannot be said of gone.")
    );
    before.report.verdict.recommended = Some("gone".to_owned());
    let options = Options { earlier: Some(before), ..Options::default() };
    let error = scene.begin("threshold = 0.5", &["one"], options).err().unwrap().to_string();
    assert!(
        error.starts_with("main.json recommends gone, which is not judged now\nhint: judge it too, or "),
        "{error}"
    );
}

#[test]
fn latency_and_cost_are_held_where_the_goal_names_them() {
    let goal = "latency_ms_p95 = 1000\ncost_per_1000 = 1";
    let mut before = earlier(&Scene::new(120), goal, |_| Ok("a"));
    let known = &mut before.report.candidates[0];
    known.latency = known.latency.map(|latency| report::Latency { p95_high: Some(0.0), ..latency });
    (known.cost_per_1000, known.cost_high) = (Some(0.0), Some(0.0));
    let gate = held_against(&before, &Scene::new(120), goal, |_| Ok("a"));
    let [figure, latency, cost] = &gate.changes[0].reasons[..] else { panic!("{gate:?}") };
    assert!(figure.contains(": no more than chance makes of it"), "{figure}");
    assert!(latency.ends_with(": slower by more than chance"), "{latency}");
    assert!(cost.ends_with(": dearer by more than chance") && gate.course == Course::Worse, "{cost}");
}

#[test]
fn rows_that_fail_are_named_and_never_counted_as_wrong_nor_as_right() {
    let scene = Scene::new(100);
    let answer = |text: &str| match number(text) {
        0..10 => Err(TaskError::Model(ChatError::Overloaded("too many at once".to_owned()))),
        _ => Ok("a"),
    };
    let mut evaluation = scene.begin("threshold = 0.9", &["one"], Options::default()).unwrap();
    scene.judge(&mut evaluation, &scene.contender(answer));
    let report = evaluation.finish().unwrap();
    let candidate = &report.candidates[0];
    assert_eq!((candidate.answered, candidate.failures.len()), (90, 10));
    assert!(candidate.failures.iter().all(|failure| failure.number <= 10 && failure.reason == "too many at once"));
    assert_eq!(candidate.figure.unwrap().value, 1.0);
    assert_eq!(candidate.verdict, Some(Verdict::NotEnoughEvidence));
    assert!(
        candidate.reasons[0].ends_with("but 10 rows have no answer: with them it may be on either side of 0.9"),
        "{:?}",
        candidate.reasons
    );
    // They are asked again by the next run, and those that were answered are not.
    let mut evaluation = scene.begin("threshold = 0.9", &["one"], Options::default()).unwrap();
    assert_eq!(scene.asked(), 100);
    scene.judge(&mut evaluation, &scene.contender(|_| Ok("a")));
    assert_eq!(scene.asked(), 10);
    assert_eq!(evaluation.finish().unwrap().verdict.verdict, Some(Verdict::GoodEnough));
}

#[test]
fn an_answer_that_is_none_is_wrong_and_an_error_that_all_would_have_ends_the_run() {
    let scene = Scene::new(40);
    let mut evaluation = scene.begin("threshold = 0.9", &["one"], Options::default()).unwrap();
    let answer = |_: &str| Err(TaskError::Output("expected JSON, got \"hm\"".to_owned()));
    scene.judge(&mut evaluation, &scene.contender(answer));
    let report = evaluation.finish().unwrap();
    let candidate = &report.candidates[0];
    assert_eq!((candidate.answered, candidate.figure.unwrap().value), (40, 0.0));
    assert_eq!(candidate.verdict, Some(Verdict::NotGoodEnough));
    let mut evaluation = scene.begin("threshold = 0.9", &["two"], Options::default()).unwrap();
    scene.asked();
    let contender = scene.contender(|_: &str| Err(TaskError::Model(ChatError::Unavailable("no key".to_owned()))));
    let error = block_on(evaluation.judge(&contender, &Nobody, &AtomicBool::new(false))).unwrap_err();
    assert_eq!((error.to_string().as_str(), scene.asked()), ("no key", 1));
}

#[test]
fn a_clear_case_ends_early_and_an_unclear_one_does_not() {
    let scene = Scene::new(400);
    let options = || Options { stop_when_sure: true, ..Options::default() };
    let mut evaluation = scene.begin("threshold = 0.9", &["bad", "even"], options()).unwrap();
    scene.judge(&mut evaluation, &scene.contender(wrong_every(2)));
    let bad = scene.asked();
    scene.judge(&mut evaluation, &scene.contender(wrong_every(10)));
    let report = evaluation.finish().unwrap();
    assert!(bad < 40 && report.candidates[0].stopped_early, "{bad}");
    assert_eq!(report.candidates[0].verdict, Some(Verdict::NotGoodEnough));
    assert!(!report.candidates[1].stopped_early && scene.asked() == 400);
    assert_eq!(report.candidates[1].verdict, Some(Verdict::NotEnoughEvidence));
}

#[test]
fn a_goal_that_cannot_be_judged_by_is_refused() {
    let scene = Scene::new(10);
    let stop = || Options { stop_when_sure: true, ..Options::default() };
    let error = |goal: &str, options: Options| scene.begin(goal, &["one"], options).err().unwrap().to_string();
    assert_eq!(
        error("threshold = 95", Options::default()),
        "`threshold` of [goal]: expected a number above 0, at most 1, as accuracy has, got 95\n\
         hint: write 95 percent as 0.95"
    );
    assert!(
        error("metric = \"acuracy\"", Options::default()).starts_with("there is no metric `acuracy`\nhint: did you")
    );
    assert!(error("metric = \"rouge_l\"", Options::default()).starts_with("metric `rouge_l` does not fit a task"));
    assert!(error("", stop()).starts_with("--stop-when-sure: the task names no threshold to be sure of\nhint: "));
    let text = error("threshold = 0.5\nmetric = \"macro_f1\"", stop());
    assert!(text.starts_with("--stop-when-sure: macro_f1 is no mean over rows"), "{text}");
    assert!(text.ends_with("`metric = \"accuracy\"`"), "{text}");
}

#[test]
fn without_a_threshold_there_are_figures_and_no_verdict() {
    let scene = Scene::new(30);
    let mut evaluation = scene.begin("confidence = 0.95", &["one"], Options::default()).unwrap();
    scene.judge(&mut evaluation, &scene.contender(wrong_every(3)));
    let report = evaluation.finish().unwrap();
    assert_eq!((report.verdict.verdict, report.candidates[0].verdict), (None, None));
    assert!(report.verdict.text.starts_with("there is no verdict: the task names no threshold"));
    let scene = Scene::new(120);
    let mut evaluation = scene.begin("latency_ms_p95 = 1000", &["one"], Options::default()).unwrap();
    scene.judge(&mut evaluation, &scene.contender(wrong_every(3)));
    let report = evaluation.finish().unwrap();
    assert_eq!(report.candidates[0].latency.unwrap().rows, 100, "a goal for latency has so many rows asked alone");
    assert_eq!(report.verdict.verdict, Some(Verdict::GoodEnough), "what is asked for is judged");
    assert_eq!(report.verdict.text, "Take one: the cheapest that is good enough for 1000 ms for 95 of 100 answers.");
}

#[test]
fn many_tries_of_a_row_are_one_row_of_evidence() {
    let scene = Scene::new(300);
    let options = Options { stop_when_sure: true, tries: 50, ..Options::default() };
    let mut evaluation = scene.begin("threshold = 0.9", &["one"], options).unwrap();
    let one = scene.contender(|_| Ok("a"));
    let tries = (0..50).map(|_| Arc::clone(&one.tries[0])).collect();
    scene.judge(&mut evaluation, &Contender { tries, ..one });
    let report = evaluation.finish().unwrap();
    let candidate = &report.candidates[0];
    assert_eq!(candidate.verdict, Some(Verdict::GoodEnough));
    assert!(candidate.answered >= 30, "a row that is right 50 times is right once: {}", candidate.answered);
    assert_eq!(candidate.flaky.as_ref().map(|flaky| (flaky.tries, flaky.rows)), Some((50, 0)));
}

#[test]
fn rows_without_an_answer_count_for_either_side_where_it_is_stopped_early_too() {
    let scene = Scene::new(200);
    let options = Options { stop_when_sure: true, ..Options::default() };
    let mut evaluation = scene.begin("threshold = 0.9", &["one"], options).unwrap();
    let answer = |text: &str| match number(text) % 3 {
        0 => Err(TaskError::Model(ChatError::Overloaded("too many at once".to_owned()))),
        _ => Ok("a"),
    };
    scene.judge(&mut evaluation, &scene.contender(answer));
    let candidate = &evaluation.finish().unwrap().candidates[0];
    assert_eq!((candidate.verdict, candidate.figure.unwrap().value), (Some(Verdict::NotEnoughEvidence), 1.0));
    assert_eq!(scene.asked(), 200);
}

#[test]
fn what_will_be_asked_is_known_before_for_each_try() {
    let scene = Scene::new(30);
    let to_ask = |options: Options| {
        let plan = scene.plan("threshold = 0.9", &["one"], options).unwrap();
        plan.to_ask(0).unwrap().len()
    };
    assert_eq!(to_ask(Options::default()), 30);
    let mut evaluation = scene.begin("threshold = 0.9", &["one"], Options::default()).unwrap();
    scene.judge(&mut evaluation, &scene.contender(wrong_every(3)));
    evaluation.finish().unwrap();
    assert_eq!(to_ask(Options::default()), 0);
    assert_eq!(to_ask(Options { tries: 5, ..Options::default() }), 120);
    assert_eq!(to_ask(Options { is_fresh: true, ..Options::default() }), 30);
}

#[test]
fn a_candidate_that_cannot_be_judged_leaves_the_others_their_verdicts() {
    let scene = Scene::new(100);
    let mut evaluation = scene.begin("threshold = 0.9", &["gone", "good"], Options::default()).unwrap();
    evaluation.give_up("no connection");
    scene.judge(&mut evaluation, &scene.contender(|_| Ok("a")));
    let report = evaluation.finish().unwrap();
    assert_eq!(report.candidates[0].reasons, ["it could not be judged: no connection"]);
    assert_eq!(report.verdict.recommended.as_deref(), Some("good"));
}

#[test]
fn one_process_has_a_run() {
    let scene = Scene::new(10);
    let held = scene.begin("threshold = 0.9", &["one"], Options::default()).unwrap();
    let error = scene.begin("threshold = 0.9", &["one"], Options::default()).err().unwrap().to_string();
    assert!(error.starts_with("run \"triage-1\" is being added to by another process\nhint: "), "{error}");
    drop(held);
    assert!(scene.begin("threshold = 0.9", &["one"], Options::default()).unwrap().is_resumed);
}

#[test]
fn a_goal_for_latency_has_rows_timed_alone_that_were_answered_among_others_before() {
    let scene = Scene::new(100);
    let mut evaluation = scene.begin("threshold = 0.5", &["one"], Options::default()).unwrap();
    scene.judge(&mut evaluation, &scene.contender(wrong_every(10)));
    let report = evaluation.finish().unwrap();
    assert_eq!((scene.asked(), report.candidates[0].latency.unwrap().rows), (100, 20));
    let goal = "threshold = 0.5\nlatency_ms_p95 = 1000";
    let mut evaluation = scene.begin(goal, &["one"], Options::default()).unwrap();
    scene.judge(&mut evaluation, &scene.contender(wrong_every(10)));
    let report = evaluation.finish().unwrap();
    assert_eq!((scene.asked(), report.candidates[0].latency.unwrap().rows), (80, 100));
    assert_eq!(report.candidates[0].verdict, Some(Verdict::GoodEnough));
}

/// Gives half of a point to `a`, a whole one to `b`, and cannot grade the text 3; counts what it grades.
struct Halves {
    graded: Arc<AtomicUsize>,
}

impl Grader for Halves {
    fn fingerprint(&self) -> String {
        "halves".to_owned()
    }

    fn at_once(&self) -> usize {
        3
    }

    fn grade<'a>(&'a self, answers: &'a [Judged<'a>]) -> BoxFuture<'a, Result<Vec<Graded>, EvalError>> {
        assert!(answers.len() <= 3);
        self.graded.fetch_add(answers.len(), Ordering::SeqCst);
        let grade = |answer: &Judged<'_>| match (answer.input.fields["text"].as_str(), answer.outcome["label"].as_str())
        {
            (Some("3"), _) => Err("it is a three".to_owned()),
            (_, Some("a")) => Ok(Grade::of(0.5)),
            _ => Ok(Grade::of(1.0)),
        };
        let grades = answers.iter().map(grade).collect();
        Box::pin(async move { Ok(grades) })
    }
}

#[test]
fn grades_are_counted_in_the_place_of_answers_and_given_once() {
    let there = Scene::new(10);
    let graded: Arc<AtomicUsize> = Arc::default();
    let report = |answers: usize, grades: usize| {
        let plan = there.plan("command = { run = [\"x\"] }", &["small"], Options::default()).unwrap();
        let halves = Halves { graded: Arc::clone(&graded) };
        let mut evaluation = plan.graded_by(&halves).begin().unwrap();
        there.judge(&mut evaluation, &there.contender(wrong_every(5)));
        assert_eq!((there.asked(), graded.swap(0, Ordering::SeqCst)), (answers, grades));
        evaluation.finish().unwrap()
    };
    let first = report(10, 10);
    let candidate = &first.candidates[0];
    // Of the nine that could be graded two are b.
    assert!((candidate.figure.unwrap().value - 5.5 / 9.0).abs() < 1e-9, "{:?}", candidate.figure);
    assert_eq!((candidate.answered, candidate.failures.len()), (9, 1));
    assert_eq!(
        (candidate.failures[0].number, candidate.failures[0].reason.as_str()),
        (4, "its answer could not be graded: it is a three")
    );
    // What has no grade is tried again; what has one is not.
    let second = report(0, 1);
    assert_eq!(second.candidates[0].figure, candidate.figure);
    let run = there.ledger.run(&second.run).unwrap().unwrap();
    let rows = there.ledger.run_rows(run.id).unwrap();
    let grade = |row: &ledger::RunRow| row.grade.as_ref().map(|grade| grade.grade["score"].as_f64().unwrap());
    assert!(rows.iter().all(|row| row.score == grade(row) && row.score.is_some() == (row.number != 4)), "{rows:?}");
}

#[test]
fn a_run_that_goes_on_keeps_the_grades_that_were_given() {
    let there = Scene::new(10);
    let graded: Arc<AtomicUsize> = Arc::default();
    let halves = Halves { graded: Arc::clone(&graded) };
    let goal = "command = { run = [\"x\"] }";
    let begin = |is_fresh: bool| {
        let options = Options { is_fresh, ..Options::default() };
        there.plan(goal, &["small", "other"], options).unwrap().graded_by(&halves).begin().unwrap()
    };
    for is_fresh in [false, true] {
        let mut first = begin(is_fresh);
        there.judge(&mut first, &there.contender(wrong_every(5)));
        drop(first);
        let before = (there.asked(), graded.swap(0, Ordering::SeqCst));
        assert_eq!(before, (10, 10), "the first candidate was asked and graded");
        let mut again = begin(is_fresh);
        assert!(again.is_resumed);
        there.judge(&mut again, &there.contender(wrong_every(5)));
        // One answer has no grade, and is tried again.
        assert_eq!((there.asked(), graded.swap(0, Ordering::SeqCst)), (0, 1), "fresh: {is_fresh}");
        there.judge(&mut again, &there.contender(wrong_every(5)));
        again.finish().unwrap();
        // The other candidate says the same, and the same answer is graded once.
        assert_eq!((there.asked(), graded.swap(0, Ordering::SeqCst)), (10, 1));
    }
}

#[test]
fn graded_candidates_end_early_too() {
    let there = Scene::new(400);
    let graded: Arc<AtomicUsize> = Arc::default();
    let options = Options { stop_when_sure: true, ..Options::default() };
    let halves = Halves { graded: Arc::clone(&graded) };
    let plan = there.plan("threshold = 0.3\ncommand = { run = [\"x\"] }", &["small"], options).unwrap();
    let mut evaluation = plan.graded_by(&halves).begin().unwrap();
    there.judge(&mut evaluation, &there.contender(wrong_every(2)));
    let (asked, graded) = (there.asked(), graded.load(Ordering::SeqCst));
    assert!(asked < 400 && asked == graded, "{asked} {graded}");
    let report = evaluation.finish().unwrap();
    assert!(report.candidates[0].stopped_early);
    assert_eq!(report.candidates[0].verdict, Some(Verdict::GoodEnough));
}

#[test]
fn a_label_of_few_rows_is_no_evidence_for_a_figure_that_weighs_it_like_the_others() {
    let there = Scene::new(100);
    let lines: String = (0..100).map(|row| format!("{row},{}\n", if row < 7 { "b" } else { "a" })).collect();
    std::fs::write(there.folder.path().join("test.csv"), format!("text,label\n{lines}")).unwrap();
    let found = |goal: &str| {
        let mut evaluation = there.begin(goal, &["small"], Options::default()).unwrap();
        there.judge(&mut evaluation, &there.contender(|text| Ok(if number(text) < 7 { "b" } else { "a" })));
        let report = evaluation.finish().unwrap();
        (report.candidates[0].verdict.unwrap(), report.candidates[0].reasons.clone())
    };
    assert_eq!(found("threshold = 0.9").0, Verdict::GoodEnough);
    let (verdict, reasons) = found("threshold = 0.5\nmetric = \"macro_f1\"");
    assert_eq!(verdict, Verdict::NotEnoughEvidence);
    let expected = "b has 7 rows, and macro_f1 weighs it like every other label: 20 of each are needed to be sure";
    assert_eq!(reasons[1], expected);
}
