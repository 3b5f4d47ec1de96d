//! What a task file says about being judged: how good is good enough, which models are candidates, what the machine costs.
//!
//! A candidate is the task with some of its keys said anew; it is read as if they stood in the file's own place. Whether
//! a metric exists and fits is not known here: the `eval` crate looks.

use crate::grading::{GRADINGS, Grading, read_grading};
use crate::kinds::KindRow;
use crate::reader::{Entry, Section};
use crate::{Task, TaskError, Template, generation};

/// The keys of a candidate beside the table of its kind.
const CANDIDATE_KEYS: [&str; 8] =
    ["name", "model", "baseline", "endpoint", "price", "instructions", "input", "options"];

/// How good is good enough.
#[derive(Debug, Clone, PartialEq)]
pub struct Goal {
    /// The metric's name; the kind's own where nothing is said.
    pub metric: Option<String>,
    /// The figure that has to be reached: at least, or at most where less is better.
    pub threshold: Option<f64>,
    /// How sure a verdict is, for all candidates together.
    pub confidence: f64,
    /// Milliseconds that 95 of 100 answers may take, asked one at a time.
    pub latency_ms_p95: Option<f64>,
    /// US dollars that 1,000 inputs may cost.
    pub cost_per_1000: Option<f64>,
    /// The column whose value rows share that are no independent evidence (several questions on one document).
    pub group: Option<String>,
    /// Who grades answers, where no metric can count whether they are right.
    pub grading: Option<Grading>,
}

impl Default for Goal {
    fn default() -> Goal {
        Goal {
            metric: None,
            threshold: None,
            confidence: 0.95,
            latency_ms_p95: None,
            cost_per_1000: None,
            group: None,
            grading: None,
        }
    }
}

/// What this machine costs while it works.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Machine {
    /// Power that it draws under load.
    pub watts: f64,
    /// US dollars for a kilowatt-hour.
    pub price_per_kwh: f64,
    /// US dollars for an hour of it, beside power: rent, or its price by the hours that it lasts.
    pub price_per_hour: f64,
}

impl Default for Machine {
    /// A desktop computer under load at a European household's price of power, which is paid for already.
    fn default() -> Machine {
        Machine { watts: 65.0, price_per_kwh: 0.30, price_per_hour: 0.0 }
    }
}

impl Machine {
    /// US dollars for so many seconds of its work.
    pub fn cost(&self, seconds: f64) -> f64 {
        let hours = seconds / 3600.0;
        hours * (self.price_per_hour + self.watts / 1000.0 * self.price_per_kwh)
    }

    /// Kilowatt-hours of so many seconds of its work.
    pub fn energy_kwh(&self, seconds: f64) -> f64 {
        self.watts * seconds / 3.6e6
    }
}

/// Who answers for a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answerer {
    /// A model, by the name that the machine or a provider knows it by.
    Model(String),
    /// What needs no language model, by its name.
    Baseline(String),
}

/// Where a model answers that no provider's name tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The address that paths of the protocol are added to, as `https://host/v1`.
    pub base_url: String,
    /// What it speaks: `openai`, `anthropic` or `gemini`.
    pub protocol: String,
    /// The environment variable that holds its key; none where it wants none.
    pub key_variable: Option<String>,
}

/// What a provider takes, in US dollars for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenPrice {
    /// Of prompts.
    pub input: f64,
    /// Of answers.
    pub output: f64,
}

/// One of those that are judged.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// What reports call it.
    pub name: String,
    /// Who answers.
    pub answerer: Answerer,
    /// Where its model answers, where it is an endpoint of the author's.
    pub endpoint: Option<Endpoint>,
    /// What its tokens cost, where the author knows better than a list of prices.
    pub price: Option<TokenPrice>,
    /// The task as this candidate does it.
    pub task: Task,
}

