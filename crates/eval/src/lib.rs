//! Is a model good enough for a task? A verdict, with the evidence that it rests on.
//!
//! ```text
//! task, candidates -> run: every row of the test set through every candidate -> rows of the ledger
//! rows -> metrics (what is counted of a row, and the figure that the sums make) -> statistics (how sure a figure is)
//!      -> verdict (good enough, not good enough, not enough evidence) -> report
//! ```
//!
//! Candidates are `tasks::Work`: a task with a model, or a baseline that needs none (`baselines`). A standard benchmark
//! (`suites`) brings rows, a task, metrics and a way of asking, and is judged like everything else. It knows no engine, no
//! provider, no HTTP and no terminal. Read next: `metrics.rs` for what a metric is.
#![forbid(unsafe_code)]

mod contender;
mod error;
mod evaluation;
mod evidence;
mod figures;
mod findings;
mod grader;
mod keeper;
mod run;
mod test_set;

pub mod baselines;
pub mod compare;
pub mod gate;
pub mod graders;
pub mod interchange;
pub mod metrics;
pub mod render;
pub mod report;
pub mod runs;
pub mod statistics;
pub mod suites;
pub mod verdict;

pub use contender::{Contender, Entrant, Preview, Price};
pub use error::EvalError;
pub use evaluation::{Evaluation, Options, Plan, check_goal};
pub use evidence::Evidence;
pub use findings::confidence;
pub use grader::{Grade, Graded, Grader};
pub use run::Watch;
pub use test_set::{Leaks, TestRow, TestSet, scored_column};

/// Goes into the fingerprint of a run; whoever changes what is counted or in which order raises it.
const VERSION: &str = "1";
