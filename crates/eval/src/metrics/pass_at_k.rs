//! pass@k: how probable it is that of k tries at a row one at least passes, by more tries than k.
//!
//! Of n tries of a row, c passed: 1 less the chance that k of them, drawn without putting back, all failed. Source: Chen et
//! al., Evaluating Large Language Models Trained on Code, 2021, equation 1. For k = 1 it is the share that passed.

/// The values of k that are told of so many tries: 1, 2, 5, 10, .. and all of them.
pub fn told(tries: usize) -> Vec<usize> {
    let mut told: Vec<usize> =
        (0..).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_usize.pow(power))).take_while(|&k| k < tries).collect();
    told.push(tries);
    told
}

/// pass@k of one row; none where there are fewer tries than k.
pub fn pass_at(k: usize, tries: usize, passed: usize) -> Option<f64> {
    if k == 0 || k > tries || passed > tries {
        return None;
    }
    let failed = tries - passed;
    // One of k has passed for sure where fewer than k have failed.
    let all_fail = if failed < k { 0.0 } else { (failed + 1..=tries).map(|n| 1.0 - k as f64 / n as f64).product() };
    Some(1.0 - all_fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By counting: of all ways to draw k of the tries, the share that holds one that passed.
    fn counted(k: u32, tries: u32, passed: u32) -> f64 {
        let draws = (0_u32..1 << tries).filter(|draw| draw.count_ones() == k);
        let (mut all, mut with) = (0, 0);
        for draw in draws {
            all += 1;
            with += u32::from(draw & ((1 << passed) - 1) != 0);
        }
        f64::from(with) / f64::from(all)
    }

    #[test]
    fn it_is_what_counting_says() {
        for tries in 1..=9 {
            for (k, passed) in (1..=tries).flat_map(|k| (0..=tries).map(move |passed| (k, passed))) {
                let found = pass_at(k as usize, tries as usize, passed as usize).unwrap();
                assert!((found - counted(k, tries, passed)).abs() < 1e-12, "{k} {tries} {passed}: {found}");
            }
        }
        assert_eq!((pass_at(3, 2, 1), pass_at(0, 2, 1), pass_at(1, 2, 3)), (None, None, None));
    }

    #[test]
    fn few_values_are_told() {
        assert_eq!(told(1), [1]);
        assert_eq!(told(3), [1, 2, 3]);
        assert_eq!(told(20), [1, 2, 5, 10, 20]);
    }
}
