//! Evaluations from the command line: verdicts as words, JSON, exit codes and files; runs that go on; mistakes.
//!
//! Baselines need no model, so most of it needs none: a table whose labels follow from a word is learned by the linear one,
//! and by the majority it is not.

use crate::desk::Desk;
use crate::shapes::assert_shape;
use serde_json::Value;

const WORDS: [(&str, &str); 2] = [("invoice", "billing"), ("password", "account")];

/// Rows whose label follows from a word.
fn table(from: usize, count: usize) -> String {
    let row = |number: usize| {
        let (word, label) = WORDS[number % 2];
        format!("mail {number} about my {word} of day {},{label}\n", number % 7)
    };
    format!("text,label\n{}", (from..from + count).map(row).collect::<String>())
}

const HEAD: &str = "kind = \"classify\"\n[data]\ntrain = \"train.csv\"\ntest = \"test.csv\"\nexpected = \"label\"\n\
                    [classify]\nlabels = [\"billing\", \"account\"]\n";
pub const BASELINES: &str = "[[candidates]]\nbaseline = \"majority\"\n[[candidates]]\nbaseline = \"linear\"\n";

fn desk(goal: &str, candidates: &str) -> Desk {
    let desk = Desk::without_model();
    fill(&desk, goal, candidates);
    desk
}

/// Writes the task and its tables.
pub fn fill(desk: &Desk, goal: &str, candidates: &str) {
    desk.write("train.csv", table(0, 60));
    desk.write("test.csv", table(1000, 80));
    desk.write("triage.toml", format!("{HEAD}[goal]\n{goal}\n{candidates}"));
}

#[test]
fn a_verdict_is_words_json_an_exit_code_and_files() {
    let desk = desk("threshold = 0.9", BASELINES);
    let text = desk.done(&["eval", "triage.toml", "--report", "report.html"]);
    assert!(
        text.starts_with("Good enough. No language model is needed: linear (TF-IDF of words and pieces of words, with a linear support \
             vector machine for each label) is good enough for accuracy of 0.9.\n\n"),
        "{text}"
    );
    assert!(text.contains("majority:\n  accuracy is 0.500, between 0."), "{text}");
    assert!(text.contains("  linear does better on the same rows: 1.000\n"), "{text}");
    assert!(desk.read("report.html").starts_with("<!doctype html>"));
    let json = desk.done(&["eval", "show", "triage-1", "--json"]);
    assert_shape("eval", 0, &json);
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["verdict"]["recommended"], "linear");
    let list = desk.done(&["eval", "list", "--json"]);
    assert_shape("eval", 1, &list);
    let shown = desk.done(&["eval", "show", "triage-1"]);
    assert_eq!(shown, text, "a report is shown again as it was");
    desk.done(&["eval", "show", "triage-1", "--report", "again.md"]);
    let markdown = desk.read("again.md");
    assert!(markdown.contains("linear") && markdown.contains("majority"), "{markdown}");
    desk.done(&["eval", "export", "triage-1", "--out", "rows.jsonl"]);
    let rows = desk.read("rows.jsonl");
    assert_eq!(rows.lines().count(), 160);
    assert_shape("eval", 2, rows.lines().next().unwrap());
}

#[test]
fn what_is_not_good_enough_and_what_is_not_known_have_exit_codes_of_their_own() {
    let majority = "[[candidates]]\nbaseline = \"majority\"\n";
    let (code, out, err) = desk("threshold = 0.9", majority).run(&["eval", "triage.toml", "--no-baselines"]);
    assert_eq!(code, 3, "{err}");
    assert!(out.starts_with("Not good enough. No candidate is good enough for accuracy of 0.9.\n"), "{out}");
    let (code, out, err) = desk("threshold = 0.55", majority).run(&["eval", "triage.toml", "--no-baselines"]);
    assert_eq!(code, 4, "{err}");
    assert!(out.starts_with(
        "Not enough evidence. These rows do not tell whether a candidate reaches accuracy of 0.55. About "
    ));
    assert!(out.contains("more rows would decide it.\n") && !err.contains("error:"), "{out} {err}");
    let text = desk("metric = \"macro_f1\"", majority).done(&["eval", "triage.toml", "--no-baselines"]);
    assert!(text.starts_with("There is no verdict: the task names no threshold."), "{text}");
}

