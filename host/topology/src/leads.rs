//! Which leads ended lately, as far back as one operator has watched, for policies to weigh. Nothing else goes by it.
//!
//! What nobody watched must never be counted as nothing: the time that was watched is told along with the number.

use serde::{Deserialize, Serialize};

use crate::record::Record;

/// How far back is counted, in seconds: a member whose lead was lost several times within an hour is ill, and one that
/// was replaced yesterday need not be.
pub const WINDOW_S: u64 = 3_600;

/// The leads that ended while an operator watched.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndedLeads {
    /// For how long, in milliseconds, every end of a lead has been seen. 0 where nobody watched.
    pub watched_ms: u64,
    /// Each of them, oldest first.
    pub ended: Vec<EndedLead>,
}

/// A lead that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndedLead {
    /// The member that led.
    pub member: String,
    /// The epoch that was claimed for it to end.
    pub epoch: u64,
    /// How long ago, in milliseconds.
    pub ago_ms: u64,
    /// Whether it was lost. One that was handed over was drained first.
    pub lost: bool,
}

/// What a policy is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counted<'a> {
    /// Seconds that are counted over. None where nobody watched for as long as one.
    pub(crate) window_s: Option<u64>,
    ended: &'a [EndedLead],
    /// Later claims are what is being decided about.
    until_epoch: u64,
}

impl EndedLeads {
    /// Those before the one that the record tells of: a loss that is being seen to is not among them.
    pub(crate) fn before(&self, record: &Record) -> Counted<'_> {
        let window_s = Some((self.watched_ms / 1_000).min(WINDOW_S)).filter(|window| *window > 0);
        Counted { window_s, ended: &self.ended, until_epoch: record.primary_since_epoch }
    }
}

impl Counted<'_> {
    /// How many leads were lost, of everybody or of one member. None where nobody watched.
    pub(crate) fn lost(&self, of: Option<&str>) -> Option<u32> {
        let within = self.within()?.filter(|lead| lead.lost && of.is_none_or(|of| lead.member == of));
        Some(u32::try_from(within.count()).unwrap_or(u32::MAX))
    }

    /// How many seconds ago a member's lead ended. None, too, where it did not while somebody watched.
    pub(crate) fn since_led_s(&self, member: &str) -> Option<u64> {
        self.within()?.filter(|lead| lead.member == member).map(|lead| lead.ago_ms / 1_000).min()
    }

    fn within(&self) -> Option<impl Iterator<Item = &EndedLead>> {
        let most_ms = self.window_s? * 1_000;
        Some(self.ended.iter().filter(move |lead| lead.ago_ms <= most_ms && lead.epoch <= self.until_epoch))
    }
}
