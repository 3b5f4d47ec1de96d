//! The numbers that the fields of a request's sampling may have: the one place that says so. Whoever takes such numbers
//! from people or programs asks here, so that nothing passes one check and fails the next.
//!
//! Read next: `sampler`, which uses the numbers.

use crate::sequence::Refused;

/// The numbers that one field may have. All are finite.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// The field's name.
    pub field: &'static str,
    /// What is expected, for people.
    pub expected: &'static str,
    holds: fn(f32) -> bool,
}

impl Bound {
    /// Of the temperature.
    pub const TEMPERATURE: Bound = Bound::new("temperature", "a finite number from 0 up", |value| value >= 0.0);
    /// Of top-p.
    pub const TOP_P: Bound = Bound::new("top_p", "a number above 0, at most 1", |value| value > 0.0 && value <= 1.0);
    /// Of min-p. At 1 nothing but ties with the likeliest token would be left: that is greedy, and has its own setting.
    pub const MIN_P: Bound = Bound::new("min_p", "a number from 0 up, below 1", |value| (0.0..1.0).contains(&value));
    /// Of the repeat penalty.
    pub const REPEAT_PENALTY: Bound = Bound::new("repeat_penalty", "a finite number above 0", |value| value > 0.0);
    /// Of the presence penalty.
    pub const PRESENCE_PENALTY: Bound = Bound::new("presence_penalty", "a finite number", |_| true);
    /// Of the frequency penalty.
    pub const FREQUENCY_PENALTY: Bound = Bound::new("frequency_penalty", "a finite number", |_| true);
    /// Of a bias on a token's logit.
    pub const LOGIT_BIAS: Bound = Bound::new("logit_bias", "a finite number", |_| true);

    const fn new(field: &'static str, expected: &'static str, holds: fn(f32) -> bool) -> Bound {
        Bound { field, expected, holds }
    }

    /// Whether the field may have this value.
    pub fn admits(&self, value: f32) -> bool {
        value.is_finite() && (self.holds)(value)
    }

    /// Refuses a value that the field may not have.
    ///
    /// # Errors
    /// [`Refused::BadSampling`].
    pub fn check(&self, value: f32) -> Result<(), Refused> {
        if self.admits(value) {
            return Ok(());
        }
        Err(Refused::BadSampling { field: self.field, value: value.to_string(), expected: self.expected })
    }
}