#[test]
fn a_run_is_held_against_the_report_of_an_earlier_one() {
    let candidate = |baseline: &str| format!("[[candidates]]\nname = \"it\"\nbaseline = \"{baseline}\"\n");
    let desk = desk("metric = \"accuracy\"", &candidate("linear"));
    let args = ["eval", "triage.toml", "--no-baselines"];
    desk.done(&[&args[..], &["--report", "main.json"]].concat());
    // Another machine has the file and nothing else.
    desk.done(&["eval", "remove", "triage-1"]);
    let held = [&args[..], &["--baseline", "main.json"]].concat();
    let text = desk.done(&held);
    assert!(
        text.contains("\nNot worse than in main.json by more than chance.\n  it: accuracy was 1.000 and is 1.000 on "),
        "{text}"
    );
    fill(&desk, "metric = \"accuracy\"", &candidate("majority"));
    let (code, out, err) = desk.run(&[&held[..], &["--report", "new.md"]].concat());
    assert_eq!(code, 3, "{out} {err}");
    assert!(
        out.contains(
            "Worse than in main.json by more than chance: it.\n  it: accuracy was 1.000 and is 0.500 on the 80 rows "
        ),
        "{out}"
    );
    assert!(desk.read("new.md").contains("| `it` | worse | −50.0 points |"), "{}", desk.read("new.md"));
    assert_shape("eval", 0, &desk.run(&[&held[..], &["--json"]].concat()).1);
    let error = desk.fails(1, &["eval", "triage.toml", "--baseline", "train.csv"]);
    assert!(
        error.contains("train.csv: expected a report as JSON, got ") && error.contains("hint: `bantam eval TASK"),
        "{error}"
    );
    let error = desk.fails(1, &["eval", "triage.toml", "--baseline", "none.json"]);
    assert!(error.contains("none.json: cannot be read: "), "{error}");
}

#[test]
fn rows_go_out_and_test_cases_come_in_as_other_tools_have_them() {
    let desk = desk("threshold = 0.9", BASELINES);
    desk.done(&["eval", "triage.toml", "--name", "both"]);
    fn export<'a>(rest: &[&'a str]) -> Vec<&'a str> {
        [&["eval", "export", "both"][..], rest].concat()
    }
    desk.done(&export(&["--out", "rows.csv", "--format", "csv", "--candidate", "linear"]));
    assert_eq!(desk.read("rows.csv").lines().count(), 81);
    desk.done(&export(&["--out", "results.json", "--format", "promptfoo"]));
    let results: Value = serde_json::from_str(&desk.read("results.json")).unwrap();
    assert_eq!(results["results"]["results"].as_array().map(Vec::len), Some(160));
    desk.done(&export(&["--out", "samples_triage.jsonl", "--format", "lm-eval", "--candidate", "linear"]));
    let error = desk.fails(2, &export(&["--out", "x.jsonl", "--format", "openai-evals"]));
    assert!(
        error.contains("expected one candidate, got 2\nhint: a file of it is of one: --candidate NAME of "),
        "{error}"
    );
    let error = desk.fails(2, &export(&["--out", "x.jsonl", "--format", "csv"]));
    assert!(error.contains("--format csv: expected a file that ends in .csv, got x.jsonl"), "{error}");
    let error = desk.fails(1, &export(&["--out", "x.jsonl", "--candidate", "best"]));
    assert!(error.contains("run both has no candidate \"best\"\nhint: it has majority, linear"), "{error}");
    for file in ["results.json", "samples_triage.jsonl"] {
        let (code, lines, said) = desk.run(&["eval", "import", file, "--out", "again.jsonl"]);
        assert_eq!(code, 0, "{said}");
        assert!(lines.starts_with("[data]\ntest = \"again.jsonl\"\nexpected = \""), "{lines}");
        assert_eq!(desk.read("again.jsonl").lines().count(), 80, "{file}: {said}");
    }
    assert_shape("eval", 4, &desk.done(&["eval", "import", "results.json", "--out", "again.jsonl", "--json"]));
    desk.write("tests.csv", "text,__expected\nmail 1,equals:billing\nmail 2,similar:account\n");
    let (_, lines, said) = desk.run(&["eval", "import", "tests.csv", "--out", "again.csv"]);
    assert_eq!(
        lines,
        "[data]\ntest = \"again.csv\"\nexpected = \"expected\"\n\n[goal]\nmetric = \"exact_match\"     # what `equals` asks \
         for\n# threshold = 0.9         # the figure of all rows from which on a model is of use to you\n"
    );
    assert!(said.contains("warning: left out once: an assertion `similar`"), "{said}");
    assert_eq!(desk.read("again.csv"), "text,expected\nmail 1,billing\n");
    let error = desk.fails(1, &["eval", "import", "train.csv", "--out", "again.csv"]);
    assert!(error.contains("train.csv: expected test cases of lm-eval, promptfoo, openai-evals\nhint: "), "{error}");
}

