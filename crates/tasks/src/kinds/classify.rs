//! Classify: which of some labels a text has.
//!
//! A model that scores given answers is asked which label it would say, and writes nothing; another one writes an
//! answer that is held to the labels, and then nobody knows how sure it is. With several labels each is a question of
//! its own, yes or no: a list of labels that a small model writes stops early and depends on its order, while a
//! question's answer has a probability. The text comes before the question there, so that a model that keeps prefixes
//! reads it once.

use super::{Asking, Kind, KindRow, Prepared, is_blank, is_marked, object};
use crate::asking::Asker;
use crate::frame::Frame;
use crate::init::{Guess, Sample, quoted};
use crate::labels::UNLABELLED;
use crate::reader::{Entry, Section};
use crate::seeded::rank;
use crate::task::{DataFiles, Example};
use crate::{Input, Outcome, Task, TaskError, Template};
use chat::{AnswerFormat, ChatError, ChooseResponse, GenerationOptions, OptionScoring};
use futures::future::BoxFuture;
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::sync::Arc;

/// Tokens that may stand around a label that is written: quotation marks, and an object that holds it.
const AROUND_A_LABEL: usize = 64;

/// Its line of the table.
pub(super) static ROW: KindRow = KindRow {
    name: "classify",
    about: "which of some labels a text has, with probabilities",
    input: crate::input::TEXT,
    keys: &["labels", "label", "several", "threshold", "none_of_these", "shots", "seed", "scoring", "all_scores"],
    read,
    guess,
};

/// Longer examples are not shown while there are shorter ones: they would fill a small model's context.
const LONGEST_SHOT: usize = 1000;
/// More labels than a list in a prompt is good for.
const MOST_LABELS: usize = 10_000;

/// A label that a text may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Its name, which is also what the model says.
    pub name: String,
    /// What it means, where the name does not say it all.
    pub description: Option<String>,
}

/// The settings of a task that classifies.
///
/// Its outcomes have `label` (null for none of these), `probability` (null where the model does not score given
/// answers) and with all scores `scores`, best first. With several labels they have `labels` and `scores` in the
/// order of the task.
#[derive(Debug, Clone, PartialEq)]
pub struct Classify {
    labels: Vec<Label>,
    /// Any number of labels may fit, none too.
    pub several: bool,
    /// With several: the probability that a label needs to be one of them.
    pub threshold: f64,
    /// The wording of one more answer, that no label fits.
    pub none_of_these: Option<String>,
    /// Examples to show to the model.
    pub shots: usize,
    /// Which examples are chosen.
    pub seed: u64,
    /// What a probability is: among the labels alone, or of all that the model could say.
    pub scoring: OptionScoring,
    /// Score every label; else only as many as it takes to be sure of the best.
    pub all_scores: bool,
}

impl Classify {
    /// What "none of these" is called where a task wants it and has no wording of its own.
    pub const NONE_OF_THESE: &'static str = "none of these";

    /// One of these labels.
    ///
    /// # Errors
    /// No labels, one that is blank, two that are the same.
    pub fn new(labels: Vec<Label>) -> Result<Classify, TaskError> {
        if labels.is_empty() {
            return Err(TaskError::File("there are no labels\nhint: name at least one".to_owned()));
        }
        if labels.len() > MOST_LABELS {
            let count = labels.len();
            return Err(TaskError::File(format!("expected at most {MOST_LABELS} labels, got {count}")));
        }
        for (index, label) in labels.iter().enumerate() {
            check_label(&label.name, &labels[..index]).map_err(TaskError::File)?;
        }
        Ok(Classify {
            labels,
            several: false,
            threshold: 0.5,
            none_of_these: None,
            shots: 0,
            seed: 0,
            scoring: OptionScoring::Tree,
            all_scores: false,
        })
    }

    /// The labels, in their order.
    pub fn labels(&self) -> &[Label] {
        &self.labels
    }

    /// What a model with a template is asked about a text, as a message of the user, where no examples are shown.
    pub fn question(&self, instructions: Option<&str>, text: &str) -> String {
        let mut messages = Frame::new(self.head(instructions), "Text", "Label").chat(text).messages;
        messages.pop().map(|message| message.content).unwrap_or_default()
    }

