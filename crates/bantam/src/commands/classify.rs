//! `bantam classify`: which of some labels a text has.

use crate::failure::UsedWrongly;
use crate::session::Session;
use crate::work::{self, Given, Shown, View, WorkArgs, refuse_beside};
use chat::OptionScoring;
use clap::ValueEnum;
use serde_json::Value;
use tasks::{Classify, Label, Outcome, Task};

/// Tell which of some labels a text has, with probabilities
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bantam classify --labels billing,technical,other \"My invoice is wrong.\"
  bantam classify --labels \"spam=wants money or a click,ham\" --in mails.csv --out labelled.csv
  bantam classify triage.toml --in mails.jsonl --out labelled.jsonl   stopped, it goes on
  bantam classify triage.toml --in letters/                           a folder
  cat letter.txt | bantam classify --labels complaint,praise --none-of-these --json

One text: the label alone on standard output; with --several one a line. Many: a line of JSON each,
or a file of results with the columns of the input and `label`, `probability`, `error`; a column of
the input with such a name is called input_label there. With --out it is a job: `bantam jobs`.")]
pub struct Args {
    /// The labels, with commas between them; LABEL=DESCRIPTION says what one means
    #[arg(long, value_name = "A,B,..", value_delimiter = ',')]
    labels: Vec<String>,
    /// One label, whose description may have commas; may be given several times
    #[arg(long, value_name = "LABEL=DESCRIPTION")]
    label: Vec<String>,
    /// A text may have none of the labels; the model is told so in these words
    #[arg(long, value_name = "WORDING", num_args = 0..=1, require_equals = true, default_missing_value = Classify::NONE_OF_THESE)]
    none_of_these: Option<String>,
    /// A text may have several labels: each is a question of its own
    #[arg(long)]
    several: bool,
    /// With --several: how probable a label has to be; the default is 0.5
    #[arg(long, value_name = "P", requires = "several")]
    threshold: Option<f64>,
    /// Show the model N examples, of the train table of the task file
    #[arg(long, value_name = "N")]
    shots: Option<usize>,
    /// What a probability is: among the labels, or of all that the model could say
    #[arg(long, value_name = "HOW")]
    scoring: Option<Scoring>,
    /// Score every label, not only as many as it takes to be sure of the best
    #[arg(long)]
    all_scores: bool,
    #[command(flatten)]
    work: WorkArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Scoring {
    Tree,
    Likelihood,
}

const VIEW: View = View { show, is_line: true };

pub fn execute(args: Args, session: &Session) -> anyhow::Result<()> {
    let named = args.work.named()?;
    let mut task = match &named.file {
        None => Task::new("classify", args.classify()?),
        Some(file) => {
            let flags = [
                ("--labels", !args.labels.is_empty()),
                ("--label", !args.label.is_empty()),
                ("--none-of-these", args.none_of_these.is_some()),
                ("--several", args.several),
            ];
            refuse_beside(file, &flags)?;
            work::open(file, "classify")?
        }
    };
    args.change(&mut task)?;
    let given = named.text.map(|text| Given::text(&text, &task)).transpose()?;
    work::execute(task, given, &args.work, VIEW, session)
}

impl Args {
    fn classify(&self) -> Result<Classify, UsedWrongly> {
        let labels: Vec<Label> = self.labels.iter().chain(&self.label).map(|text| label(text)).collect();
        if labels.is_empty() {
            let hint = "hint: --labels one,other, or a task file: bantam classify TASK.toml";
            return Err(UsedWrongly(format!("expected labels, got none\n{hint}")));
        }
        let mut classify = Classify::new(labels).map_err(|error| UsedWrongly(format!("--labels: {error}")))?;
        let threshold = self.threshold.unwrap_or(classify.threshold);
        if !(threshold > 0.0 && threshold < 1.0) {
            return Err(UsedWrongly(format!("--threshold: expected a number above 0, below 1, got {threshold}")));
        }
        let none_of_these = self.none_of_these.clone();
        if none_of_these.as_ref().is_some_and(|wording| wording.trim().is_empty()) {
            return Err(UsedWrongly("--none-of-these: expected a wording, got a blank one".to_owned()));
        }
        classify.several = self.several;
        classify.threshold = threshold;
        classify.none_of_these = none_of_these;
        Ok(classify)
    }