#[test]
fn runs_are_named_compared_and_forgotten() {
    let desk = desk("threshold = 0.9", "[[candidates]]\nname = \"it\"\nbaseline = \"majority\"\n");
    desk.run(&["eval", "triage.toml", "--name", "before", "--no-baselines"]);
    desk.write(
        "triage.toml",
        format!("{HEAD}[goal]\nthreshold = 0.9\n[[candidates]]\nname = \"it\"\nbaseline = \"linear\"\n"),
    );
    desk.done(&["eval", "triage.toml", "--name", "after", "--no-baselines"]);
    let error = desk.fails(1, &["eval", "triage.toml", "--name", "before", "--no-baselines"]);
    assert!(error.contains("there is a run \"before\" already\nhint: give this one another name"), "{error}");
    let error = desk.fails(2, &["eval", "triage.toml", "--name", "compare"]);
    assert!(error.contains("--name: expected another name than compare, where `bantam serve` has a page"), "{error}");
    let text = desk.done(&["eval", "compare", "before", "after"]);
    assert!(
        text.starts_with("it: 0.500 to 1.000 over 80 rows; 40 better, 0 worse, 0 changed without effect (p < 0.001)\n"),
        "{text}"
    );
    assert!(
        text.contains("  better: row 2: \"billing\" to \"account\"\n") && text.ends_with("  30 more better\n"),
        "{text}"
    );
    assert_shape("eval", 3, &desk.done(&["eval", "compare", "before", "after", "--json"]));
    let error = desk.fails(1, &["eval", "show", "befor"]);
    assert!(error.contains("there is no run \"befor\"\nhint: did you mean \"before\"? `bantam eval list`"), "{error}");
    desk.done(&["eval", "remove", "before"]);
    assert!(!desk.done(&["eval", "list"]).contains("before"));
}

#[test]
fn a_model_elsewhere_is_priced_before_anything_is_asked_and_its_failures_are_named() {
    // Nobody listens there: the first request fails, and so do all others.
    let endpoint =
        "[[candidates]]\nname = \"far\"\nmodel = \"m\"\nendpoint = { base_url = \"http://127.0.0.1:9/v1\" }\n";
    let price = "price = { input = 1.0, output = 2.0 }\n";
    let there = desk("threshold = 0.9", &format!("{endpoint}{price}"));
    let error = there.fails(2, &["eval", "triage.toml"]);
    assert!(
        error.contains("nobody is there to say whether this is right:\nfar will be sent 80 requests, about $"),
        "{error}"
    );
    assert!(error.contains("hint: --max-cost USD bounds it, --yes goes on without asking"), "{error}");
    assert_eq!(there.done(&["eval", "list", "--json"]).trim(), "[]", "nothing was begun");
    let unpriced = desk("threshold = 0.9", endpoint);
    let error = unpriced.fails(1, &["eval", "triage.toml", "--max-cost", "1"]);
    assert!(error.contains("m: its price is not known, so --max-cost cannot be kept\nhint: `price = "), "{error}");
    let keyed = desk("threshold = 0.9", "[[candidates]]\nmodel = \"openai/gpt-4o-mini\"\n");
    let (code, _, error) = run_without_keys(&keyed);
    assert!(code == 1 && error.contains("OPENAI_API_KEY"), "{code} {error}");
}