    /// Looks for settings that contradict each other; a task file says so with its place before it comes to this.
    ///
    /// # Errors
    /// The first that do.
    pub fn check(&self) -> Result<(), TaskError> {
        let wrong = |what: &str| Err(TaskError::File(format!("{what}\nhint: leave one of them out")));
        match &self.none_of_these {
            Some(_) if self.several => return wrong("of several labels none may fit anyway, got a wording for none"),
            Some(wording) if self.labels.iter().any(|label| label.name.to_lowercase() == wording.to_lowercase()) => {
                return wrong(&format!("the wording {wording:?} for none of the labels is also the name of one"));
            }
            _ => {}
        }
        if self.several && self.shots > 0 {
            return wrong("with several labels no examples are shown, got a number of them");
        }
        Ok(())
    }

    fn head(&self, instructions: Option<&str>) -> String {
        let mut head = instructions.map(|text| format!("{text}\n\n")).unwrap_or_default();
        head.push_str("Labels:\n");
        for label in &self.labels {
            let _ = match &label.description {
                Some(description) => writeln!(head, "- {}: {description}", label.name),
                None => writeln!(head, "- {}", label.name),
            };
        }
        if let Some(none) = &self.none_of_these {
            let _ = writeln!(head, "- {none}");
        }
        head.push_str(if self.several {
            "\nAny number of labels may fit the text. Say of the label that is asked for whether it fits: yes or no."
        } else {
            "\nAnswer with the one label that fits the text best, and nothing else."
        });
        head
    }

    /// All that may be answered.
    fn options(&self) -> Vec<String> {
        self.labels.iter().map(|label| &label.name).chain(&self.none_of_these).cloned().collect()
    }

    fn label_of(&self, option: usize) -> Value {
        self.labels.get(option).map_or(Value::Null, |label| Value::from(label.name.as_str()))
    }

    /// The examples to show: of every label in turn, each label's in the order of their rank.
    fn choose_shots<'e>(&self, examples: &'e [Example], input: &Template) -> Result<Vec<Shot<'e>>, TaskError> {
        let mut by_label: Vec<Vec<(bool, u64, Shot<'e>)>> = vec![Vec::new(); self.labels.len() + 1];
        for example in examples {
            let text = input.fill(&example.input)?;
            let wanted = example.expected.as_str();
            let option = self.labels.iter().position(|label| Some(&*label.name) == wanted);
            let option = option.unwrap_or(self.labels.len());
            let order = (text.len() > LONGEST_SHOT, rank(self.seed, &text));
            by_label[option].push((order.0, order.1, Shot { text, answer: wanted }));
        }
        for of_label in &mut by_label {
            of_label.sort_by(|a, b| (b.0, b.1, &b.2.text).cmp(&(a.0, a.1, &a.2.text)));
            of_label.dedup_by(|a, b| a.2.text == b.2.text);
        }
        let mut shots: Vec<Shot<'e>> = Vec::new();
        while shots.len() < self.shots && by_label.iter().any(|of_label| !of_label.is_empty()) {
            for of_label in &mut by_label {
                if shots.len() < self.shots
                    && let Some((_, _, shot)) = of_label.pop()
                {
                    shots.push(shot);
                }
            }
        }
        // Labels in their order would say that the next is the label after the last.
        shots.sort_by_key(|shot| rank(self.seed ^ 1, &shot.text));
        Ok(shots)
    }
}

#[derive(Debug, Clone)]
struct Shot<'e> {
    text: String,
    answer: Option<&'e str>,
}

fn check_label(name: &str, before: &[Label]) -> Result<(), String> {
    if name.trim().is_empty() {
        return Err("a label is blank\nhint: a label is what the model says, a word or a few".to_owned());
    }
    if name.trim() != name || name.contains(['\n', '\r']) {
        return Err(format!("the label {name:?} has blanks around it or a line break in it\nhint: take them out"));
    }
    if let Some(other) = before.iter().find(|other| other.name.to_lowercase() == name.to_lowercase()) {
        let twice = format!("the label {name:?} stands twice");
        let like =
            if other.name == name { twice } else { format!("{twice}: {:?} is the same but for its case", other.name) };
        return Err(format!("{like}\nhint: leave one of them out"));
    }
    Ok(())
}

