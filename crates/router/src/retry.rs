//! How often and how soon a request is sent again, until its first token came.
//!
//! Pauses grow exponentially and are chosen at random below that ("full jitter": Brooker, "Exponential Backoff And
//! Jitter", AWS Architecture Blog, 2015), so that many requests that failed together do not come back together. A pause
//! that the provider asks for is kept in full.

use crate::failure::Trouble;
use chat::ChatError;
use reqwest::header::{self, HeaderMap};
use std::time::{Duration, Instant, SystemTime};

/// How often, how soon and how long to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Tries, the first included.
    pub attempts: u32,
    /// The longest pause after the first failure; it doubles with each.
    pub first_pause: Duration,
    /// The longest pause of our own choice.
    pub longest_pause: Duration,
    /// How long a connection may take to open.
    pub connect: Duration,
    /// How long the server may be silent, before its answer and in the middle of it.
    pub idle: Duration,
    /// How long a request may take with all tries and pauses, to the end of its answer.
    pub total: Duration,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            attempts: 6,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(30),
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(120),
            total: Duration::from_secs(600),
        }
    }
}

/// Counts the failures of one request.
pub(crate) struct Retry {
    policy: Policy,
    failures: u32,
    deadline: Instant,
}

impl Retry {
    pub(crate) fn new(policy: Policy, now: Instant) -> Retry {
        Retry { policy, failures: 0, deadline: now + policy.total }
    }

    /// When the request is over, come what may.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// How long to wait before the next try; `fraction` in [0, 1) is the random part.
    ///
    /// # Errors
    /// There is no next try: the trouble lasts, the tries are used up, or the pause would outlast the request.
    pub(crate) fn pause(
        &mut self,
        name: &str,
        trouble: Trouble,
        now: Instant,
        fraction: f64,
    ) -> Result<Duration, ChatError> {
        let (why, asked, is_limit) = match trouble {
            Trouble::Lasting(error) => return Err(error),
            Trouble::Passing { why, pause, is_limit } => (why, pause, is_limit),
        };
        self.failures += 1;
        let doubled = self.policy.first_pause.saturating_mul(1 << (self.failures - 1).min(16));
        let own = doubled.min(self.policy.longest_pause).mul_f64(fraction.clamp(0.0, 1.0));
        let pause = asked.unwrap_or(own);
        let left = self.deadline.saturating_duration_since(now);
        let tries = if self.failures == 1 { "1 try".to_owned() } else { format!("{} tries", self.failures) };
        let message = if pause >= left && self.failures < self.policy.attempts {
            let (pause, left) = (pause.as_secs_f64(), left.as_secs_f64());
            let hint = "hint: ask again later, or ask for less at once";
            format!("{name}: {why} ({tries}; the next is due in {pause:.1} s, and {left:.1} s are left)\n{hint}")
        } else if self.failures >= self.policy.attempts {
            let hint = if is_limit {
                "ask for less at once"
            } else {
                "the provider or the network has trouble; try again later"
            };
            format!("{name}: {why} ({tries})\nhint: {hint}")
        } else {
            return Ok(pause);
        };
        Err(if is_limit { ChatError::Overloaded(message) } else { ChatError::Unavailable(message) })
    }
}

/// The pause that a refusal asks for: `retry-after-ms`, else `Retry-After` in seconds or as a date (RFC 9110, 10.2.3).
pub(crate) fn asked_pause(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let seconds = |text: &str, unit: f64| {
        let number = text.parse::<f64>().ok()?;
        Duration::try_from_secs_f64(number * unit).ok()
    };
    if let Some(pause) = text("retry-after-ms").and_then(|text| seconds(text, 0.001)) {
        return Some(pause);
    }
    let after = text(header::RETRY_AFTER.as_str())?;
    let until = |date: SystemTime| date.duration_since(SystemTime::now()).unwrap_or_default();
    seconds(after, 1.0).or_else(|| httpdate::parse_http_date(after).ok().map(until))
}

/// A random number in [0, 1).
pub(crate) fn random_fraction() -> f64 {
    // Without a source of randomness the pause is the longest, which is only slower.
    getrandom::u32().map_or(1.0, |bits| f64::from(bits) / (f64::from(u32::MAX) + 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        let second = Duration::from_secs(1);
        Policy { attempts: 4, first_pause: second, longest_pause: 3 * second, total: 100 * second, ..Policy::default() }
    }

    fn trouble(pause: Option<u64>) -> Trouble {
        Trouble::Passing { why: "status 429: slow".into(), pause: pause.map(Duration::from_secs), is_limit: true }
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_end() {
        let now = Instant::now();
        let mut retry = Retry::new(policy(), now);
        let mut next = || retry.pause("p/m", trouble(None), now, 0.5).map_err(|error| error.to_string());
        assert_eq!(next(), Ok(Duration::from_millis(500)));
        assert_eq!(next(), Ok(Duration::from_secs(1)));
        assert_eq!(next(), Ok(Duration::from_millis(1500)));
        assert_eq!(next(), Err("p/m: status 429: slow (4 tries)\nhint: ask for less at once".to_owned()));
    }

    #[test]
    fn a_pause_that_is_asked_for_is_kept_in_full_or_not_begun() {
        let now = Instant::now();
        let mut retry = Retry::new(policy(), now);
        assert_eq!(retry.pause("p/m", trouble(Some(90)), now, 0.0).unwrap(), Duration::from_secs(90));
        let later = now + Duration::from_secs(90);
        let error = retry.pause("p/m", trouble(Some(90)), later, 0.0).unwrap_err();
        assert!(matches!(error, ChatError::Overloaded(_)));
        let told = "p/m: status 429: slow (2 tries; the next is due in 90.0 s, and 10.0 s are left)\n\
                    hint: ask again later, or ask for less at once";
        assert_eq!(error.to_string(), told);
    }

    #[test]
    fn a_retry_after_is_read_in_all_its_forms() {
        let asked = |name: &'static str, value: &str| {
            asked_pause(&HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]))
        };
        assert_eq!(asked("retry-after", "7"), Some(Duration::from_secs(7)));
        assert_eq!(asked("retry-after", "0.25"), Some(Duration::from_millis(250)));
        assert_eq!(asked("retry-after-ms", "250"), Some(Duration::from_millis(250)));
        assert_eq!(asked("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        let pause = asked("retry-after", &soon).unwrap().as_secs();
        assert!((98..=100).contains(&pause), "{pause}");
        for odd in ["soon", "-1", "1e300", "NaN"] {
            assert_eq!(asked("retry-after", odd), None, "{odd}");
        }
    }

    #[test]
    fn random_fractions_differ_and_stay_below_one() {
        let all: Vec<f64> = (0..50).map(|_| random_fraction()).collect();
        assert!(all.iter().all(|fraction| (0.0..1.0).contains(fraction)) && all.iter().any(|one| *one != all[0]));
    }
}
