//! Cutting normalised text into words, which are then encoded one by one. One variant per pre-tokenizer of
//! `tokenizer.json` that the supported families use; others are refused at load (`json.rs`). Next: `added.rs`.

use std::borrow::Cow;

use rustc_hash::FxHashSet;

use crate::bert;
use crate::pattern::Pattern;
use crate::scanner::Scanner;
use crate::vocabulary::Vocabulary;

/// The mark that SentencePiece writes for a space.
pub(crate) const MARK: char = '▁';

/// What becomes of a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
pub(crate) enum Behavior {
    /// It is a word of its own.
    Isolated,
    /// It is dropped.
    Removed,
    /// It ends the word before it.
    MergedWithPrevious,
    /// It begins the word behind it.
    MergedWithNext,
    /// Matches in a row are one word.
    Contiguous,
}

/// When a word-start mark is put in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prepend {
    /// At the start of the text alone.
    First,
    /// Behind every special token too.
    Always,
    /// Not at all.
    Never,
}

/// One step of cutting; each cuts the words of the one before.
#[derive(Debug)]
pub(crate) enum PreTokenizer {
    /// Cut at the matches of a pattern, or at what is between them.
    Split { pattern: Pattern, behavior: Behavior, invert: bool },
    /// Put a space in front of text that has none.
    PrefixSpace,
    /// Spaces become marks; a mark is put in front, and words begin at marks.
    Metaspace { mark: char, prepend: Prepend, split: bool },
    /// Cut at white space, which is dropped, and around each punctuation mark.
    Bert,
    /// Cut before marks, but not behind these characters. See [`word_starts`].
    WordStarts { never_after: FxHashSet<char> },
}

/// Calls `word` with each word of `text`. `at_start`: nothing comes before `text`.
pub(crate) fn for_each_word(steps: &[PreTokenizer], text: &str, at_start: bool, word: &mut dyn FnMut(&str)) {
    if text.is_empty() {
        return;
    }
    let Some((step, rest)) = steps.split_first() else { return word(text) };
    match step {
        PreTokenizer::Split { pattern: Pattern::Scanner(scanner), behavior: Behavior::Isolated, invert: false }
            if rest.is_empty() =>
        {
            scanner.for_each(text, word);
        }
        PreTokenizer::Split { pattern, behavior, invert } => {
            split(pattern, *behavior, *invert, text, &mut |start, piece| {
                for_each_word(rest, piece, at_start && start == 0, word);
            });
        }
        PreTokenizer::Bert => bert::for_each_word(text, &mut |piece| for_each_word(rest, piece, false, word)),
        PreTokenizer::WordStarts { never_after } => {
            cut_word_starts(never_after, text, &mut |start, piece| {
                for_each_word(rest, piece, at_start && start == 0, word);
            });
        }
        PreTokenizer::PrefixSpace => {
            let text = if text.starts_with(' ') { Cow::Borrowed(text) } else { Cow::Owned(format!(" {text}")) };
            for_each_word(rest, &text, at_start, word);
        }
        PreTokenizer::Metaspace { mark, prepend, split: cut } => {
            let mut marked = text.replace(' ', mark.encode_utf8(&mut [0; 4]));
            let wanted = *prepend == Prepend::Always || (*prepend == Prepend::First && at_start);
            if wanted && !marked.starts_with(*mark) {
                marked.insert(0, *mark);
            }
            if *cut {
                let pattern = Pattern::Literal(mark.to_string());
                split(&pattern, Behavior::MergedWithNext, false, &marked, &mut |start, piece| {
                    for_each_word(rest, piece, at_start && start == 0, word);
                });
            } else {
                for_each_word(rest, &marked, at_start, word);
            }
        }
    }
}

/// A cut that changes no ids and only bounds the length of words: a vocabulary that is applied to whole texts still
/// has no token that goes on behind a mark, save a few; so no merge crosses other marks. `None` where the mark itself
/// is no token: unknown characters could then be one token across it.
pub(crate) fn word_starts(vocabulary: &Vocabulary) -> Option<PreTokenizer> {
    vocabulary.id(MARK.encode_utf8(&mut [0; 4]).as_bytes())?;
    let mut never_after = FxHashSet::default();
    for id in vocabulary.ids() {
        let Ok(text) = std::str::from_utf8(vocabulary.bytes(id)) else { continue };
        for (at, _) in text.match_indices(MARK) {
            never_after.extend(text[..at].chars().next_back().filter(|&before| before != MARK));
        }
    }
    Some(PreTokenizer::WordStarts { never_after })
}