/// Reads `[goal]`.
pub(crate) fn read_goal(entry: Entry<'_>) -> Result<Goal, TaskError> {
    let keys = ["metric", "threshold", "confidence", "latency_ms_p95", "cost_per_1000", "group"];
    let keys: Vec<_> = keys.into_iter().chain(GRADINGS).collect();
    let mut section = entry.section(&keys)?;
    let named = section.take("metric");
    let grading = read_grading(&mut section)?;
    let metric = match (named, &grading) {
        (Some(named), Some(grading)) => {
            let (hint, counts) = ("hint: leave one of them out", grading.metric());
            let wrong =
                named.wrong(format_args!("expected {counts:?}, which counts the grades that [goal] asks for\n{hint}"));
            Some(named.text()?).filter(|metric| metric == counts).ok_or(wrong).map(Some)?
        }
        (Some(named), None) => Some(named.text()?),
        (None, grading) => grading.as_ref().map(|grading| grading.metric().to_owned()),
    };
    let mut goal = Goal { metric, grading, group: section.text("group")?, ..Goal::default() };
    if let Some(entry) = section.take("threshold") {
        goal.threshold = Some(entry.number("a number of 0 or more", |n| n >= 0.0)?);
    }
    if let Some(entry) = section.take("confidence") {
        goal.confidence = entry.number("a number of 0.5 to 0.9999", |n| (0.5..=0.9999).contains(&n))?;
    }
    for (key, place) in [("latency_ms_p95", &mut goal.latency_ms_p95), ("cost_per_1000", &mut goal.cost_per_1000)] {
        if let Some(entry) = section.take(key) {
            *place = Some(entry.number("a number above 0", |n| n > 0.0)?);
        }
    }
    Ok(goal)
}

/// Reads `[machine]`.
pub(crate) fn read_machine(entry: Entry<'_>) -> Result<Machine, TaskError> {
    let mut section = entry.section(&["watts", "price_per_kwh", "price_per_hour"])?;
    let mut machine = Machine::default();
    let places = [
        ("watts", &mut machine.watts),
        ("price_per_kwh", &mut machine.price_per_kwh),
        ("price_per_hour", &mut machine.price_per_hour),
    ];
    for (key, place) in places {
        if let Some(entry) = section.take(key) {
            *place = entry.number("a number of 0 or more", |n| n >= 0.0)?;
        }
    }
    Ok(machine)
}

/// What candidates are variants of: the task, and the table of its kind's settings as the file has it.
pub(crate) struct Base<'b, 'a> {
    pub(crate) task: &'b Task,
    pub(crate) row: &'static KindRow,
    pub(crate) settings: &'b Section<'a>,
}

/// Reads `[[candidates]]`.
pub(crate) fn read_candidates<'a>(entry: Entry<'a>, base: &Base<'_, 'a>) -> Result<Vec<Candidate>, TaskError> {
    let keys: Vec<_> = CANDIDATE_KEYS.iter().copied().chain([base.row.name]).collect();
    let mut candidates: Vec<Candidate> = Vec::new();
    for item in entry.items()? {
        let section = item.section(&keys)?;
        let twice = section.wrong("");
        let candidate = read_candidate(section, base)?;
        if candidates.iter().any(|other| other.name == candidate.name) {
            let TaskError::File(place) = twice else { return Err(twice) };
            let name = &candidate.name;
            return Err(TaskError::File(format!(
                "{place}two candidates are called {name:?}\nhint: give one of them another `name`"
            )));
        }
        candidates.push(candidate);
    }
    Ok(candidates)
}

