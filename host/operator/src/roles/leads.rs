//! Which leads ended while this operator watched a cluster, and since when it has watched without missing one.
//!
//! Of a claim of its own it knows whether the primary was lost or had been drained. What another operator claimed it only
//! sees some time later and without the reason, so that it begins to count anew then: it must never tell of a number that
//! may be another. Only measured here; another operator, or the same after a restart, begins anew too.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;
use topology::leads::{EndedLead, EndedLeads, WINDOW_S};
use topology::record::{Phase, Record};
use topology::snapshot::{MemberView, Snapshot};

/// Ends that are remembered: one a minute. Where there were more, the time that is counted over is shorter.
const MOST: usize = 60;

/// The leads of one cluster.
#[derive(Debug, Default)]
pub struct Leads {
    since: Option<Instant>,
    /// The last epoch that is known of.
    epoch: Option<u64>,
    ended: VecDeque<Ended>,
}

#[derive(Debug)]
struct Ended {
    member: String,
    epoch: u64,
    at: Instant,
    lost: bool,
}

impl Leads {
    /// The record as it was found. One of another epoch than the last was claimed by somebody else.
    pub fn found(&mut self, record: Option<&Record>, now: Instant) {
        let epoch = record.map(|record| record.epoch);
        if self.since.is_none() || self.epoch != epoch {
            *self = Self { since: Some(now), epoch, ended: VecDeque::new() };
        }
    }

    /// This operator replaced the record of the snapshot.
    pub fn advanced(&mut self, snapshot: &Snapshot, to: &Record, now: Instant) {
        self.epoch = Some(to.epoch);
        let led = snapshot.record.as_ref().filter(|record| record.phase == Phase::Serving && record.epoch < to.epoch);
        let Some(led) = led else { return };
        let drained = snapshot.member(&led.primary).is_some_and(MemberView::is_drained);
        let lost = !(drained && snapshot.planned(led).is_some());
        self.ended.push_back(Ended { member: led.primary.clone(), epoch: to.epoch, at: now, lost });
        if self.ended.len() > MOST
            && let Some(forgotten) = self.ended.pop_front()
        {
            self.since = Some(forgotten.at + Duration::from_millis(1));
        }
        self.ended.retain(|ended| now.duration_since(ended.at) <= Duration::from_secs(WINDOW_S));
    }

    /// What a snapshot says of them.
    pub fn seen(&self, now: Instant) -> EndedLeads {
        let ended = self.ended.iter().map(|ended| EndedLead {
            member: ended.member.clone(),
            epoch: ended.epoch,
            ago_ms: millis(now.duration_since(ended.at)),
            lost: ended.lost,
        });
        EndedLeads {
            watched_ms: self.since.map_or(0, |since| millis(now.duration_since(since))),
            ended: ended.collect(),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roles::fixtures::snapshot;

    fn serving(epoch: u64) -> Record {
        Record { epoch, phase: Phase::Serving, ..Record::first("shop-0".to_owned()) }
    }

    /// A claim of this operator, with nobody to be seen: the primary is lost.
    fn lose(leads: &mut Leads, epoch: u64, now: Instant) {
        let before = Snapshot { record: Some(serving(epoch)), ..snapshot() };
        leads.advanced(&before, &serving(epoch).claimed(None), now);
        leads.found(Some(&serving(epoch + 1)), now);
    }

    #[test]
    fn losses_that_this_operator_claimed_are_counted_and_no_step_within_an_epoch_is() {
        let (mut leads, began) = (Leads::default(), Instant::now());
        assert_eq!(leads.seen(began), EndedLeads::default(), "nobody has watched yet");
        leads.found(Some(&serving(1)), began);
        let later = began + Duration::from_secs(100);
        lose(&mut leads, 1, later);
        let promoting = Record { phase: Phase::Promoting, ..serving(2) };
        let before = Snapshot { record: Some(serving(2).claimed(None)), ..snapshot() };
        leads.advanced(&before, &promoting, later);
        let seen = leads.seen(later + Duration::from_secs(5));
        assert_eq!(seen.watched_ms, 105_000);
        let lost = EndedLead { member: "shop-0".to_owned(), epoch: 2, ago_ms: 5_000, lost: true };
        assert_eq!(seen.ended, [lost]);
    }

    #[test]
    fn what_another_operator_claimed_begins_the_count_anew() {
        let (mut leads, began) = (Leads::default(), Instant::now());
        leads.found(Some(&serving(1)), began);
        lose(&mut leads, 1, began);
        let later = began + Duration::from_secs(9);
        leads.found(Some(&serving(3)), later);
        assert_eq!(leads.seen(later), EndedLeads::default());
        leads.found(Some(&serving(3)), later + Duration::from_secs(1));
        assert_eq!(leads.seen(later + Duration::from_secs(2)).watched_ms, 2_000, "the same record again is no news");
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_time_that_is_told_with_it() {
        let (mut leads, began) = (Leads::default(), Instant::now());
        leads.found(Some(&serving(1)), began);
        let at = |epoch: u64| began + Duration::from_secs(epoch);
        (1..=MOST as u64 + 5).for_each(|epoch| lose(&mut leads, epoch, at(epoch)));
        let seen = leads.seen(at(MOST as u64 + 5));
        assert_eq!(seen.ended.len(), MOST);
        assert!(seen.ended.iter().all(|lead| lead.ago_ms < seen.watched_ms), "those before are not spoken of");
        assert_eq!(seen.watched_ms, MOST as u64 * 1_000 - 1);
    }
}