fn run_without_keys(desk: &Desk) -> (i32, String, String) {
    crate::run(desk.command(&["eval", "triage.toml"]).env_remove("OPENAI_API_KEY"))
}

#[test]
fn a_candidate_that_cannot_answer_is_named_and_the_others_are_judged() {
    // Nothing is fetched for a model that is a file, and what is in it is seen when it is loaded.
    let candidates = "[[candidates]]\nmodel = \"./broken.gguf\"\n[[candidates]]\nbaseline = \"linear\"\n";
    let there = desk("threshold = 0.9", candidates);
    there.write("broken.gguf", "GGUF is what it begins with");
    let (code, out, err) = there.run(&["eval", "triage.toml"]);
    assert_eq!(code, 0, "{out} {err}");
    assert!(err.contains("warning: ./broken.gguf: ") && out.contains("it could not be judged: "), "{out} {err}");
    assert!(out.contains(" label) is good enough for accuracy of 0.9."), "{out}");
}

#[test]
fn mistakes_are_told_before_anything_is_asked() {
    let there = desk("threshold = 0.9", BASELINES);
    let fails = |args: &[&str]| there.fails(1, args);
    assert!(fails(&["eval", "none.toml"]).contains("none.toml: no such file\nhint: `bantam init` makes a task file"));
    let error = there.fails(2, &["eval", "triage.toml", "--report", "x.pdf"]);
    assert!(error.contains("--report: expected a file that ends in .html, .md or .json, got x.pdf"), "{error}");
    let error = there.fails(2, &["eval", "triage.toml", "--threshold", "0.5"]);
    assert!(
        error
            .contains("--threshold is of --suite: that of a task stands in its file\nhint: `threshold = ..` in [goal]")
    );
    assert!(there.fails(2, &["eval", "triage.toml", "--limit", "0"]).contains("--limit: expected 1 or more, got 0"));
    there.write("test.csv", "text,label\nmail 3 about my password of day 3,account\nnew,billing\n");
    let error = fails(&["eval", "triage.toml"]);
    assert!(error.contains("1 test row also stands in ") && error.contains("train.csv: row 1\nhint: "), "{error}");
    there.write("test.csv", "text,label\nnew,shipping\n");
    assert!(fails(&["eval", "triage.toml"]).contains("\"shipping\" is not one of the labels: billing, account"));
    there.write("test.csv", "text,topic\nnew,billing\n");
    assert!(fails(&["eval", "triage.toml"]).contains("test.csv has no column \"label\", which the task reads\nhint: "));
    let cases = [
        ("threshold = 90", "`threshold` of [goal]: expected a number above 0, at most 1, as accuracy has, got 90"),
        ("metric = \"acuracy\"", "there is no metric `acuracy`\nhint: did you mean `accuracy`? "),
        ("metric = \"rouge_l\"", "metric `rouge_l` does not fit a task of kind `classify`\nhint: its metrics are "),
        ("thresold = 0.9", "unknown key \"thresold\" in [goal]\nhint: did you mean `threshold`? "),
    ];
    for (goal, expected) in cases {
        let desk = desk(goal, BASELINES);
        let error = desk.fails(1, &["eval", "triage.toml"]);
        assert!(error.contains(expected), "{error}");
        let (code, _, error) = desk.run(&["check", "triage.toml", "--no-model"]);
        assert!(code == 1 && error.contains(expected), "{code} {error}");
    }
    let odd = desk("threshold = 0.9", "[[candidates]]\nbaseline = \"best\"\n");
    let expected = "there is no baseline `best`\nhint: leave it out, or take majority, linear, ";
    assert!(odd.fails(1, &["eval", "triage.toml"]).contains(expected));
    let (code, _, error) = odd.run(&["check", "triage.toml", "--no-model"]);
    assert!(code == 1 && error.contains(expected), "{code} {error}");
}

