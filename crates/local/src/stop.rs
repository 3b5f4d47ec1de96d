//! Ends an answer at a stop string, while it streams.
//!
//! Text that may turn out to be the beginning of a stop string is held back until it is known not to be. This file
//! knows nothing of tokens. Read next: `answer`, the only user.

/// What a piece of text led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scanned {
    /// Text that is certainly part of the answer.
    pub(crate) text: String,
    /// Whether a stop string came; nothing after it is part of the answer.
    pub(crate) stopped: bool,
}

/// Looks for stop strings in a stream of text.
#[derive(Debug, Clone)]
pub(crate) struct StopScanner {
    stops: Vec<String>,
    held: String,
    /// Which of the strings came.
    found: Option<usize>,
}

impl StopScanner {
    /// A scanner for these strings; empty ones never match.
    pub(crate) fn new(stops: Vec<String>) -> StopScanner {
        StopScanner { stops, held: String::new(), found: None }
    }

    /// Takes the next piece.
    pub(crate) fn push(&mut self, piece: &str) -> Scanned {
        self.held.push_str(piece);
        let starts = self.stops().filter_map(|(index, stop)| self.held.find(stop).map(|start| (start, index)));
        if let Some((start, index)) = starts.min() {
            self.found = Some(index);
            self.held.truncate(start);
            return Scanned { text: std::mem::take(&mut self.held), stopped: true };
        }
        let held_from = self.first_possible_start();
        let kept = self.held.split_off(held_from);
        Scanned { text: std::mem::replace(&mut self.held, kept), stopped: false }
    }

    /// Which of the strings came, as an index; none where none did.
    pub(crate) fn found(&self) -> Option<usize> {
        self.found
    }

    /// The strings that can match, with their indices.
    fn stops(&self) -> impl Iterator<Item = (usize, &str)> {
        self.stops.iter().map(String::as_str).enumerate().filter(|(_, stop)| !stop.is_empty())
    }

    /// The stream has ended: what was held back was no stop string.
    pub(crate) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// The earliest place from which the rest of the held text is the beginning of a stop string; else its end.
    fn first_possible_start(&self) -> usize {
        let longest = self.stops.iter().map(String::len).max().unwrap_or(0);
        let earliest = self.held.len().saturating_sub(longest.saturating_sub(1));
        let starts = self.held.char_indices().map(|(start, _)| start).filter(|&start| start >= earliest);
        let mut possible = starts.filter(|&start| self.stops().any(|(_, stop)| stop.starts_with(&self.held[start..])));
        possible.next().unwrap_or(self.held.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scan(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let mut scanner = StopScanner::new(stops.iter().map(|stop| (*stop).to_owned()).collect());
        let mut text = String::new();
        for piece in pieces {
            let scanned = scanner.push(piece);
            text.push_str(&scanned.text);
            if scanned.stopped {
                return (text, true);
            }
        }
        text.push_str(&scanner.finish());
        (text, false)
    }

    #[test]
    fn a_stop_string_across_pieces_is_found_and_nothing_of_it_leaks() {
        assert_eq!(scan(&["END"], &["an E", "N", "D of it"]), ("an ".to_owned(), true));
        assert_eq!(scan(&["END"], &["an E", "N", "."]), ("an EN.".to_owned(), false));
        assert_eq!(scan(&["aab"], &["aa", "a", "b"]), ("a".to_owned(), true));
        assert_eq!(scan(&["。終", "\n\n"], &["はい", "。", "終"]), ("はい".to_owned(), true));
        assert_eq!(scan(&[""], &["x"]), ("x".to_owned(), false));
    }

    #[test]
    fn the_string_that_came_is_known_by_its_index() {
        let mut scanner = StopScanner::new(["", "xyz", "b", "bc"].map(str::to_owned).to_vec());
        assert!(!scanner.push("a").stopped);
        assert_eq!(scanner.found(), None);
        assert!(scanner.push("bcxyz").stopped);
        assert_eq!(scanner.found(), Some(2));
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            pieces in proptest::collection::vec("[ab語]{0,4}", 0..12),
            stops in proptest::collection::vec("[ab語]{1,4}", 0..3),
        ) {
            let whole = pieces.concat();
            let expected = match stops.iter().filter_map(|stop| whole.find(stop.as_str())).min() {
                Some(start) => whole[..start].to_owned(),
                None => whole.clone(),
            };
            let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let (text, stopped) = scan(&stops, &pieces);
            // A longer stop string may begin earlier than a shorter one that was complete first; then the answer ends
            // where the first complete one begins.
            prop_assert!(whole.starts_with(&text));
            prop_assert_eq!(stopped, stops.iter().any(|stop| whole.contains(stop)));
            prop_assert!(text.len() >= expected.len());
            prop_assert!(stops.iter().all(|stop| !text.contains(stop)));
        }
    }
}