fn read_candidate<'a>(mut section: Section<'a>, base: &Base<'_, 'a>) -> Result<Candidate, TaskError> {
    let hint = "hint: `model = \"name\"` for a language model, `baseline = \"name\"` for what needs none";
    let (model, baseline) = (section.text("model")?, section.text("baseline")?);
    let (answerer, default_name) = match (model, baseline) {
        (Some(model), None) => (Answerer::Model(model.clone()), model),
        (None, Some(baseline)) => (Answerer::Baseline(baseline.clone()), baseline),
        (Some(_), Some(_)) => {
            return Err(section.wrong(format_args!("expected `model` or `baseline`, got both\n{hint}")));
        }
        (None, None) => return Err(section.wrong(format_args!("a candidate says not who answers\n{hint}"))),
    };
    let endpoint = section.take("endpoint").map(read_endpoint).transpose()?;
    let price = section.take("price").map(read_price).transpose()?;
    if let (Answerer::Baseline(_), true) = (&answerer, endpoint.is_some() || price.is_some()) {
        return Err(section.wrong("a baseline has no `endpoint` and no `price`\nhint: leave them out"));
    }
    let mut task = base.task.clone();
    if let Answerer::Model(model) = &answerer {
        task.model = Some(model.clone());
    }
    if let Some(instructions) = section.text("instructions")? {
        task.instructions = Some(instructions.trim().to_owned()).filter(|text| !text.is_empty());
    }
    if let Some(entry) = section.take("input") {
        task.input = read_template(entry)?;
    }
    if let Some(entry) = section.take("options") {
        task.options = generation::read_over(&task.options, entry)?;
    }
    if let Some(entry) = section.take(base.row.name) {
        let settings = entry.section(base.row.keys)?.over(base.settings);
        task.set_kind((base.row.read)(settings, &task.data)?);
    }
    Ok(Candidate { name: section.text("name")?.unwrap_or(default_name), answerer, endpoint, price, task })
}

pub(crate) fn read_endpoint(entry: Entry<'_>) -> Result<Endpoint, TaskError> {
    let mut section = entry.section(&["base_url", "protocol", "key_variable"])?;
    Ok(Endpoint {
        base_url: section.require("base_url", "`base_url = \"https://host/v1\"`")?.text()?,
        protocol: section.text("protocol")?.unwrap_or_else(|| "openai".to_owned()),
        key_variable: section.text("key_variable")?,
    })
}

pub(crate) fn read_price(entry: Entry<'_>) -> Result<TokenPrice, TaskError> {
    let mut section = entry.section(&["input", "output"])?;
    let mut number = |key: &str| {
        let expected = format!("`{key} = ..`, US dollars for a million tokens");
        section.require(key, &expected)?.number("a number of 0 or more", |n| n >= 0.0)
    };
    Ok(TokenPrice { input: number("input")?, output: number("output")? })
}

