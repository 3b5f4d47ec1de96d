//! Several tokens in one step, without a second model: what was said before is guessed to be said again.
//!
//! ```text
//! draft:   the tokens that followed the last time that the sequence said its last three tokens, or else its last two
//! verify:  the step computes the pending token and the draft as one segment, with logits for each row; each row's token is
//!          chosen as it always is, and the draft is right as far as it is what was chosen (Yang et al., "Inference with
//!          Reference", 2023; Saxena, "Prompt Lookup Decoding", 2023)
//! roll back: what was computed for the rest is overwritten by the next step
//! ```
//!
//! A choice depends on the logits, the seed and the position alone, and logits do not depend on the rows beside them; so
//! the output is the same token for token, greedy or sampled, masked or not. Only the price differs: a step of few rows costs
//! little more than one of one row, as it is the reading of weights that takes the time. How long a draft is worth its
//! price follows from two running figures: how often a drafted token was right, and what steps of so many rows cost.
//!
//! Next: `scheduler`, which asks for drafts, and `engine`, which verifies them.

/// Most rows of a step in which anything is drafted, those of all sequences together. Beyond, arithmetic takes the time.
pub(crate) const MOST_ROWS: usize = 8;

/// What a row beside the first costs as a share of the first, as long as nobody told. Too little rather than too much:
/// what looks cheap is tried, and told.
const ROW_PRICE: f32 = 0.1;

/// How much more a draft must promise for its price than none: figures are never exact.
const MARGIN: f32 = 1.05;

/// Share of an old price that one new figure can add to it; a step that was disturbed is soon forgotten.
const PRICE_STEP: f32 = 0.1;

/// What a count keeps of itself from draft to draft.
const MEMORY: f32 = 0.8;

/// Steps without a draft after one that was not worth its price; twice as many each time, up to the second number.
const SILENCE: (u32, u32) = (8, 256);

/// The tokens, `most` at most, that are guessed to follow. The continuation may run into itself: `a b a b` goes on `a b a`.
pub(crate) fn draft(tokens: &[u32], most: usize) -> Vec<u32> {
    let Some(after) = repeated::<3>(tokens).or_else(|| repeated::<2>(tokens)) else { return Vec::new() };
    let mut draft: Vec<u32> = Vec::with_capacity(most);
    for index in after..after + most {
        let token = tokens.get(index).copied().unwrap_or_else(|| draft[index - tokens.len()]);
        draft.push(token);
    }
    draft
}

/// The end of the last place, but for the end itself, where the last `N` tokens stand.
fn repeated<const N: usize>(tokens: &[u32]) -> Option<usize> {
    let last: &[u32; N] = tokens.last_chunk()?;
    let before = &tokens[..tokens.len() - 1];
    // The last token alone rules out nearly every place.
    let is_here = |window: &[u32]| window[N - 1] == last[N - 1] && window == last;
    before.windows(N).rposition(is_here).map(|start| start + N)
}

/// What steps that only decode cost, by their rows, in a unit of the caller's.
#[derive(Debug, Default)]
pub(crate) struct Prices {
    steps: [Option<f32>; MOST_ROWS + 1], // index 0 is unused
}

impl Prices {
    /// A step of `rows` rows cost this much.
    pub(crate) fn tell(&mut self, rows: usize, cost: f32) {
        let Some(price) = self.steps.get_mut(rows).filter(|_| cost.is_finite() && cost > 0.0) else { return };
        // A first figure may be that of a disturbed step: a lower one shows it, and counts for half at once.
        *price = Some(price.map_or(cost, |old| old + ((cost - old) / 2.0).min(PRICE_STEP * old)));
    }

    /// The price of a step of `rows` rows, at most [`MOST_ROWS`]: as told, else the smallest known step's and a share for
    /// each row more or less, but no less than that of any smaller step.
    fn of(&self, rows: usize) -> f32 {
        let guess = |rows: usize| 1.0 + ROW_PRICE * (rows as f32 - 1.0);
        let known = self.steps.iter().enumerate().find_map(|(rows, price)| price.map(|price| price / guess(rows)));
        let smaller = self.steps[..rows].iter().flatten();
        self.steps[rows]
            .unwrap_or_else(|| smaller.fold(known.unwrap_or(1.0) * guess(rows), |most, &price| most.max(price)))
    }
}

/// How well drafts of one sequence do.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Drafted tokens that were right, of late.
    right: f32,
    /// Drafted tokens that were right, or the first wrong one of a draft, of late.
    tried: f32,
    /// Steps until the next draft.
    silent: u32,
    /// Steps of the next silence.
    silence: u32,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { right: 1.0, tried: 2.0, silent: 0, silence: SILENCE.0 }
    }
}

