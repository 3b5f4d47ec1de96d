//! The standard normal distribution.

use statrs::function::erf::{erfc, erfc_inv};
use std::f64::consts::SQRT_2;

/// The share of it under a number.
pub(super) fn below(number: f64) -> f64 {
    0.5 * erfc(-number / SQRT_2)
}

/// The number under which a share of it lies.
pub(super) fn quantile(share: f64) -> f64 {
    -SQRT_2 * erfc_inv(2.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tables have 1.959963985 and 0.841621234.
    #[test]
    fn quantiles_are_those_of_the_tables() {
        assert!((quantile(0.975) - 1.959_963_984_540_054).abs() < 1e-12);
        assert!((quantile(0.8) - 0.841_621_233_572_914_4).abs() < 1e-12);
        assert!((below(quantile(0.001)) - 0.001).abs() < 1e-12);
        assert_eq!(below(0.0), 0.5);
    }
}