fn read(mut section: Section<'_>, data: &DataFiles) -> Result<Arc<dyn Kind>, TaskError> {
    let labels = match (section.take("labels"), section.take("label")) {
        (Some(_), Some(entry)) => return Err(entry.wrong("expected `labels` or [[classify.label]], got both")),
        (Some(entry), None) => read_labels(entry, |entry| Ok(Label { name: entry.text()?, description: None }))?,
        (None, Some(entry)) => read_labels(entry, |entry| {
            let mut section = entry.section(&["name", "description"])?;
            let name = section.require("name", "`name = \"...\"`, what the model says")?.text()?;
            Ok(Label { name, description: section.text("description")? })
        })?,
        (None, None) => {
            let hint = "hint: add `labels = [\"one\", \"other\"]` to [classify], or [[classify.label]] with \
                        name and description";
            return Err(section.wrong(format_args!("there are no labels\n{hint}")));
        }
    };
    let mut classify = Classify::new(labels).map_err(|error| section.wrong(error))?;
    classify.several = section.flag("several")?.unwrap_or(false);
    classify.all_scores = section.flag("all_scores")?.unwrap_or(false);
    if let Some(entry) = section.take("threshold") {
        if !classify.several {
            return Err(entry.wrong("has no effect without `several = true`\nhint: take it out"));
        }
        classify.threshold = entry.number("a number above 0, below 1", |number| number > 0.0 && number < 1.0)?;
    }
    if let Some(entry) = section.take("none_of_these") {
        classify.none_of_these = read_none(entry, &classify)?;
    }
    if let Some(entry) = section.take("seed") {
        classify.seed = entry.seed()?;
    }
    if let Some(entry) = section.take("shots") {
        let at = entry.at();
        classify.shots = entry.count()?;
        let wrong = |what: &str| Err(section.place().wrong(at, what));
        if classify.shots > 0 && classify.several {
            return wrong(
                "`shots`: with `several` each label is a question of its own, and no examples are shown\nhint: \
                 take it out",
            );
        }
        if classify.shots > 0 && (data.train.is_none() || data.expected.is_none()) {
            return wrong(
                "`shots`: there is nothing to show\nhint: [data] needs `train`, a table, and `expected`, its \
                 column of labels",
            );
        }
    }
    if let Some(entry) = section.take("scoring") {
        let wrong = entry.expected("\"tree\" or \"likelihood\"");
        classify.scoring = match entry.text()?.as_str() {
            "tree" => OptionScoring::Tree,
            "likelihood" => OptionScoring::Likelihood,
            _ => return Err(wrong),
        };
    }
    Ok(Arc::new(classify))
}

fn guess(sample: &Sample<'_>) -> Result<Guess, TaskError> {
    let columns = sample.columns().join(", ");
    let text = sample.named(&[crate::input::TEXT]).or_else(|| {
        let label = sample.label_column("");
        sample.longest(label.as_slice().iter().map(String::as_str).collect::<Vec<_>>().as_slice())
    });
    let label = text.as_deref().and_then(|text| sample.label_column(text));
    let (Some(text), Some(label)) = (text, label) else {
        let hint = "hint: a column of labels has few values, each in several rows; call it `label`";
        return Err(TaskError::Data(format!("no column looks like labels: its columns are {columns}\n{hint}")));
    };
    let values = sample.values(&label);
    let names: Vec<_> = values.iter().map(|(name, _)| quoted(name)).collect();
    let counts: Vec<_> =
        values.iter().map(|(name, count)| format!("{} {count}", name.replace(char::is_control, " "))).collect();
    let settings = format!(
        "[classify]\n# Rows of each: {}.\nlabels = [{}]\n\
         # A label that needs words has a table of its own: [[classify.label]] with name and description.\n\
         # none_of_these = true   # a text may have no label\n\
         # several = true         # a text may have several\n\
         # shots = 4              # examples of the train table that the model is shown\n",
        counts.join(", "),
        names.join(", "),
    );
    Ok(Guess { input: vec![text], expected: Some(label), is_label: true, settings })
}

