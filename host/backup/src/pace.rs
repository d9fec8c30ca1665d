//! How fast something is sent. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// A bucket of tokens, one for each byte, that fills at the rate of the limit. It holds none in store: what was not sent
/// while there was nothing to send is not made up for, so that a limit is one over every stretch of time. Something may
/// be taken that is larger than what is there, and the next waits until it is paid for.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    bytes_per_second: Option<u64>,
    paid_at: Option<Instant>,
}

impl Bucket {
    /// A bucket with this limit. None, or zero, for no limit.
    pub fn new(bytes_per_second: Option<u64>) -> Self {
        Self { bytes_per_second: bytes_per_second.filter(|rate| *rate > 0), paid_at: None }
    }

    /// When so many bytes may be sent that are ready `now`.
    pub fn take(&mut self, now: Instant, bytes: u64) -> Instant {
        let Some(rate) = self.bytes_per_second else { return now };
        let due = self.paid_at.map_or(now, |paid_at| paid_at.max(now));
        self.paid_at = Some(due + Duration::from_secs_f64(bytes as f64 / rate as f64));
        due
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_waits_until_the_one_before_is_paid_for() {
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let mut bucket = Bucket::new(Some(1000));
        assert_eq!(bucket.take(at(0), 500), at(0));
        assert_eq!(bucket.take(at(10), 2000), at(500));
        assert_eq!(bucket.take(at(20), 1), at(2500));
        assert_eq!(bucket.take(at(60_000), 500), at(60_000), "a store that was away is no reason to send faster");
        assert_eq!(bucket.take(at(60_000), 500), at(60_500));
        for unlimited in [None, Some(0)] {
            let mut bucket = Bucket::new(unlimited);
            assert_eq!([bucket.take(at(5), 1 << 40), bucket.take(at(5), 1 << 40)], [at(5), at(5)]);
        }
    }

    proptest! {
        /// Whenever what is ready, over every stretch of time no more is sent than the limit allows and one part.
        #[test]
        fn no_stretch_of_time_has_more_than_the_limit_and_one_part(
            rate in 1_u64..1_000_000,
            ready in prop::collection::vec((0_u64..5_000, 1_u64..100_000), 1..40),
        ) {
            let began = Instant::now();
            let (mut bucket, mut now, mut sent) = (Bucket::new(Some(rate)), began, Vec::new());
            for (later_ms, bytes) in ready {
                now += Duration::from_millis(later_ms);
                let due = bucket.take(now, bytes);
                prop_assert!(due >= now);
                sent.push((due, bytes));
            }
            for first in 0..sent.len() {
                for last in first..sent.len() {
                    let before_the_last: u64 = sent[first..last].iter().map(|(_, bytes)| bytes).sum();
                    let allowed = (sent[last].0 - sent[first].0).as_secs_f64() * rate as f64;
                    prop_assert!(before_the_last as f64 <= allowed + 1.0, "{before_the_last} of {allowed}");
                }
            }
        }
    }
}
