//! Medians, their ratio, and how sure it is.

use std::fmt;

const RESAMPLES: usize = 2000;

/// Two sets of samples, in milliseconds unless it is said otherwise.
pub(crate) struct Comparison {
    ours: Vec<f64>,
    peer: Vec<f64>,
    interval: (f64, f64),
    p_value: f64,
}

impl Comparison {
    pub(crate) fn new(mut ours: Vec<f64>, mut peer: Vec<f64>) -> Self {
        let interval = bootstrap_interval(&ours, &peer);
        let p_value = permutation_p_value(&ours, &peer);
        ours.sort_by(f64::total_cmp);
        peer.sort_by(f64::total_cmp);
        Self { ours, peer, interval, p_value }
    }

    fn ratio(&self) -> f64 {
        quantile(&self.ours, 50) / quantile(&self.peer, 50)
    }

    /// The ratio of the medians, its interval and the p-value.
    pub(crate) fn judgement(&self) -> String {
        let (low, high) = self.interval;
        format!("{:.2} ({low:.2}-{high:.2}, {:.4})", self.ratio(), self.p_value)
    }
}

/// Median, lowest and highest of samples of which more is better.
pub(crate) struct Spread<'a>(pub(crate) &'a [f64]);

impl fmt::Display for Spread<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted = self.0.to_vec();
        sorted.sort_by(f64::total_cmp);
        let [low, middle, high] = [0, 50, 100].map(|percent| quantile(&sorted, percent));
        // Some digits are enough: 2.31 Gb/s, 9012 requests.
        let digits = if middle < 100.0 { 2 } else { 0 };
        formatter.pad(&format!("{middle:.digits$} ({low:.digits$}-{high:.digits$})"))
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for samples in [&self.ours, &self.peer] {
            let cell = format!(
                "{:.1} / {:.1} / {:.1}",
                quantile(samples, 50),
                quantile(samples, 90),
                quantile(samples, 0)
            );
            write!(formatter, "{cell:>24} ")?;
        }
        write!(formatter, "  {}", self.judgement())
    }
}

/// Of sorted samples.
fn quantile(sorted: &[f64], percent: usize) -> f64 {
    sorted.get((sorted.len().saturating_sub(1)) * percent / 100).copied().unwrap_or(f64::NAN)
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    quantile(&samples, 50)
}

fn bootstrap_interval(ours: &[f64], peer: &[f64]) -> (f64, f64) {
    let mut random = Random::default();
    let mut ratios: Vec<f64> = (0..RESAMPLES)
        .map(|_| median(resample(ours, &mut random)) / median(resample(peer, &mut random)))
        .collect();
    ratios.sort_by(f64::total_cmp);
    let edge = RESAMPLES / 40;
    (ratios[edge], ratios[RESAMPLES - 1 - edge])
}

fn resample(samples: &[f64], random: &mut Random) -> Vec<f64> {
    samples.iter().map(|_| samples[random.below(samples.len())]).collect()
}

/// Share of random relabellings whose medians are at least as far apart.
fn permutation_p_value(ours: &[f64], peer: &[f64]) -> f64 {
    let observed = (median(ours.to_vec()) - median(peer.to_vec())).abs();
    let mut random = Random::default();
    let mut all: Vec<f64> = ours.iter().chain(peer).copied().collect();
    let extreme = (0..RESAMPLES)
        .filter(|_| {
            for index in (1..all.len()).rev() {
                all.swap(index, random.below(index + 1));
            }
            let (left, right) = all.split_at(ours.len());
            (median(left.to_vec()) - median(right.to_vec())).abs() >= observed
        })
        .count();
    #[expect(clippy::cast_precision_loss, reason = "both are at most 2001")]
    let share = (extreme + 1) as f64 / (RESAMPLES + 1) as f64;
    share
}

/// xorshift64*; a fixed seed makes a run repeatable.
struct Random(u64);

impl Default for Random {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let value = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(value).unwrap_or(0) % limit.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_shows_as_many_digits_as_matter() {
        assert_eq!(Spread(&[2.5, 1.0, 3.0]).to_string(), "2.50 (1.00-3.00)");
        assert_eq!(format!("{:>18}", Spread(&[900.4, 1200.0, 800.0])), "    900 (800-1200)");
    }

    #[test]
    fn a_clear_difference_is_significant_and_none_is_not() {
        let fast: Vec<f64> = (0..30).map(|i| 10.0 + f64::from(i % 5)).collect();
        let slow: Vec<f64> = fast.iter().map(|value| value * 2.0).collect();
        let clear = Comparison::new(fast.clone(), slow);
        assert!((clear.ratio() - 0.5).abs() < 0.01);
        assert!(clear.p_value < 0.01);
        assert!(clear.interval.1 < 0.7);
        assert!(Comparison::new(fast.clone(), fast).p_value > 0.5);
    }
}
