//! How sure a diagnosis is: a number that cannot be outside `0..=1`.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(into = "f64", try_from = "f64")]
pub struct Confidence(f64);

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("confidence {0} is not within 0..=1")]
pub struct ConfidenceError(f64);

impl Confidence {
    pub const NONE: Self = Self(0.0);

    /// # Errors
    /// A value outside `0..=1`, or not a number.
    pub fn new(value: f64) -> Result<Self, ConfidenceError> {
        if (0.0..=1.0).contains(&value) { Ok(Self(value)) } else { Err(ConfidenceError(value)) }
    }

    pub fn value(self) -> f64 {
        self.0
    }

    /// The mean of the Beta posterior over `proven` and `failed` outcomes, with a prior worth
    /// `weight` cases at `self`.
    #[must_use]
    pub fn updated(self, weight: f64, proven: u32, failed: u32) -> Self {
        let cases = weight + f64::from(proven) + f64::from(failed);
        if cases <= 0.0 {
            return self;
        }
        Self(((self.0 * weight + f64::from(proven)) / cases).clamp(0.0, 1.0))
    }

    /// This confidence, lowered to the given share of itself.
    #[must_use]
    pub fn scaled(self, share: f64) -> Self {
        Self((self.0 * share).clamp(0.0, 1.0))
    }
}

impl TryFrom<f64> for Confidence {
    type Error = ConfidenceError;
    fn try_from(value: f64) -> Result<Self, ConfidenceError> {
        Self::new(value)
    }
}

impl From<Confidence> for f64 {
    fn from(confidence: Confidence) -> f64 {
        confidence.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_move_the_prior() {
        let prior = Confidence::new(0.8).unwrap();
        assert_eq!(prior.updated(5.0, 0, 0), prior);
        assert!(prior.updated(5.0, 5, 0) > prior);
        assert!((prior.updated(5.0, 0, 5).value() - 0.4).abs() < 1e-9);
        assert!(Confidence::new(f64::NAN).is_err() && Confidence::new(1.1).is_err());
    }
}