/// The labels of a list, each checked at its own place.
fn read_labels<'a>(
    entry: Entry<'a>,
    read: impl Fn(Entry<'a>) -> Result<Label, TaskError>,
) -> Result<Vec<Label>, TaskError> {
    let empty = entry.wrong("there are no labels\nhint: name at least one");
    let mut labels = Vec::new();
    let items = entry.items()?;
    if items.is_empty() {
        return Err(empty);
    }
    for item in items.into_iter().take(MOST_LABELS + 1) {
        // The place goes with the entry, so the error is made before it is known to be needed.
        let wrong = item.wrong("");
        let label = read(item)?;
        if let Err(why) = check_label(&label.name, &labels) {
            let TaskError::File(place) = wrong else { return Err(wrong) };
            return Err(TaskError::File(place + &why));
        }
        labels.push(label);
    }
    Ok(labels)
}

fn read_none(entry: Entry<'_>, classify: &Classify) -> Result<Option<String>, TaskError> {
    if classify.several {
        return Err(
            entry.wrong("has no effect with `several`, where a text may have no label anyway\nhint: take it out")
        );
    }
    let at_fault = entry.wrong("this wording is also the name of a label\nhint: take another");
    let blank = entry.wrong("expected true or a wording, got a blank one");
    let wording = match entry {
        entry if entry.is_flag() => entry.flag()?.then(|| Classify::NONE_OF_THESE.to_owned()),
        entry if entry.is_text() => Some(entry.text()?),
        entry => return Err(entry.expected("true, or a text that says it")),
    };
    match wording {
        Some(wording) if wording.trim().is_empty() => Err(blank),
        Some(wording) if classify.labels.iter().any(|label| label.name.to_lowercase() == wording.to_lowercase()) => {
            Err(at_fault)
        }
        wording => Ok(wording),
    }
}

