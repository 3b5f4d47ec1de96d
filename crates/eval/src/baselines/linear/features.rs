//! Texts as sparse vectors: words, pairs of words and pieces of words, weighted by how rare they are (TF-IDF).
//!
//! Words are runs of two or more letters, digits or underscores, in lower case, alone and in pairs of neighbours. Pieces are
//! two to four characters of a word with a blank before and after it, where words end with blanks alone. A gram that a text
//! has `n` times in it counts `(1 + ln n) * (ln((1 + N) / (1 + df)) + 1)` for `N` texts, `df` of which have it; the words'
//! half and the pieces' half of a vector have length 1 each. These are the definitions of scikit-learn's `TfidfVectorizer`
//! with `sublinear_tf`, `(1, 2)` words and `(2, 4)` `char_wb`. What was not there when it learned counts nothing.

use crate::baselines::sparse::Rows;
use rustc_hash::FxHashMap;
use std::hash::Hash;

/// The characters of a piece; absent ones are zero.
type Piece = [char; 4];
/// Numbers of neighbouring words; a word alone has [`ALONE`] for the second.
type Words = (u32, u32);

/// A number that no word has.
const ALONE: u32 = u32::MAX;

/// The columns that were seen, and what each is worth.
#[derive(Debug)]
pub struct Features {
    word_numbers: FxHashMap<Box<str>, u32>,
    words: Vocabulary<Words>,
    pieces: Vocabulary<Piece>,
}

/// Grams of one sort with their columns.
#[derive(Debug)]
struct Vocabulary<G> {
    columns: FxHashMap<G, u32>,
    /// By column.
    weights: Vec<f32>,
}

impl Features {
    /// Learns the grams of the texts, and makes their vectors. Where there are more than `most`, the rarest are left out.
    pub fn learn(texts: &[String], most: usize) -> (Features, Rows) {
        let mut numbers = FxHashMap::default();
        let (mut words, mut pieces) = (Counting::default(), Counting::default());
        let mut lowered = String::new();
        for text in texts {
            lower(text, &mut lowered);
            each_words(&lowered, |word| Some(number(&mut numbers, word)), |gram| words.see(gram));
            words.end_text();
            each_piece(&lowered, |gram| pieces.see(gram));
            pieces.end_text();
        }
        let least = least_texts(words.texts_with.iter().chain(&pieces.texts_with), most);
        let (words, seen_words) = words.end(texts.len(), least);
        let (pieces, seen_pieces) = pieces.end(texts.len(), least);
        let features = Features { word_numbers: numbers, words, pieces };
        let mut rows = Rows::default();
        for (words, pieces) in seen_words.iter().zip(&seen_pieces) {
            rows.push(features.joined(words, pieces));
        }
        (features, rows)
    }

    /// How many columns there are.
    pub fn count(&self) -> usize {
        self.words.weights.len() + self.pieces.weights.len()
    }

    /// The vector of a text.
    pub fn row(&self, text: &str) -> Vec<(u32, f32)> {
        let mut lowered = String::new();
        lower(text, &mut lowered);
        let (mut words, mut pieces) = (Vec::new(), Vec::new());
        let known = |word: &str| self.word_numbers.get(word).copied();
        each_words(&lowered, known, |gram| words.extend(self.words.columns.get(&gram)));
        each_piece(&lowered, |gram| pieces.extend(self.pieces.columns.get(&gram)));
        self.joined(&counted(&mut words), &counted(&mut pieces)).collect()
    }

    /// Both halves of a row, from the columns with how often each came.
    fn joined<'c>(
        &'c self,
        words: &'c [(u32, u32)],
        pieces: &'c [(u32, u32)],
    ) -> impl Iterator<Item = (u32, f32)> + 'c {
        // Columns of both together are counted in 32 bits: see `least_texts`.
        let behind = self.words.weights.len() as u32;
        let pieces = self.pieces.weighed(pieces).map(move |(column, value)| (column + behind, value));
        self.words.weighed(words).chain(pieces)
    }
}

