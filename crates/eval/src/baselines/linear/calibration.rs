//! From margins to probabilities: by one number, which is fit to rows that were not learned.
//!
//! With one label the probabilities are the softmax of the margins times a sharpness (one over the temperature of Guo, Pleiss,
//! Sun and Weinberger, "On calibration of modern neural networks", ICML 2017); with several each is the logistic function of
//! its margin times it. So what is decided does not change, only how sure it is. The likeliest sharpness is taken, where the
//! right classes count a little less than wholly right (Platt, "Probabilistic outputs for support vector machines", 1999,
//! section 2.2): rows that are all right would make it infinite.

use crate::baselines::classes::probabilities;

/// What a sharpness may be.
const LEAST: f64 = 0.01;
const MOST: f64 = 100.0;
/// Halvings of the range between them, on a logarithmic scale.
const HALVINGS: u32 = 24;

/// A row that was not learned: the margins of its classes, and which of them are right.
pub type Judged<'t> = (Vec<f64>, &'t [usize]);

/// The likeliest sharpness, 1 where there are no rows.
pub fn sharpness(judged: &[Judged<'_>], several: bool) -> f64 {
    if judged.is_empty() {
        return 1.0;
    }
    let doubt = 1.0 / (judged.len() as f64 + 2.0);
    let (mut low, mut high) = (LEAST.ln(), MOST.ln());
    // The logarithm of the likelihood is concave, so that its slope falls.
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        let slope: f64 = judged.iter().map(|row| slope(row, middle.exp(), doubt, several)).sum();
        if slope > 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high).exp()
}

/// The probability of each class of a row with these margins.
pub fn scaled(margins: &[f64], sharpness: f64, several: bool) -> Vec<f64> {
    probabilities(margins.iter().map(|margin| margin * sharpness), several)
}

/// How the logarithm of a row's likelihood changes with the sharpness.
fn slope((margins, right): &Judged<'_>, sharpness: f64, doubt: f64, several: bool) -> f64 {
    let probabilities = scaled(margins, sharpness, several);
    let others = if several { doubt } else { doubt / margins.len() as f64 };
    let right_target = if several { 1.0 - doubt } else { 1.0 - doubt + others };
    let terms = margins.iter().zip(probabilities).enumerate().map(|(class, (&margin, probability))| {
        let target = if right.contains(&class) { right_target } else { others };
        (target - probability) * margin
    });
    terms.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_follow_how_often_margins_were_right() {
        // Three of four rows are right at this margin: the logistic function of sharpness times 2 is to be 0.75.
        let rows: Vec<Judged<'_>> =
            (0..4_000).map(|row| (vec![2.0, 0.0], if row % 4 == 0 { &[1][..] } else { &[0] })).collect();
        let fit = sharpness(&rows, false);
        assert!((scaled(&[2.0, 0.0], fit, false)[0] - 0.75).abs() < 1e-3, "{fit}");
        let rows: Vec<Judged<'_>> =
            (0..4_000).map(|row| (vec![2.0], if row % 4 == 0 { &[][..] } else { &[0] })).collect();
        let fit = sharpness(&rows, true);
        assert!((scaled(&[2.0], fit, true)[0] - 0.75).abs() < 1e-3, "{fit}");
    }

    #[test]
    fn few_rows_that_are_all_right_do_not_make_sure() {
        let all_right = |count: usize| -> Vec<Judged<'_>> { vec![(vec![1.0, -1.0], &[0]); count] };
        let sure = |count: usize| scaled(&[1.0, -1.0], sharpness(&all_right(count), false), false)[0];
        assert!((sure(2) - 0.875).abs() < 1e-3, "{}", sure(2));
        assert!(sure(2) < sure(20) && sure(20) < sure(200));
        assert_eq!(sharpness(&[], false), 1.0);
    }

    #[test]
    fn margins_that_mislead_end_at_the_least_sharpness() {
        let rows: Vec<Judged<'_>> = vec![(vec![1.0, -1.0], &[1]); 50];
        assert!((sharpness(&rows, false) - LEAST).abs() < 1e-4);
        let even = scaled(&[1e9, 1e9, -1e9], MOST, false);
        assert_eq!(even, [0.5, 0.5, 0.0]);
    }
}