impl Kind for Classify {
    fn row(&self) -> &'static KindRow {
        &ROW
    }

    fn settings(&self) -> Value {
        let labels: Vec<_> = self.labels.iter().map(|label| json!([label.name, label.description])).collect();
        let scoring = if self.scoring == OptionScoring::Tree { "tree" } else { "likelihood" };
        json!({
            "labels": labels, "several": self.several, "threshold": self.threshold, "none_of_these": self.none_of_these,
            "shots": self.shots, "seed": self.seed, "scoring": scoring, "all_scores": self.all_scores,
        })
    }

    fn shots(&self) -> usize {
        self.shots
    }

    fn outcome_schema(&self) -> Value {
        let names: Vec<&str> = self.labels.iter().map(|label| label.name.as_str()).collect();
        let probability = json!({"type": ["number", "null"]});
        if self.several {
            let label = json!({"enum": names});
            let score = json!({"label": label, "fits": {"type": "boolean"}, "probability": probability});
            return object(&json!({
                "labels": {"type": "array", "items": label},
                "scores": {"type": "array", "items": object(&score)},
            }));
        }
        let none = self.none_of_these.as_ref().map(|_| Value::Null);
        let label = json!({"enum": names.into_iter().map(Value::from).chain(none).collect::<Vec<_>>()});
        let mut fields = json!({"label": label, "probability": probability});
        if self.all_scores {
            let score = json!({"label": label, "probability": {"type": "number"}});
            fields["scores"] = json!({"type": "array", "items": object(&score)});
        }
        object(&fields)
    }

    /// One label, or empty for none of these; with several a list, or labels with `;` between them.
    fn expected(&self, cell: Value) -> Result<Value, String> {
        let named = |name: &str| match self.labels.iter().any(|label| label.name == name) {
            true => Ok(Value::from(name)),
            false => Err(format!("{name:?} is not one of the labels: {}", self.options().join(", "))),
        };
        match (cell, self.several) {
            (Value::Null, true) => Ok(json!([])),
            (Value::String(text), true) => {
                let names = text.split(';').map(str::trim).filter(|name| !name.is_empty());
                Ok(Value::Array(names.map(named).collect::<Result<_, _>>()?))
            }
            (Value::Array(names), true) => {
                let name = |name: &Value| named(name.as_str().unwrap_or_default());
                Ok(Value::Array(names.iter().map(name).collect::<Result<_, _>>()?))
            }
            (Value::Null, false) => self.none_is_right("nothing"),
            (Value::String(text), false) if text.trim().is_empty() => self.none_is_right("an empty cell"),
            (Value::String(text), false) if Some(&text) == self.none_of_these.as_ref() => Ok(Value::Null),
            (Value::String(text), false) => named(text.trim()),
            // A label may be a number, which a table of numbers holds as one.
            (other, _) => named(&other.to_string()),
        }
    }

    /// No label of several, and none of these, are what is right where a cell is empty.
    fn is_unlabelled(&self, cell: &Value) -> bool {
        let may_be_none = self.several || self.none_of_these.is_some();
        let is_label = self.labels.iter().any(|label| label.name == UNLABELLED);
        !may_be_none && is_blank(cell) || !is_label && is_marked(cell)
    }

    fn ready<'a>(
        &'a self,
        asker: Asker,
        task: &'a Task,
        examples: &'a [Example],
    ) -> BoxFuture<'a, Result<Prepared, TaskError>> {
        Box::pin(async move {
            self.check()?;
            let head = self.head(task.instructions.as_deref());
            let mut frame = Frame::new(head, "Text", if self.several { "Answer" } else { "Label" });
            let mut warnings: Vec<String> = of_no_effect(&task.options, asker.can_choose()).into_iter().collect();
            if let ([only], false, None) = (&self.labels[..], self.several, &self.none_of_these) {
                let name = &only.name;
                warnings
                    .push(format!("there is one label: every text is {name:?}, unless none_of_these lets it be none"));
            }
            if self.shots > 0 {
                let none = self.none_of_these.as_deref().unwrap_or(Classify::NONE_OF_THESE);
                let shots = self.choose_shots(examples, &task.input)?;
                if shots.len() < self.shots {
                    warnings.push(format!("{} examples are to be shown, there are only {}", self.shots, shots.len()));
                }
                let shot = |shot: Shot<'_>| (shot.text, shot.answer.unwrap_or(none).to_owned());
                frame.shots = shots.into_iter().map(shot).collect();
            }
            if !asker.can_choose() {
                if self.all_scores {
                    let model = asker.model().info().name.clone();
                    return Err(ChatError::Unsupported {
                        model,
                        what: "scores of given answers, which all_scores asks for",
                    }
                    .into());
                }
                let options = if self.several { yes_or_no() } else { self.options() };
                warnings.extend(asker.prepare(&AnswerFormat::Choices(options)).await?);
            }
            let shown = json!(frame.shots);
            let asking = Classifying { settings: self.clone(), asker, frame, input: task.input.clone() };
            Ok(Prepared { asking: Box::new(asking), warnings, shown })
        })
    }
}

impl Classify {
    fn none_is_right(&self, got: &str) -> Result<Value, String> {
        match self.none_of_these {
            Some(_) => Ok(Value::Null),
            None => Err(format!("expected one of the labels {}, got {got}", self.options().join(", "))),
        }
    }
}

/// Options that a task sets and that change nothing of a label.
fn of_no_effect(options: &GenerationOptions, scores: bool) -> Option<String> {
    let is_random = options.temperature.is_some_and(|temperature| temperature > 0.0);
    let unheeded = [
        ("max_tokens", options.max_tokens.is_some()),
        ("temperature", scores && is_random),
        ("seed", scores && options.seed.is_some()),
    ];
    let names: Vec<_> = unheeded.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| *name).collect();
    let reason = if scores { "the model scores the labels and writes none" } else { "a label is written to its end" };
    (!names.is_empty()).then(|| format!("of no effect: {}; {reason}", names.join(", ")))
}

fn yes_or_no() -> Vec<String> {
    vec!["yes".to_owned(), "no".to_owned()]
}

struct Classifying {
    settings: Classify,
    asker: Asker,
    frame: Frame,
    input: Template,
}