impl<G> Vocabulary<G> {
    /// A half of a row, of length 1 where it has anything.
    fn weighed<'c>(&'c self, counts: &'c [(u32, u32)]) -> impl Iterator<Item = (u32, f32)> + 'c {
        let value = |&(column, count): &(u32, u32)| (1.0 + (count as f32).ln()) * self.weights[column as usize];
        let length = counts.iter().map(|count| value(count).powi(2)).sum::<f32>().sqrt();
        counts.iter().map(move |count| (count.0, value(count) / length))
    }
}

/// The grams of one sort while texts are read.
#[derive(Debug)]
struct Counting<G> {
    columns: FxHashMap<G, u32>,
    /// By column: texts that have it.
    texts_with: Vec<u32>,
    /// Columns of the text that is read.
    current: Vec<u32>,
    /// Of each text its columns, with how often each came.
    seen: Vec<Vec<(u32, u32)>>,
}

impl<G> Default for Counting<G> {
    fn default() -> Counting<G> {
        Counting { columns: FxHashMap::default(), texts_with: Vec::new(), current: Vec::new(), seen: Vec::new() }
    }
}

impl<G: Hash + Eq> Counting<G> {
    fn see(&mut self, gram: G) {
        let next = self.columns.len() as u32;
        self.current.push(*self.columns.entry(gram).or_insert(next));
    }

    fn end_text(&mut self) {
        self.texts_with.resize(self.columns.len(), 0);
        let counts = counted(&mut self.current);
        for &(column, _) in &counts {
            self.texts_with[column as usize] += 1;
        }
        self.current.clear();
        self.seen.push(counts);
    }

    /// The grams that so many texts have at least, numbered anew, and what each text has of them.
    fn end(mut self, texts: usize, least: u32) -> (Vocabulary<G>, Vec<Vec<(u32, u32)>>) {
        let mut weights = Vec::new();
        let renumber = |&texts_with: &u32| {
            (texts_with >= least).then(|| {
                weights.push(((1.0 + texts as f64) / (1.0 + f64::from(texts_with))).ln() as f32 + 1.0);
                weights.len() as u32 - 1
            })
        };
        let renumbered: Vec<Option<u32>> = self.texts_with.iter().map(renumber).collect();
        let new = |old: u32| renumbered[old as usize];
        self.columns.retain(|_, column| new(*column).map(|new| *column = new).is_some());
        for counts in &mut self.seen {
            counts.retain_mut(|count| new(count.0).map(|new| count.0 = new).is_some());
        }
        (Vocabulary { columns: self.columns, weights }, self.seen)
    }
}

/// The columns, ascending, each with how often it stands there.
fn counted(columns: &mut [u32]) -> Vec<(u32, u32)> {
    columns.sort_unstable();
    columns.chunk_by(u32::eq).map(|same| (same[0], same.len() as u32)).collect()
}

/// The least number of texts that a gram is to be in, so that at most so many grams are left.
fn least_texts<'c>(texts_with: impl Iterator<Item = &'c u32>, most: usize) -> u32 {
    let mut descending: Vec<u32> = texts_with.copied().collect();
    descending.sort_unstable_by(|one, other| other.cmp(one));
    descending.get(most).map_or(1, |first_left_out| first_left_out + 1)
}

fn number(numbers: &mut FxHashMap<Box<str>, u32>, word: &str) -> u32 {
    let next = numbers.len() as u32;
    match numbers.get(word) {
        Some(&number) => number,
        None => *numbers.entry(Box::from(word)).or_insert(next),
    }
}

fn lower(text: &str, lowered: &mut String) {
    lowered.clear();
    lowered.extend(text.chars().flat_map(char::to_lowercase));
}

/// Every word, and every pair of neighbours, that has a number.
fn each_words(text: &str, mut number: impl FnMut(&str) -> Option<u32>, mut see: impl FnMut(Words)) {
    let parts = text.split(|character: char| !character.is_alphanumeric() && character != '_');
    let mut before = None;
    for word in parts.filter(|part| part.chars().nth(1).is_some()) {
        let current = number(word);
        if let Some(current) = current {
            see((current, ALONE));
        }
        if let Some(pair) = before.zip(current) {
            see(pair);
        }
        before = current;
    }
}