#[test]
fn a_model_is_judged_beside_baselines_and_asked_once() {
    let Some(desk) = Desk::new() else { return };
    fill(&desk, "threshold = 0.99", "");
    let args = ["eval", "triage.toml", "--models", "smollm2:135m", "--limit", "40", "--json"];
    let report = |out: &str| serde_json::from_str::<Value>(out).unwrap();
    let (code, out, err) = desk.run(&args);
    assert!([0, 4].contains(&code), "the linear baseline is good enough, or 40 rows do not tell: {code} {err}");
    let first = report(&out);
    let model = &first["candidates"][0];
    assert_eq!(
        (model["answered"].as_u64(), model["reused"].as_u64(), &model["place"]),
        (Some(40), Some(0), &"local".into())
    );
    assert!(model["calibration"]["bins"].as_array().is_some_and(|bins| !bins.is_empty()), "{model}");
    let second = report(&desk.run(&args).1);
    assert_eq!(second["candidates"][0]["reused"], 40);
    assert_eq!(second["candidates"][0]["figure"], model["figure"]);
    assert_eq!(second["test"]["looks"], 2);
}

#[test]
fn right_texts_are_asked_to_be_likely_and_none_is_generated() {
    let Some(there) = Desk::new() else { return };
    let goal = "[goal]\nmetric = \"byte_perplexity\"\nthreshold = 20\n";
    let data = "[data]\ntest = \"t.csv\"\nexpected = \"reply\"\n";
    there.write("say.toml", format!("kind = \"generate\"\nmodel = \"smollm2:135m\"\n{data}{goal}"));
    let rows = |odd: &str| {
        format!("text,reply\nName a colour of the sky.,Blue\nCount to three.,\"One, two, three.\"\nGo on.,{odd}\n")
    };
    there.write("t.csv", rows("\"Yes, of course.\""));
    let likely: Value = serde_json::from_str(&there.done(&["eval", "say.toml", "--json"])).unwrap();
    let figure = &likely["candidates"][0]["figure"];
    let value = figure["value"].as_f64().unwrap();
    assert!(value > 1.0 && value < 20.0 && figure["low"].as_f64().unwrap() < value, "{figure}");
    assert_eq!(likely["candidates"][0]["figures"].as_array().unwrap().len(), 0);
    // Another right text is another question, and a less likely one.
    there.write("t.csv", rows("Xq zzv wkk"));
    let (_, out, _) = there.run(&["eval", "say.toml", "--json"]);
    let odd: Value = serde_json::from_str(&out).unwrap();
    assert!(odd["candidates"][0]["figure"]["value"].as_f64().unwrap() > value, "{odd}");
    assert_eq!(odd["candidates"][0]["reused"], 2);
}

