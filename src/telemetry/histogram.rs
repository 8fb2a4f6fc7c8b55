//! Times in buckets, for the classic histogram of Prometheus.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds in nanoseconds: from 10 microseconds to 30 seconds, 1, 2.5, 5 a decade.
const BOUNDS: [u64; 20] = [
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
];

/// How many times fell into which bucket. Two additions to take note of one.
#[derive(Debug, Default)]
pub struct Histogram {
    /// Of each bucket alone; the last is for what is above every bound.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

/// What a histogram said at one moment. Several can be added up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    buckets: [u64; BOUNDS.len() + 1],
    nanoseconds: u64,
}

impl Histogram {
    /// Takes note of one duration.
    pub fn observe(&self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let at = BOUNDS.partition_point(|bound| *bound < nanoseconds);
        if let Some(bucket) = self.buckets.get(at) {
            bucket.fetch_add(1, Relaxed);
        }
        self.nanoseconds.fetch_add(nanoseconds, Relaxed);
    }

    /// What it says now.
    pub fn read(&self) -> Reading {
        let mut reading = Reading { nanoseconds: self.nanoseconds.load(Relaxed), ..Reading::default() };
        for (into, bucket) in reading.buckets.iter_mut().zip(&self.buckets) {
            *into = bucket.load(Relaxed);
        }
        reading
    }
}

impl Reading {
    /// Adds another.
    pub fn add(&mut self, other: &Self) {
        for (into, bucket) in self.buckets.iter_mut().zip(&other.buckets) {
            *into = into.wrapping_add(*bucket);
        }
        self.nanoseconds = self.nanoseconds.wrapping_add(other.nanoseconds);
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, bucket| sum.wrapping_add(*bucket))
    }

    /// Seconds, all together.
    pub fn sum(&self) -> f64 {
        Duration::from_nanos(self.nanoseconds).as_secs_f64()
    }

    /// Upper bounds in seconds and how many fell into each bucket alone; the last bound is infinite.
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS.iter().map(|bound| Duration::from_nanos(*bound).as_secs_f64());
        bounds.chain(std::iter::once(f64::INFINITY)).zip(self.buckets).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_below_their_bound() {
        let histogram = Histogram::default();
        for micros in [0, 10, 11, 26, 1_000, 60_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let mut reading = histogram.read();
        assert_eq!((reading.count(), reading.buckets[..3].to_vec(), reading.buckets[20]), (6, vec![2, 1, 1], 1));
        assert!((reading.sum() - 60.001_047).abs() < 1e-9, "{}", reading.sum());
        let again = reading.clone();
        reading.add(&again);
        assert_eq!(reading.count(), 12);
        assert_eq!(reading.buckets().last(), Some(&(f64::INFINITY, 2)));
    }
}