impl Classifying {
    /// The best option with its probability, where the model tells it, and all that were scored.
    async fn best(
        &self,
        text: &str,
        options: &[String],
        all: bool,
        outcome: &mut Outcome,
    ) -> Result<(usize, Option<f64>, ChooseResponse), TaskError> {
        if self.asker.can_choose() {
            let chosen = self.asker.choose(&self.frame, text, options, self.settings.scoring, all).await?;
            outcome.prompt_tokens += chosen.prompt_tokens;
            outcome.cached_tokens += chosen.cached_tokens;
            outcome.completion_tokens += chosen.option_tokens;
            let best = chosen.scores.first().filter(|best| best.option < options.len());
            let Some(best) = best else {
                return Err(TaskError::Output("the model scored none of the labels".to_owned()));
            };
            return Ok((best.option, Some(best.logprob.exp()), chosen));
        }
        let format = AnswerFormat::Choices(options.to_vec());
        // No token says less than a byte; a provider may want the label in an object.
        let longest = options.iter().map(String::len).max().unwrap_or(0) + AROUND_A_LABEL;
        let max_tokens = Some(longest);
        let options_of_answer = GenerationOptions { max_tokens, stop: Vec::new(), ..self.asker.options(0) };
        let written = self.asker.write(&self.frame, text, Some(&format), options_of_answer).await?;
        written.count(outcome);
        let answer = written.text.trim();
        match options.iter().position(|option| option == answer) {
            Some(option) => Ok((option, None, ChooseResponse::default())),
            None => {
                Err(TaskError::Output(format!("the model answered {answer:?}, expected one of {}", options.join(", "))))
            }
        }
    }

    async fn one(&self, text: &str) -> Result<Outcome, TaskError> {
        let mut outcome = Outcome::default();
        let all = self.settings.all_scores;
        let (best, probability, chosen) = self.best(text, &self.settings.options(), all, &mut outcome).await?;
        outcome.fields.insert("label".to_owned(), self.settings.label_of(best));
        outcome.fields.insert("probability".to_owned(), json!(probability));
        if all {
            let score = |score: &chat::OptionScore| {
                let probability = score.logprob.exp();
                json!({ "label": self.settings.label_of(score.option), "probability": probability })
            };
            outcome.fields.insert("scores".to_owned(), chosen.scores.iter().map(score).collect());
        }
        Ok(outcome)
    }

    async fn each(&self, text: &str) -> Result<Outcome, TaskError> {
        let mut outcome = Outcome::default();
        let (mut labels, mut scores) = (Vec::new(), Vec::new());
        for label in &self.settings.labels {
            let question = question(text, &label.name);
            let (best, _, chosen) = self.best(&question, &yes_or_no(), true, &mut outcome).await?;
            let of =
                |option: usize| chosen.scores.iter().find(|score| score.option == option).map(|score| score.logprob);
            // Under likelihood the two do not sum to 1; what counts is one against the other.
            let yes = of(0).zip(of(1)).map(|(yes, no)| 1.0 / (1.0 + (no - yes).exp()));
            let fits = yes.map_or(best == 0, |yes| yes >= self.settings.threshold);
            if fits {
                labels.push(Value::from(label.name.as_str()));
            }
            scores.push(json!({ "label": label.name, "fits": fits, "probability": yes }));
        }
        outcome.fields =
            Map::from_iter([("labels".to_owned(), Value::Array(labels)), ("scores".to_owned(), Value::Array(scores))]);
        Ok(outcome)
    }
}

fn question(text: &str, label: &str) -> String {
    format!("{text}\n\nDoes the label \"{label}\" fit this text?")
}

impl Asking for Classifying {
    fn ask<'a>(&'a self, input: &'a Input) -> BoxFuture<'a, Result<Outcome, TaskError>> {
        Box::pin(async move {
            let text = self.input.fill(input)?;
            if self.settings.several { self.each(&text).await } else { self.one(&text).await }
        })
    }

    fn preview(&self, input: &Input) -> Result<String, TaskError> {
        let mut text = self.input.fill(input)?;
        if self.settings.several {
            text = question(&text, &self.settings.labels[0].name);
        }
        Ok(self.frame.shown(&text, self.asker.has_template()))
    }
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