/// Reads the template of an input.
pub(crate) fn read_template(entry: Entry<'_>) -> Result<Template, TaskError> {
    let wrong = entry.wrong("");
    Template::parse(&entry.text()?).map_err(|error| match wrong {
        TaskError::File(place) => TaskError::File(format!("{place}{error}")),
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Classify;
    use std::path::Path;

    const HEAD: &str = "kind = \"classify\"\nmodel = \"small\"\ninstructions = \"Be quick.\"\n";
    const SETTINGS: &str = "[options]\ntemperature = 0.5\nstop = \"x\"\n[data]\ntrain = \"a.csv\"\nexpected = \"label\"\n\
                            [classify]\nlabels = [\"a\", \"b\"]\n";

    fn parse(more: &str) -> Result<Task, TaskError> {
        Task::parse(&format!("{HEAD}{SETTINGS}{more}"), Path::new("t.toml"))
    }

    #[test]
    fn a_task_that_says_nothing_has_the_defaults() {
        let task = parse("").unwrap();
        assert_eq!((task.goal, task.machine), (Goal::default(), Machine::default()));
        assert!(task.candidates.is_empty());
    }

    #[test]
    fn a_goal_and_a_machine_are_read_as_they_stand() {
        let text = "[goal]\nmetric = \"macro_f1\"\nthreshold = 0.9\nconfidence = 0.99\nlatency_ms_p95 = 200\n\
                    cost_per_1000 = 0.5\ngroup = \"customer\"\n[machine]\nwatts = 100\nprice_per_kwh = 0.2\nprice_per_hour = 1\n";
        let task = parse(text).unwrap();
        let expected = Goal {
            metric: Some("macro_f1".to_owned()),
            threshold: Some(0.9),
            confidence: 0.99,
            latency_ms_p95: Some(200.0),
            cost_per_1000: Some(0.5),
            group: Some("customer".to_owned()),
            grading: None,
        };
        assert_eq!(task.goal, expected);
        assert!((task.machine.cost(3600.0) - 1.02).abs() < 1e-12);
        assert!((task.machine.energy_kwh(36.0) - 0.001).abs() < 1e-12);
    }

    #[test]
    fn a_candidate_says_anew_what_differs_and_keeps_the_rest() {
        let text = "[[candidates]]\nmodel = \"small\"\n\
                    [[candidates]]\nname = \"shown\"\nmodel = \"small\"\ninstructions = \"\"\ninput = \"Mail: {text}\"\n\
                    options = { stop = [\"y\"], seed = 1 }\nclassify = { shots = 3 }\n\
                    [[candidates]]\nbaseline = \"majority\"\n\
                    [[candidates]]\nname = \"far\"\nmodel = \"m\"\nprice = { input = 1.5, output = 6 }\n\
                    endpoint = { base_url = \"http://host/v1\", key_variable = \"KEY\" }\n";
        let task = parse(text).unwrap();
        let far = task.candidates[3].clone();
        let endpoint = far.endpoint.unwrap();
        assert_eq!((endpoint.protocol.as_str(), endpoint.key_variable.as_deref()), ("openai", Some("KEY")));
        assert_eq!(far.price, Some(TokenPrice { input: 1.5, output: 6.0 }));
        let names: Vec<_> = task.candidates.iter().map(|candidate| candidate.name.as_str()).collect();
        assert_eq!(names, ["small", "shown", "majority", "far"]);
        assert_eq!(task.candidates[0].task.fingerprint(), task.fingerprint());
        let shown = &task.candidates[1].task;
        assert_eq!((shown.instructions.as_deref(), shown.input.source()), (None, "Mail: {text}"));
        let options = &shown.options;
        assert_eq!((options.temperature, options.seed, &options.stop), (Some(0.5), Some(1), &vec!["y".to_owned()]));
        let settings = shown.settings::<Classify>().unwrap();
        assert_eq!((settings.shots, settings.labels().len()), (3, 2));
        assert_eq!(task.candidates[2].answerer, Answerer::Baseline("majority".to_owned()));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let cases = [
            ("[goal]\nthreshold = -1\n", "13:13: `threshold`: expected a number of 0 or more, got the number -1"),
            ("[goal]\nconfidence = 95\n", "13:14: `confidence`: expected a number of 0.5 to 0.9999, got"),
            (
                "[goal]\nmetric = \"rouge_l\"\ncommand = { run = [\"x\"] }\n",
                "13:10: `metric`: expected \"command\", which counts the grades that [goal] asks for\nhint: leave one",
            ),
            ("[goal]\nlatency = 1\n", "13:1: unknown key \"latency\" in [goal]\nhint: its keys are metric, "),
            ("[machine]\nwatts = \"x\"\n", "13:9: `watts`: expected a number of 0 or more, got the text \"x\""),
            ("[[candidates]]\nname = \"a\"\n", "12:1: a candidate says not who answers\nhint: `model = "),
            (
                "[[candidates]]\nmodel = \"a\"\nbaseline = \"b\"\n",
                "12:1: expected `model` or `baseline`, got both\nhint: ",
            ),
            (
                "[[candidates]]\nmodel = \"a\"\n[[candidates]]\nmodel = \"a\"\n",
                "14:1: two candidates are called \"a\"\nhint: give one of them another `name`",
            ),
            (
                "[[candidates]]\nmodel = \"a\"\nendpoint = { protocol = \"openai\" }\n",
                "14:12: [candidates.endpoint] lacks `base_url`\nhint: expected `base_url = ",
            ),
            (
                "[[candidates]]\nbaseline = \"a\"\nprice = { input = 1, output = 2 }\n",
                "12:1: a baseline has no `endpoint` and no `price`",
            ),
            ("[[candidates]]\nmodel = \"a\"\ninput = \"{\"\n", "14:9: `input`: "),
            (
                "[[candidates]]\nmodel = \"a\"\n[candidates.classify]\nshot = 1\n",
                "15:1: unknown key \"shot\" in [candidates.classify]\nhint: did you mean `shots`? ",
            ),
        ];
        for (text, expected) in cases {
            let error = parse(text).unwrap_err().to_string();
            let expected = format!("t.toml:{expected}");
            assert!(error.starts_with(&expected), "{error}\nexpected\n{expected}");
        }
    }
}