    /// Changes what may be changed beside a file too.
    fn change(&self, task: &mut Task) -> Result<(), UsedWrongly> {
        let Some(classify) = task.settings::<Classify>() else { return Ok(()) };
        let mut classify = classify.clone();
        classify.all_scores |= self.all_scores;
        classify.shots = self.shots.unwrap_or(classify.shots);
        match self.scoring {
            Some(Scoring::Tree) => classify.scoring = OptionScoring::Tree,
            Some(Scoring::Likelihood) => classify.scoring = OptionScoring::Likelihood,
            None => {}
        }
        if classify.shots > 0 && (task.data.train.is_none() || task.data.expected.is_none()) {
            let hint = "hint: a task file whose [data] has `train` and `expected`; `bantam init` makes one";
            return Err(UsedWrongly(format!("--shots: there are no examples to show\n{hint}")));
        }
        classify.check().map_err(|error| UsedWrongly(error.to_string()))?;
        task.set_settings(classify);
        Ok(())
    }
}

fn label(text: &str) -> Label {
    match text.split_once('=') {
        Some((name, description)) if !description.trim().is_empty() => {
            Label { name: name.trim().to_owned(), description: Some(description.trim().to_owned()) }
        }
        _ => Label { name: text.trim().to_owned(), description: None },
    }
}

fn show(task: &Task, outcome: &Outcome) -> Shown {
    let percent = |score: &Value| score["probability"].as_f64().map_or(String::new(), |share| format!("{share:.4}"));
    let none = task.settings::<Classify>().and_then(|classify| classify.none_of_these.as_deref());
    let named = |label: &Value| label.as_str().or(none).unwrap_or(Classify::NONE_OF_THESE).to_owned();
    let fields = Value::Object(outcome.fields.clone());
    let scores = fields["scores"].as_array().map(Vec::as_slice).unwrap_or_default();
    let lines = |scores: &[Value]| -> Vec<String> {
        scores.iter().map(|score| format!("{}\t{}", named(&score["label"]), percent(score))).collect()
    };
    if let Some(labels) = fields["labels"].as_array() {
        let labels: Vec<_> = labels.iter().map(named).collect();
        return Shown { text: labels.iter().map(|label| format!("{label}\n")).collect(), asides: lines(scores) };
    }
    if !scores.is_empty() {
        return Shown { text: lines(scores).join("\n") + "\n", asides: Vec::new() };
    }
    let probability = percent(&fields);
    let asides = if probability.is_empty() { Vec::new() } else { vec![format!("probability {probability}")] };
    Shown { text: named(&fields["label"]) + "\n", asides }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_label_may_say_what_it_means() {
        let described = |text: &str| (label(text).name, label(text).description);
        assert_eq!(described("spam=wants money, or a click"), ("spam".into(), Some("wants money, or a click".into())));
        assert_eq!(described(" ham "), ("ham".into(), None));
        assert_eq!(described("="), ("=".into(), None));
    }

    #[test]
    fn one_label_stands_alone_and_all_scores_stand_beside_theirs() {
        let labels = ["a", "b"].map(|name| Label { name: name.to_owned(), description: None });
        let task = Task::new("t", Classify::new(labels.to_vec()).unwrap());
        let shown = |fields: Value| {
            let outcome = Outcome { fields: fields.as_object().unwrap().clone(), ..Outcome::default() };
            let Shown { text, asides } = show(&task, &outcome);
            (text, asides.join("\n"))
        };
        let (text, asides) = shown(json!({"label": "a", "probability": 0.75}));
        assert_eq!((text.as_str(), asides.as_str()), ("a\n", "probability 0.7500"));
        assert_eq!(shown(json!({"label": null, "probability": null})).0, "none of these\n");
        let scores = json!([{"label": "a", "probability": 0.75}, {"label": null, "probability": 0.25}]);
        let (text, _) = shown(json!({"label": "a", "probability": 0.75, "scores": scores}));
        assert_eq!(text, "a\t0.7500\nnone of these\t0.2500\n");
        assert_eq!(shown(json!({"labels": ["a", "b"], "scores": []})).0, "a\nb\n");
        assert_eq!(shown(json!({"labels": [], "scores": []})).0, "");
    }
}