impl Pace {
    /// How many tokens to draft in the coming step, in which each of `sequences` may draft `most`: the length that
    /// promises most tokens for its price. Where none does, nothing is drafted for a while, and then one token is tried.
    pub(crate) fn length(&mut self, prices: &Prices, sequences: usize, most: usize) -> usize {
        if self.silent > 1 {
            self.silent -= 1;
            return 0;
        }
        if self.silent == 1 {
            *self = Pace { silence: self.silence, ..Pace::default() };
            return most.min(1);
        }
        let chance = self.right / self.tried;
        let (mut best, mut best_value) = (0, 0.0);
        // Tokens that a step with a draft of this length yields on the average: 1 + chance + chance^2 ...
        let (mut tokens, mut power) = (0.0, 1.0);
        for length in 0..=most {
            tokens += power;
            power *= chance;
            let value = tokens / prices.of(sequences * (1 + length));
            if value > best_value {
                // None is what a draft has to beat.
                (best, best_value) = (length, if length == 0 { MARGIN * value } else { value });
            }
        }
        if best == 0 && most > 0 {
            self.silent = self.silence;
            self.silence = (2 * self.silence).min(SILENCE.1);
        }
        best
    }

    /// Of a draft of `drafted` tokens the first `right` were right.
    pub(crate) fn note(&mut self, drafted: usize, right: usize) {
        let tried = drafted.min(right + 1);
        self.right = MEMORY * self.right + right as f32;
        self.tried = MEMORY * self.tried + tried as f32;
        if right > 0 {
            self.silence = SILENCE.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_is_what_followed_the_last_time() {
        assert_eq!(draft(&[1, 2, 3, 4, 5, 1, 2, 3], 2), [4, 5]);
        assert_eq!(draft(&[9, 2, 3, 4, 5, 1, 2, 3], 2), [4, 5], "two tokens where three are not found");
        assert_eq!(draft(&[7, 2, 3, 4, 9, 2, 3, 5, 7, 2, 3], 1), [4], "three are found before two are");
        assert_eq!(draft(&[2, 3, 4, 2, 3, 5, 2, 3], 1), [5], "the last place of several");
        assert!(draft(&[1, 2, 3, 4], 3).is_empty());
        for short in [[].as_slice(), &[1], &[1, 1]] {
            assert!(draft(short, 3).is_empty());
        }
    }

    #[test]
    fn a_draft_runs_into_itself_where_the_end_repeats() {
        assert_eq!(draft(&[1, 2, 1, 2], 5), [1, 2, 1, 2, 1]);
        assert_eq!(draft(&[5, 5, 5], 4), [5, 5, 5, 5]);
    }

    /// Lengths of `steps` drafts, each right as far as `right` says.
    fn lengths(prices: &Prices, steps: usize, right: impl Fn(usize) -> usize) -> Vec<usize> {
        let mut pace = Pace::default();
        let mut length = || {
            let length = pace.length(prices, 1, MOST_ROWS - 1);
            if length > 0 {
                pace.note(length, right(length));
            }
            length
        };
        (0..steps).map(|_| length()).collect()
    }

    #[test]
    fn drafts_grow_while_they_are_right_and_cease_when_they_do_not_pay() {
        let prices = Prices::default();
        let all_right = lengths(&prices, 20, |length| length);
        assert!(all_right[0] >= 1 && all_right[19] == MOST_ROWS - 1, "{all_right:?}");
        let all_wrong = lengths(&prices, 1_000, |_| 0);
        let tries = all_wrong.iter().filter(|&&length| length > 0).count();
        assert!(tries > 5 && tries < 60, "{tries} of 1000 steps tried what is never right");
        assert!(all_wrong[500..].iter().filter(|&&length| length > 0).count() < 30);
    }

    #[test]
    fn what_a_row_costs_decides_how_often_a_draft_must_be_right() {
        let mut dear = Prices::default();
        for rows in 1..=MOST_ROWS {
            dear.tell(rows, rows as f32);
        }
        // Nothing is won where each row costs as much as a step; now and then one token is tried.
        let lengths = lengths(&dear, 1_000, |length| length);
        assert!(lengths.iter().all(|&length| length <= 1), "{lengths:?}");
        let mut middling = Prices::default();
        for rows in 1..=MOST_ROWS {
            middling.tell(rows, 1.0 + 0.45 * (rows as f32 - 1.0));
        }
        let length = |right, tried| Pace { right, tried, ..Pace::default() }.length(&middling, 1, 7);
        assert_eq!(length(4.0, 10.0), 0);
        assert!(length(9.5, 10.0) >= 5);
        assert!((1..=3).contains(&length(6.0, 10.0)));
    }

    #[test]
    fn prices_are_learnt_and_one_disturbed_step_changes_little() {
        let mut prices = Prices::default();
        assert_eq!(prices.of(1), 1.0);
        prices.tell(4, 2.6);
        assert!((prices.of(1) - 2.0).abs() < 1e-6, "from the one that is known");
        prices.tell(1, 1.0);
        assert_eq!((prices.of(1), prices.of(4)), (1.0, 2.6));
        assert_eq!((prices.of(3), prices.of(5)), (1.2, 2.6), "more rows cost no less");
        prices.tell(1, 100.0);
        assert!((prices.of(1) - 1.1).abs() < 1e-6);
        prices.tell(1, f32::NAN);
        prices.tell(MOST_ROWS + 1, 1.0);
        assert!((prices.of(1) - 1.1).abs() < 1e-6);
        // The first step of its size was disturbed.
        prices.tell(2, 20.0);
        (0..6).for_each(|_| prices.tell(2, 1.2));
        assert!((1.2..1.6).contains(&prices.of(2)), "{}", prices.of(2));
    }
}
