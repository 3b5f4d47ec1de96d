//! A text that is too long for a model, in parts along its sentences.
//!
//! How long a part may be is found by counting: bytes are a guess at tokens, and a guess that was too long is made
//! shorter until every part fits. Nothing of the text is left out.

use crate::TaskError;
use crate::asking::Asker;
use crate::frame::Frame;
use std::ops::Range;

/// No part of a text is made shorter: a context in which it does not fit is taken up by the task's own words.
const SHORTEST_PART: usize = 64;
/// Where a model does not count its tokens: bytes that one has at least in nearly all texts.
const BYTES_OF_TOKEN: usize = 2;

/// The task's own words are taken for a multiple of so many tokens.
const OWN_TOKENS_STEP: usize = 64;

/// A text in parts that fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// The bytes of each part, in order; all of the text, with overlaps where they were asked for.
    pub ranges: Vec<Range<usize>>,
    /// Tokens of the prompt with the whole text.
    pub whole_tokens: usize,
}

/// Splits a text so that each part fits into a prompt with room for an answer. `asked` makes a part into the input.
///
/// # Errors
/// Nothing fits: the task's own words and the answer fill the context. The error has all numbers.
pub async fn fitting(
    asker: &Asker,
    frame: &Frame,
    text: &str,
    asked: impl Fn(&str) -> String,
    (answer_tokens, overlap): (usize, bool),
) -> Result<Parts, TaskError> {
    let context = asker.model().info().context;
    let room = context.saturating_sub(answer_tokens);
    let whole_tokens = tokens(asker, frame, &asked(text)).await?;
    if whole_tokens <= room {
        return Ok(Parts { ranges: std::iter::once(0..text.len()).collect(), whole_tokens });
    }
    let own = tokens(asker, frame, &asked("")).await?;
    let text_tokens = whole_tokens.saturating_sub(own).max(1);
    // Rounded, so that most questions about one text find it in the same parts, which a model may have read before.
    let rounded = own.next_multiple_of(OWN_TOKENS_STEP);
    let taken = if rounded + 2 * OWN_TOKENS_STEP <= room { rounded } else { own };
    let mut longest = (text.len() as u128 * room.saturating_sub(taken) as u128 / text_tokens as u128) as usize;
    while longest >= SHORTEST_PART {
        let ranges = parts(text, longest, if overlap { longest / 8 } else { 0 });
        let mut all_fit = true;
        for range in &ranges {
            all_fit = all_fit && tokens(asker, frame, &asked(&text[range.clone()])).await? <= room;
        }
        if all_fit {
            return Ok(Parts { ranges, whole_tokens });
        }
        longest = longest / 8 * 7;
    }
    Err(TaskError::Input(format!(
        "the prompt has {whole_tokens} tokens, {own} of them the task's own words, and an answer may take \
         {answer_tokens}; the context holds {context}: no part of the text would fit\nhint: load the model with \
         a larger context, or lower max_tokens in [options]"
    )))
}

async fn tokens(asker: &Asker, frame: &Frame, input: &str) -> Result<usize, TaskError> {
    let counted = asker.prompt_tokens(frame, input).await?;
    Ok(counted.unwrap_or_else(|| frame.plain(input).len() / BYTES_OF_TOKEN))
}

/// Parts of at most so many bytes that end with sentences where they can, with words where not, and begin up to
/// `overlap` bytes before the end of the part before, with a sentence.
pub fn parts(text: &str, longest: usize, overlap: usize) -> Vec<Range<usize>> {
    let ends = sentence_ends(text);
    let end_from = |start: usize| {
        let limit = text.floor_char_boundary(start.saturating_add(longest.max(4)));
        let last = ends[..ends.partition_point(|&end| end <= limit)].last().copied().filter(|&end| end > start);
        last.unwrap_or_else(|| {
            let words = text[start..limit].rfind(char::is_whitespace).map(|at| text.ceil_char_boundary(start + at + 1));
            words.unwrap_or(limit)
        })
    };
    let (mut parts, mut start) = (Vec::new(), 0);
    while start < text.len() {
        let end = end_from(start);
        parts.push(start..end);
        let again = ends[ends.partition_point(|&other| other + overlap < end)..].first().copied();
        // A part that only says again what the one before said would end nowhere.
        let gets_on = |&again: &usize| overlap > 0 && again > start && again < end && end_from(again) > end;
        start = again.filter(gets_on).filter(|_| end < text.len()).unwrap_or(end);
    }
    parts
}

