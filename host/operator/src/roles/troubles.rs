//! For how long replicas have been in trouble.
//!
//! A trouble is judged from one report at a time, and one that is over a moment later was none. Here is only measured;
//! another operator measures anew.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;
use topology::snapshot::Snapshot;
use topology::trouble::trouble;
use uuid::Uuid;

/// How long a trouble may be out of sight and still be the same: an applier that is started again looks well until it
/// meets the same transaction, and so does a mysqld that is starting.
const OUT_OF_SIGHT: Duration = Duration::from_secs(5);

/// Troubles that were seen, by member.
#[derive(Debug, Default)]
pub struct Troubles {
    seen: HashMap<String, Seen>,
}

#[derive(Debug)]
struct Seen {
    kind: &'static str,
    incarnation: Option<Uuid>,
    since: Instant,
    last: Instant,
}

impl Troubles {
    /// Notes what a snapshot shows, and writes into it for how long that has been so.
    pub fn measure(&mut self, snapshot: &mut Snapshot, now: Instant) {
        self.seen.retain(|_, seen| now.duration_since(seen.last) < OUT_OF_SIGHT);
        let found: Vec<_> = snapshot.members.iter().map(|member| trouble(snapshot, member)).collect();
        for (member, found) in snapshot.members.iter_mut().zip(found) {
            let Some(found) = found else { continue };
            let (kind, incarnation) = (found.kind(), member.incarnation());
            let before = self.seen.get(&member.name);
            let since = before.filter(|before| before.kind == kind && before.incarnation == incarnation);
            let since = since.map_or(now, |before| before.since);
            self.seen.insert(member.name.clone(), Seen { kind, incarnation, since, last: now });
            member.trouble_ms = u64::try_from(now.duration_since(since).as_millis()).unwrap_or(u64::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use topology::facts::{DataState, Ends, MemberReport, ServerState, Standing};
    use topology::snapshot::{MemberView, Probe};

    use super::*;
    use crate::roles::fixtures::{member, snapshot};

    fn ended(data: u128, in_a_row: u32) -> Snapshot {
        let report = MemberReport {
            member: "shop-1".to_owned(),
            agent_version: String::new(),
            boot_id: String::new(),
            record: None,
            opened_in_epoch: None,
            opened_as: Vec::new(),
            trimmed: None,
            data: DataState::Ready { incarnation: Uuid::from_u128(data) },
            standing: Standing::Good,
            server: ServerState::Stopped { exit: None, gtids: None },
            job: None,
            volume: None,
            config_error: None,
            ends: Some(Ends { in_a_row, how: "signal 6".to_owned() }),
            copies: None,
        };
        let probe = Probe::Known { report: Box::new(report), age_ms: 0, connected_ms: 60_000 };
        Snapshot { members: vec![MemberView { probe, ..member(1) }], ..snapshot() }
    }

    #[test]
    fn a_trouble_goes_on_over_a_short_break_and_not_over_a_long_one_or_other_data() {
        let began = Instant::now();
        let mut troubles = Troubles::default();
        let mut at = |seconds, mut snapshot: Snapshot| {
            troubles.measure(&mut snapshot, began + Duration::from_secs(seconds));
            snapshot.members[0].trouble_ms
        };
        assert_eq!(at(0, ended(1, 3)), 0);
        assert_eq!(at(3, ended(1, 4)), 3_000, "another number is no other trouble");
        assert_eq!(at(4, ended(1, 0)), 0, "it is out of sight");
        assert_eq!(at(7, ended(1, 5)), 7_000);
        assert_eq!(at(30, ended(1, 6)), 0, "after so long it is another one");
        assert_eq!(at(33, ended(1, 6)), 3_000);
        assert_eq!(at(34, ended(2, 6)), 0, "the data is another");
    }
}