/// The rows of a run.
fn exported(desk: &Desk, run: &str) -> Vec<Value> {
    desk.done(&["eval", "export", run, "--out", "exported.jsonl"]);
    desk.read("exported.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_command_of_the_users_grades() {
    let goal = "threshold = 0.9\ncommand = { run = [\"/bin/sh\", \"score.sh\"] }";
    let there = desk(goal, "[[candidates]]\nbaseline = \"majority\"\n");
    // It likes what says account, and tells why.
    let script = "while read -r line; do case \"$line\" in *'\"answer\":\"account\"'*) echo 1;; \
                  *) echo '{\"score\": 0.25, \"why\": \"no account\"}';; esac; done\n";
    there.write("score.sh", script);
    let (code, out, err) = there.run(&["eval", "triage.toml", "--no-baselines"]);
    assert_eq!(code, 3, "{out} {err}");
    assert!(out.contains("majority:\n  command is 0.250, between 0."), "{out} {err}");
    assert_eq!(exported(&there, "triage-1")[0]["grade"], serde_json::json!({"score": 0.25, "why": "no account"}));
    there.write("score.sh", "exit 7\n");
    let error = there.fails(1, &["eval", "triage.toml", "--no-baselines"]);
    assert!(error.contains("the command `/bin/sh score.sh` ended with exit status: 7: it said nothing"), "{error}");
}

#[test]
fn code_of_a_model_is_run_only_where_that_is_allowed_and_has_to_pass_its_tests() {
    let Some(there) = Desk::new() else { return };
    // What the model writes stands in a text, so that the column decides which programs pass.
    let program = "'''\nanswer = {answer}\n'''\nassert {check}, 'as the row says'\n";
    there.write(
        "code.toml",
        format!(
            "kind = \"complete\"\nmodel = \"smollm2:135m\"\n[options]\nmax_tokens = 4\n[data]\ntest = \"code.csv\"\n\
             [goal]\nthreshold = 0.9\n[goal.tests]\nprogram = {program:?}\n"
        ),
    );
    let rows = "def one():,True\ndef two():,exit()\ndef three():,True\ndef four():,False\n";
    there.write("code.csv", format!("prefix,check\n{rows}"));
    let error = there.fails(2, &["eval", "code.toml"]);
    let expected = "[goal.tests] runs code that models write, which nobody has read\nhint: --execute allows";
    assert!(error.contains(expected), "{error}");
    let args = ["eval", "code.toml", "--execute", "--repeat", "2", "--json"];
    let (code, out, err) = crate::run(there.command(&args).env("PATH", std::env::var_os("PATH").unwrap()));
    assert!([3, 4].contains(&code), "{code} {out} {err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    let candidate = &report["candidates"][0];
    // One that ends before its tests has passed none.
    assert_eq!(candidate["figure"]["value"], 0.5, "{candidate}");
    let figures = candidate["figures"].as_array().unwrap();
    let pass_at_2 = figures.iter().find(|one| one["metric"] == "pass_at_2").unwrap();
    assert_eq!(pass_at_2["figure"]["value"], 0.5);
    let rows = exported(&there, "code-1");
    let of = |number: u64| rows.iter().find(|row| row["row"] == number).unwrap();
    assert_eq!(of(2)["grade"]["ended"], "ended before its last line");
    let failed = of(4);
    assert_eq!(failed["grade"]["ended"], "ended with code 1");
    assert!(failed["grade"]["said"].as_str().unwrap().ends_with("AssertionError: as the row says\n"), "{failed}");
}

#[test]
fn a_model_judges_by_a_rubric_and_is_compared_with_people() {
    let Some(there) = Desk::new() else { return };
    let judge = "[goal.judge]\nmodel = \"smollm2:135m\"\nrubric = \"The label fits the text.\"\nscale = 3\n\
                 rated_answer = \"said\"\nrated_points = \"points\"\n";
    fill(&there, &format!("threshold = 0.5\n{judge}"), "[[candidates]]\nbaseline = \"majority\"\n");
    let rows = "my invoice,billing,billing,3\nmy password,account,billing,1\nmy bill,billing,,\n";
    there.write("test.csv", format!("text,label,said,points\n{rows}"));
    let args = ["eval", "triage.toml", "--no-baselines", "--json"];
    let (code, out, err) = there.run(&args);
    assert!([0, 3, 4].contains(&code), "{code} {out} {err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_shape("eval", 0, &out);
    assert_eq!(report["goal"]["metric"], "judge");
    let agreement = &report["agreement"];
    let graded = agreement["rows"].as_u64().unwrap() + agreement["ungraded"].as_u64().unwrap();
    assert!(graded == 2 && out.contains("The judge and people graded the same "), "{out}");
    for row in exported(&there, "triage-1").iter().filter(|row| row["error"].is_null()) {
        let points = row["grade"]["points"].as_u64().unwrap();
        assert!((1..=3).contains(&points) && row["grade"]["reason"].is_string(), "{row}");
        assert_eq!(row["score"].as_f64().unwrap(), (points - 1) as f64 / 2.0);
    }
    let second: Value = serde_json::from_str(&there.run(&args).1).unwrap();
    assert_eq!(second["candidates"][0]["figure"], report["candidates"][0]["figure"], "grades are kept");
    there.write("test.csv", "text,label,said,points\nmy invoice,billing,billing,4\n");
    let error = there.fails(1, &["eval", "triage.toml", "--no-baselines"]);
    assert!(error.contains("test.csv, row 1: \"points\": expected points from 1 to 3, got "), "{error}");
}

/// Questions of one subject, in the format in which MMLU is packed.
fn exam(count: usize) -> String {
    let question = |number: usize| {
        let letter = ["A", "B", "C", "D"][number % 4];
        format!(
            "{{\"subject\": \"art\", \"question\": \"Which is {number}?\", \"choices\": [\"w\", \"x\", \"y\", \"z\"], \
             \"answer\": \"{letter}\"}}\n"
        )
    };
    (0..count).map(question).collect()
}

#[test]
fn a_standard_benchmark_is_judged_as_a_task_file_is_and_names_its_protocol() {
    let Some(there) = Desk::new() else { return };
    there.write("exam/dev.jsonl", exam(5));
    there.write("exam/test.jsonl", exam(8));
    let suite = ["eval", "--suite", "mmlu", "--data", "exam", "--models", crate::models::CHAT, "--limit", "6"];
    let text = there.done(&suite);
    assert!(text.contains("\nmmlu, 6 rows: 5-shot, without a chat template; the answer is the letter"), "{text}");
    assert!(text.contains("\nsource: lm-evaluation-harness 0.4.13, task `mmlu`; Hendrycks et al. 2021\n"), "{text}");
    assert!(text.contains("\n  art (6 rows): accuracy "), "{text}");
    let (code, out, err) = there.run(&[&suite[..], &["--threshold", "0.99", "--json"]].concat());
    assert!(code == 3 || code == 4, "{code} {err}");
    assert_shape("eval", 0, &out);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&report["candidates"][0]["reused"], &report["protocol"]["shots"]), (&6.into(), &5.into()));
    there.done(&["eval", "export", "mmlu-2", "--out", "rows.jsonl"]);
    let row: Value = serde_json::from_str(there.read("rows.jsonl").lines().next().unwrap()).unwrap();
    assert!(row["prompt"].as_str().unwrap().starts_with("The following are multiple choice questions"), "{row}");
    assert!(row["outcome"]["log_likelihoods"]["D"].as_f64().unwrap() < 0.0, "{row}");
}

#[test]
fn mistakes_about_a_standard_benchmark_are_told_before_anything_is_asked() {
    let there = Desk::without_model();
    there.write("code/HumanEval.jsonl", "{\"task_id\": \"a\"}\n");
    let error = there.fails(1, &["eval", "--suite", "gsm8k", "--data", "code"]);
    assert!(
        error.contains("code: expected train.jsonl or train.jsonl.gz, got no such file\nhint: --data names"),
        "{error}"
    );
    let error = there.fails(1, &["eval", "--suite", "humaneval", "--data", "code"]);
    assert!(error.contains("HumanEval.jsonl: line 1: missing field `prompt`"), "{error}");
    let error = there.fails(2, &["eval", "--suite", "mlu", "--data", "code"]);
    assert!(error.contains("invalid value 'mlu' for '--suite <NAME>'") && error.contains("mmlu, gsm8k"), "{error}");
    assert!(there.fails(2, &["eval", "--suite", "mmlu"]).contains("--data <DIR>"));
    let error = there.fails(2, &["eval", "--suite", "gsm8k", "--data", "code", "--temperature=-1"]);
    assert!(error.contains("--temperature"), "{error}");
}

#[test]
fn code_of_a_standard_benchmark_runs_with_the_flag_alone() {
    let Some(there) = Desk::new() else { return };
    let problem = "{\"task_id\": \"HumanEval/0\", \"prompt\": \"def f(x):\\n\", \"entry_point\": \"f\", \
                   \"canonical_solution\": \"    return x\\n\", \"test\": \"def check(candidate):\\n    pass\\n\"}\n";
    there.write("code/HumanEval.jsonl", problem);
    let suite = ["eval", "--suite", "humaneval", "--data", "code", "--models", crate::models::CHAT];
    let error = there.fails(2, &suite);
    assert!(
        error.contains("humaneval runs code that models write, which nobody has read\nhint: --execute allows it"),
        "{error}"
    );
}
