//! Whether a candidate is good enough, said of nothing but the interval that is shown.

use crate::report::{Candidate, Figure, Goal};
use serde::{Deserialize, Serialize};

/// What is said of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Its interval lies past the threshold, and it is as quick and as cheap as it has to be.
    GoodEnough,
    /// Its interval lies before the threshold, or it is too slow or too dear.
    NotGoodEnough,
    /// The interval has the threshold in it.
    NotEnoughEvidence,
}

impl Verdict {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Verdict::GoodEnough => "good enough",
            Verdict::NotGoodEnough => "not good enough",
            Verdict::NotEnoughEvidence => "not enough evidence",
        }
    }
}

/// What is said of all candidates together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overall {
    /// Good enough where one candidate is; not good enough where none can be; none without a threshold.
    pub verdict: Option<Verdict>,
    /// The candidate to take: the cheapest that is good enough.
    pub recommended: Option<String>,
    /// The verdict in a sentence or two.
    pub text: String,
    /// How many more rows would decide it, where evidence is lacking.
    pub more_rows: Option<u64>,
}
