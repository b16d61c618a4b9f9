//! The few distributions the model draws from.

use rand::Rng;
use rand::rngs::StdRng;

/// Arrivals in one step, for small means.
pub(crate) fn poisson(rng: &mut StdRng, mean: f64) -> u32 {
    let limit = (-mean).exp();
    let (mut count, mut product) = (0, rng.random::<f64>());
    while product > limit {
        count += 1;
        product *= rng.random::<f64>();
    }
    count
}

/// `least` plus an exponential time with mean `mean`, in milliseconds.
pub(crate) fn duration_ms(rng: &mut StdRng, least: f64, mean: f64) -> u64 {
    let spread = -(1.0 - rng.random::<f64>()).ln() * mean;
    (least + spread).round() as u64
}
