//! How much a key may ask: at once, and in a minute.
//!
//! Time is given, not read, so that tests need not wait. Read next: `keys`, where the limits come from.

use crate::failure::{Failure, FailureKind};
use crate::keys::Key;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

/// What one key has asked.
#[derive(Debug, Default)]
struct Use {
    under_way: usize,
    /// When requests came, those of the last minute.
    requests: VecDeque<Instant>,
    /// When tokens were read or generated, and how many, those of the last minute.
    tokens: VecDeque<(Instant, u64)>,
}

impl Use {
    fn forget_before(&mut self, now: Instant) {
        let is_old = |at: Instant| now.duration_since(at) >= MINUTE;
        while self.requests.front().is_some_and(|at| is_old(*at)) {
            self.requests.pop_front();
        }
        while self.tokens.front().is_some_and(|(at, _)| is_old(*at)) {
            self.tokens.pop_front();
        }
    }
}

type Uses = Arc<Mutex<HashMap<String, Use>>>;

/// What all keys have asked.
#[derive(Default)]
pub(crate) struct Limits {
    uses: Uses,
}

/// A request of a key under way; dropping it gives its place back.
pub(crate) struct Held {
    uses: Uses,
    key: String,
}

impl Limits {
    /// Counts a request of a key, or refuses it with the limit that it would pass.
    pub(crate) fn enter(&self, key: &Key, now: Instant) -> Result<Held, Failure> {
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        let used = uses.entry(key.id.clone()).or_default();
        used.forget_before(now);
        let left = |at: Option<Instant>| at.map_or(MINUTE, |at| MINUTE.saturating_sub(now.duration_since(at)));
        let name = &key.name;
        if let Some(most) = key.limits.concurrent.filter(|most| used.under_way >= *most) {
            let message = format!("the key {name} has {most} requests under way, its limit\nhint: try again later");
            return Err(Failure::new(FailureKind::Limited, message));
        }
        if let Some(most) = key.limits.requests_per_minute.filter(|most| used.requests.len() >= *most) {
            let message = format!(
                "the key {name} has asked {most} times within a minute, its limit\nhint: Retry-After tells when to come back"
            );
            return Err(Failure::limited_for(message, left(used.requests.front().copied())));
        }
        let tokens: u64 = used.tokens.iter().map(|(_, count)| count).sum();
        if let Some(most) = key.limits.tokens_per_minute.filter(|most| tokens >= *most) {
            let message = format!(
                "the key {name} has used {tokens} tokens within a minute, its limit is {most}\nhint: Retry-After tells when to come back"
            );
            return Err(Failure::limited_for(message, left(used.tokens.front().map(|(at, _)| *at))));
        }
        used.under_way += 1;
        used.requests.push_back(now);
        Ok(Held { uses: Arc::clone(&self.uses), key: key.id.clone() })
    }
}

impl Held {
    /// Counts tokens that were read and generated for the key.
    pub(crate) fn spend(&self, tokens: u64, now: Instant) {
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(used) = uses.get_mut(&self.key) {
            used.tokens.push_back((now, tokens));
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(used) = uses.get_mut(&self.key) {
            used.under_way = used.under_way.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::KeyLimits;

    fn key(limits: KeyLimits) -> Key {
        Key { id: "k".to_owned(), name: "team".to_owned(), scopes: Vec::new(), limits }
    }

    #[test]
    fn requests_at_once_are_bounded() {
        let limits = Limits::default();
        let key = key(KeyLimits { concurrent: Some(1), ..KeyLimits::default() });
        let now = Instant::now();
        let held = limits.enter(&key, now).unwrap();
        let refused = limits.enter(&key, now).err().unwrap();
        assert_eq!(refused.message, "the key team has 1 requests under way, its limit\nhint: try again later");
        drop(held);
        assert!(limits.enter(&key, now).is_ok());
    }

    #[test]
    fn a_minute_later_there_is_room_again() {
        let limits = Limits::default();
        let key = key(KeyLimits { requests_per_minute: Some(2), tokens_per_minute: Some(10), ..KeyLimits::default() });
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        drop(limits.enter(&key, at(0)).unwrap());
        drop(limits.enter(&key, at(20)).unwrap());
        let refused = limits.enter(&key, at(30)).err().unwrap();
        assert_eq!(refused.retry_after, Some(Duration::from_secs(30)));
        limits.enter(&key, at(61)).unwrap().spend(10, at(62));
        let refused = limits.enter(&key, at(81)).err().unwrap();
        assert_eq!(
            refused.message,
            "the key team has used 10 tokens within a minute, its limit is 10\nhint: Retry-After tells when to come back"
        );
        assert_eq!(refused.retry_after, Some(Duration::from_secs(41)));
    }
}
