//! How an acceptance of data loss ends: what the record says became of it.
//!
//! Nothing is remembered in between. What was accepted stands in the record, and what was given up stays there.

use topology::assess::Waiting;
use topology::record::{GivenUp, Phase, Record};
use topology::snapshot::AcceptLoss;

/// How it ends.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing came of it.
    Failed(String),
    /// Somebody leads by it.
    Done {
        /// For whoever asked.
        message: String,
        /// The members that were missing.
        missing: Vec<String>,
    },
}

/// What became of an acceptance, if that is known. `open` says whether the record's primary takes writes.
pub fn verdict(record: &Record, open: bool, waiting: &[Waiting], accept: &AcceptLoss, over: bool) -> Option<Verdict> {
    let next = accept.epoch.saturating_add(1);
    if let Some(given_up) = record.given_up.iter().find(|given_up| given_up.epoch == next) {
        return effect(record, open, given_up);
    }
    let waits: Vec<_> = waiting.iter().map(ToString::to_string).collect();
    let waits = if waits.is_empty() { "nothing".to_owned() } else { waits.join("; ") };
    if record.epoch == next && record.loss_accepted_now().is_some() {
        return over.then(|| {
            Verdict::Failed(format!(
                "epoch {next} is claimed and cannot be finished without members that answered: {waits}. \
                 To go on without them too, accept epoch {next}"
            ))
        });
    }
    if record.epoch != accept.epoch {
        return Some(Verdict::Failed(format!(
            "the record is in epoch {}, not {}: look again at what is known before you accept; nothing was changed",
            record.epoch, accept.epoch
        )));
    }
    let blocked = waiting.iter().any(|waiting| matches!(waiting, Waiting::Acknowledgements { .. }));
    if open && !blocked {
        let primary = &record.primary;
        return Some(Verdict::Failed(format!(
            "{primary} takes writes, so nothing has to be lost; nothing was changed"
        )));
    }
    over.then(|| {
        Verdict::Failed(format!(
            "the cluster did not come to wait for members without whom nobody knows what was acknowledged, or none \
             answers; it waits for: {waits}; nothing was changed"
        ))
    })
}

fn effect(record: &Record, open: bool, given_up: &GivenUp) -> Option<Verdict> {
    let settled = record.epoch > given_up.epoch || (record.phase == Phase::Serving && open);
    let (primary, since) = (&record.primary, record.primary_since_epoch);
    let lost = if given_up.servers.is_empty() {
        "it holds every acknowledged write, so nothing had to be given up".to_owned()
    } else {
        let members = given_up.members.join(", ");
        format!("what only {members} held is given up, and their data stays until a rebuild is asked for")
    };
    settled.then(|| Verdict::Done {
        message: format!("{primary} leads since epoch {since}; {lost}"),
        missing: given_up.members.clone(),
    })
}

#[cfg(test)]
mod tests {
    use topology::record::AcceptedLoss;
    use uuid::Uuid;

    use super::*;

    fn record(epoch: u64, phase: Phase) -> Record {
        Record {
            epoch,
            phase,
            primary_since_epoch: if phase == Phase::Freezing { epoch - 1 } else { epoch },
            acks: 1,
            ..Record::first("shop-2".to_owned())
        }
    }

    fn end(record: &Record, open: bool, over: bool) -> Option<Verdict> {
        let accept = AcceptLoss { epoch: 7, operation: "accept".to_owned() };
        verdict(record, open, &[], &accept, over)
    }

    fn failure(record: &Record, open: bool, over: bool) -> String {
        match end(record, open, over) {
            Some(Verdict::Failed(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn it_fails_where_nothing_is_to_be_accepted_and_says_why() {
        assert!(failure(&record(7, Phase::Serving), true, false).contains("takes writes"));
        assert!(failure(&record(9, Phase::Freezing), false, false).contains("epoch 9, not 7"));
        assert!(failure(&record(6, Phase::Serving), false, false).contains("epoch 6, not 7"));
        let accept = AcceptLoss { epoch: 7, operation: "accept".to_owned() };
        let alone = Waiting::Acknowledgements { needed: 1, present: 0, missing: vec!["shop-0".to_owned()] };
        let serving = record(7, Phase::Serving);
        assert_eq!(verdict(&serving, true, std::slice::from_ref(&alone), &accept, false), None, "writes wait");
        assert!(matches!(verdict(&serving, true, &[alone], &accept, true), Some(Verdict::Failed(_))));
        assert_eq!(end(&record(7, Phase::Freezing), false, false), None, "it may yet come to wait");
        assert!(failure(&record(7, Phase::Freezing), false, true).contains("nothing was changed"));
    }

    #[test]
    fn it_succeeds_once_somebody_leads_and_says_what_is_given_up() {
        let accepted = Some(AcceptedLoss { epoch: 7, without: vec!["shop-0".to_owned()] });
        let claimed = Record { accepted_loss: accepted, ..record(8, Phase::Freezing) };
        assert_eq!(end(&claimed, false, false), None);
        assert!(failure(&claimed, false, true).contains("accept epoch 8"));
        let given_up = GivenUp { epoch: 8, servers: vec![Uuid::from_u128(1)], members: vec!["shop-0".to_owned()] };
        let chosen = Record { given_up: vec![given_up.clone()], ..record(8, Phase::Promoting) };
        assert_eq!(end(&chosen, false, true), None, "it is done, and told when it takes writes");
        let led = Record { given_up: vec![given_up.clone()], ..record(8, Phase::Serving) };
        let Some(Verdict::Done { missing, message }) = end(&led, true, false) else { panic!("it leads") };
        assert_eq!(missing, ["shop-0"]);
        assert!(message.contains("what only shop-0 held is given up"), "{message}");
        let complete = Record { given_up: vec![GivenUp { servers: Vec::new(), ..given_up }], ..led };
        let Some(Verdict::Done { message, .. }) = end(&complete, true, false) else { panic!("it leads") };
        assert!(message.contains("nothing had to be given up"), "{message}");
        assert!(failure(&record(8, Phase::Serving), true, false).contains("epoch 8, not 7"));
    }
}