/// Where the sentences of a text stand, in bytes, without the blanks around them.
pub fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut start = 0;
    let sentence = |end: usize| {
        let whole = &text[start..end];
        let first = start + whole.len() - whole.trim_start().len();
        start = end;
        first..first + whole.trim().len()
    };
    sentence_ends(text).into_iter().map(sentence).filter(|sentence| !sentence.is_empty()).collect()
}

/// Where sentences end, blanks after them included; the last is the end of the text.
fn sentence_ends(text: &str) -> Vec<usize> {
    let (mut ends, mut closed) = (Vec::new(), false);
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        let next = characters.peek().map(|&(_, next)| next);
        match character {
            '。' | '！' | '？' => ends.push(at + character.len_utf8()),
            '.' | '!' | '?' | '…' => closed = true,
            '"' | '\'' | ')' | '”' | '’' if closed => {}
            '\n' if next == Some('\n') => closed = true,
            blank if blank.is_whitespace() => {
                if closed && next.is_some_and(|next| !next.is_whitespace()) {
                    ends.push(at + blank.len_utf8());
                    closed = false;
                }
            }
            _ => closed = false,
        }
    }
    if ends.last() != Some(&text.len()) {
        ends.push(text.len());
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeded::rank;

    fn check(text: &str, longest: usize, overlap: usize, expected: &[&str]) {
        let parts: Vec<_> = parts(text, longest, overlap).into_iter().map(|range| &text[range]).collect();
        assert_eq!(parts, expected);
    }

    #[test]
    fn parts_end_with_sentences_where_they_can() {
        check("One two. Three (four.) Five", 17, 0, &["One two. ", "Three (four.) ", "Five"]);
        check("It is 3.5 now. And\n\nthen", 40, 0, &["It is 3.5 now. And\n\nthen"]);
        check("It is 3.5 now. And\n\nthen", 21, 0, &["It is 3.5 now. And\n\n", "then"]);
        check("onelongword another", 12, 0, &["onelongword ", "another"]);
        check("äöüäöü", 5, 0, &["äö", "üä", "öü"]);
        check("A b. C d. E f. G h.", 10, 5, &["A b. C d. ", "C d. E f. ", "E f. G h."]);
        check("", 10, 0, &[]);
    }

    #[test]
    fn sentences_come_without_their_blanks() {
        let check = |text: &str, expected: &[&str]| {
            let sentences: Vec<_> = sentences(text).into_iter().map(|range| &text[range]).collect();
            assert_eq!(sentences, expected);
        };
        check(" It is 3.5 now.  And (so?)\n\nthen\u{3002}on ", &["It is 3.5 now.", "And (so?)", "then\u{3002}", "on"]);
        check(" \n", &[]);
    }

    #[test]
    fn nothing_is_left_out_of_any_text() {
        for seed in 0..500 {
            let letter = |n: usize| {
                ["a", "ß", ". ", " ", "\n\n", "字。", "!", "\"", "🙂"][rank(seed, &n.to_string()) as usize % 9]
            };
            let text: String = (0..rank(seed, "length") as usize % 80).map(letter).collect();
            for (longest, overlap) in [(4, 0), (9, 2), (30, 10), (30, 40)] {
                let parts = parts(&text, longest, overlap);
                let mut end = 0;
                for part in &parts {
                    assert!(part.start <= end && part.end > end && part.len() <= longest, "{text:?} {parts:?}");
                    end = part.end;
                }
                assert_eq!(end, text.len());
            }
        }
    }
}