/// Every piece: of a word as long as the piece or shorter, blanks included, only the whole word once.
fn each_piece(text: &str, mut see: impl FnMut(Piece)) {
    let mut padded = Vec::new();
    for word in text.split_whitespace() {
        padded.clear();
        padded.extend([' '].into_iter().chain(word.chars()).chain([' ']));
        for length in 2..=4 {
            for characters in padded.windows(length.min(padded.len())) {
                let mut piece = ['\0'; 4];
                piece[..characters.len()].copy_from_slice(characters);
                see(piece);
            }
            if padded.len() <= length {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn learn(texts: &[&str], most: usize) -> (Features, Rows) {
        Features::learn(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(), most)
    }

    #[test]
    fn pieces_stay_within_words_and_short_words_come_once() {
        let pieces = |text: &str| {
            let mut pieces = Vec::new();
            each_piece(text, |piece| pieces.push(piece.iter().filter(|&&one| one != '\0').collect::<String>()));
            pieces
        };
        assert_eq!(pieces("a"), [" a", "a ", " a "]);
        assert_eq!(pieces("ab\n"), [" a", "ab", "b ", " ab", "ab ", " ab "]);
        assert_eq!(pieces("ab."), [" a", "ab", "b.", ". ", " ab", "ab.", "b. ", " ab.", "ab. "]);
        assert_eq!(pieces(" \t"), Vec::<String>::new());
    }

    #[test]
    fn words_have_two_characters_and_pair_with_the_next_word() {
        let mut numbers = FxHashMap::default();
        let mut seen = Vec::new();
        each_words("card's is_on, x card", |word| Some(number(&mut numbers, word)), |gram| seen.push(gram));
        assert_eq!(seen, [(0, ALONE), (1, ALONE), (0, 1), (0, ALONE), (1, 0)]);
        seen.clear();
        each_words("card unknown card", |word| numbers.get(word).copied(), |gram| seen.push(gram));
        assert_eq!(seen, [(0, ALONE), (0, ALONE)]);
    }

    /// The figures are those of scikit-learn 1.9 for the same two texts (`TfidfVectorizer(sublinear_tf=True,
    /// ngram_range=(1, 2))`).
    #[test]
    fn values_are_those_of_the_published_formula() {
        let (features, rows) = learn(&["Card lost card", "my CARD"], usize::MAX);
        let named: BTreeMap<&str, u32> =
            features.word_numbers.iter().map(|(word, &number)| (&**word, number)).collect();
        let value = |row: usize, gram: Words| {
            let column = features.words.columns[&gram] as usize;
            rows.row(row).find(|&(other, _)| other == column).map(|(_, value)| value)
        };
        let (card, lost, my) = (named["card"], named["lost"], named["my"]);
        let close = |value: Option<f32>, expected: f32| assert!((value.unwrap() - expected).abs() < 1e-6, "{value:?}");
        close(value(0, (card, ALONE)), 0.570_995_3);
        close(value(0, (lost, ALONE)), 0.473_977_6);
        close(value(0, (card, lost)), 0.473_977_6);
        close(value(1, (my, card)), 0.631_667_2);
        assert_eq!(value(1, (lost, ALONE)), None);
    }

    #[test]
    fn a_text_that_was_learned_has_the_same_vector_afterwards() {
        let texts = ["I lost my card", "Why was I charged, and charged again?", "", "Größe 12"];
        let (features, rows) = learn(&texts, usize::MAX);
        for (index, text) in texts.iter().enumerate() {
            let again: Vec<_> =
                features.row(text).into_iter().map(|(column, value)| (column as usize, value)).collect();
            assert_eq!(again, rows.row(index).collect::<Vec<_>>(), "{text}");
            assert!(again.is_sorted_by_key(|&(column, _)| column));
        }
        assert_eq!(features.row("zzzz qq"), []);
    }

    #[test]
    fn of_too_many_grams_the_most_frequent_stay() {
        let (all, _) = learn(&["aa bb", "aa cc", "aa cc"], usize::MAX);
        assert_eq!(all.count(), 5 + 3 * 6);
        let (few, rows) = learn(&["aa bb", "aa cc", "aa cc"], 10);
        // What all three texts have: "aa" and its pieces.
        assert_eq!(few.count(), 7);
        assert_eq!(rows.row(0).collect::<Vec<_>>(), rows.row(1).collect::<Vec<_>>());
        let (none, rows) = learn(&["aa bb", "aa cc"], 0);
        assert_eq!((none.count(), rows.row(0).count(), rows.count()), (0, 0, 2));
    }
}
