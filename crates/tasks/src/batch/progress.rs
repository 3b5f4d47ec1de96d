//! How far a job is, for whoever looks on.

use std::time::Duration;

/// How far a job is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Progress {
    /// Rows with an outcome, those of earlier runs included.
    pub done: u64,
    /// Rows that failed, those of earlier runs included.
    pub failed: u64,
    /// All rows, where that is known.
    pub total: Option<u64>,
    /// Rows that this run settled: the rates are theirs.
    pub settled_now: u64,
    /// Tokens of prompts, of this run.
    pub prompt_tokens: u64,
    /// Those of them that were not computed.
    pub cached_tokens: u64,
    /// Tokens generated, of this run.
    pub completion_tokens: u64,
    /// How long this run has lasted.
    pub elapsed: Duration,
}

impl Progress {
    /// Rows that this run settles in a second, on average; none before the first.
    pub fn rows_per_second(&self) -> Option<f64> {
        self.rate(self.settled_now)
    }

    /// Tokens that this run computes in a second, on average: of prompts, but for those that were cached, and
    /// generated.
    pub fn tokens_per_second(&self) -> Option<f64> {
        self.rate(self.prompt_tokens.saturating_sub(self.cached_tokens) + self.completion_tokens)
    }

    /// How long the rest takes at the rate so far, where total and rate are known.
    pub fn time_left(&self) -> Option<Duration> {
        let left = self.total?.saturating_sub(self.done + self.failed);
        Duration::try_from_secs_f64(left as f64 / self.rows_per_second()?).ok()
    }

    fn rate(&self, count: u64) -> Option<f64> {
        let seconds = self.elapsed.as_secs_f64();
        (self.settled_now > 0 && seconds > 0.0).then(|| count as f64 / seconds)
    }
}

/// Looks on while a job runs. Its calls come between answers, so that they had better be short.
pub trait Watch: Send + Sync {
    /// How far the job is: at its begin, about twenty times a second where anything came, and at its end.
    fn progress(&self, progress: &Progress);

    /// A row could not be done; the job goes on.
    fn row_failed(&self, _number: u64, _name: &str, _reason: &str) {}

    /// A row could not be done now, and is tried again after a while.
    fn row_waits(&self, _number: u64, _name: &str, _reason: &str, _delay: Duration) {}
}

/// Nobody looks on.
impl Watch for () {
    fn progress(&self, _progress: &Progress) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_this_run() {
        let progress = Progress {
            done: 60,
            failed: 10,
            total: Some(100),
            settled_now: 20,
            prompt_tokens: 500,
            cached_tokens: 300,
            completion_tokens: 100,
            elapsed: Duration::from_secs(10),
        };
        assert_eq!(progress.rows_per_second(), Some(2.0));
        assert_eq!(progress.tokens_per_second(), Some(30.0));
        assert_eq!(progress.time_left(), Some(Duration::from_secs(15)));
        assert_eq!(Progress { total: None, ..progress }.time_left(), None);
        assert_eq!(Progress { settled_now: 0, ..progress }.time_left(), None);
        assert_eq!(Progress { elapsed: Duration::ZERO, ..progress }.rows_per_second(), None);
    }
}