fn cut_word_starts(never_after: &FxHashSet<char>, text: &str, piece: &mut dyn FnMut(usize, &str)) {
    let mut start = 0;
    for (at, _) in text.match_indices(MARK) {
        let before = text[..at].chars().next_back();
        if at > start && before.is_some_and(|before| before != MARK && !never_after.contains(&before)) {
            piece(start, &text[start..at]);
            start = at;
        }
    }
    piece(start, &text[start..]);
}

/// Calls `piece` with the byte offset and the text of each piece that a split leaves.
fn split(pattern: &Pattern, behavior: Behavior, invert: bool, text: &str, piece: &mut dyn FnMut(usize, &str)) {
    if behavior == Behavior::Isolated {
        let mut at = 0;
        pattern.for_each(text, |found, _| {
            piece(at, found);
            at += found.len();
        });
        return;
    }
    let mut cuts: Vec<(usize, usize, bool)> = Vec::new();
    let mut at = 0;
    let mut previous_matched = false;
    pattern.for_each(text, |found, matched| {
        let matched = matched != invert;
        let (start, end) = (at, at + found.len());
        at = end;
        let joins = match behavior {
            Behavior::Contiguous => matched == previous_matched,
            Behavior::MergedWithPrevious => matched && !previous_matched,
            Behavior::MergedWithNext => previous_matched && !matched,
            Behavior::Isolated | Behavior::Removed => false,
        };
        match cuts.last_mut() {
            Some(last) if joins => last.1 = end,
            _ => cuts.push((start, end, matched)),
        }
        previous_matched = matched;
    });
    for (start, end, matched) in cuts {
        if !(matched && behavior == Behavior::Removed) {
            piece(start, &text[start..end]);
        }
    }
}

/// The cut that the byte-level pre-tokenizer makes when it is not told otherwise.
pub(crate) fn gpt2_split() -> PreTokenizer {
    PreTokenizer::Split { pattern: Pattern::Scanner(Scanner::Gpt2), behavior: Behavior::Isolated, invert: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(steps: &[PreTokenizer], text: &str) -> Vec<String> {
        let mut out = Vec::new();
        for_each_word(steps, text, true, &mut |word| out.push(word.to_owned()));
        out
    }

    fn cut(behavior: Behavior, invert: bool) -> Vec<String> {
        let pattern = Pattern::Literal("-".into());
        words(&[PreTokenizer::Split { pattern, behavior, invert }], "the-final--countdown")
    }

    // The five behaviours on the example of the `tokenizers` documentation (`SplitDelimiterBehavior`).
    #[test]
    fn behaviours() {
        assert_eq!(cut(Behavior::Removed, false), ["the", "final", "countdown"]);
        assert_eq!(cut(Behavior::Isolated, false), ["the", "-", "final", "-", "-", "countdown"]);
        assert_eq!(cut(Behavior::MergedWithPrevious, false), ["the-", "final-", "-", "countdown"]);
        assert_eq!(cut(Behavior::MergedWithNext, false), ["the", "-final", "-", "-countdown"]);
        assert_eq!(cut(Behavior::Contiguous, false), ["the", "-", "final", "--", "countdown"]);
        assert_eq!(cut(Behavior::Removed, true), ["-", "-", "-"]);
    }

    #[test]
    fn marks_are_put_in_front() {
        let step = |prepend, split| [PreTokenizer::Metaspace { mark: '▁', prepend, split }];
        assert_eq!(words(&step(Prepend::First, true), "a b  c"), ["▁a", "▁b", "▁", "▁c"]);
        assert_eq!(words(&step(Prepend::Never, false), "a b"), ["a▁b"]);
        assert_eq!(words(&step(Prepend::Always, false), " a"), ["▁a"]);
    }
}
