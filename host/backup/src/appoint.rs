//! Which member archives its binary log. Pure.
//!
//! A voting replica as a rule, and the one that does so already: another one reads a part of its log again. A primary only
//! where no replica's log goes back to the end of the archive, or there is none: whatever the primary has not executed is
//! archived from nobody's log. A read replica never. And nothing is given up as missing while somebody may still have it.

use topology::gtid::GtidSet;

use crate::choose::{Candidate, Part};

/// For how long it is waited for a member that does not answer and may have what all others lack, in seconds: a machine
/// restarts in less, and until then the archive does not grow.
pub const PATIENCE_S: u64 = 600;

/// A member, as far as archiving goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archiver {
    /// Who it is, and whether it could.
    pub candidate: Candidate,
    /// What the archive does not cover and its binary log does not hold any more. None where that is not known.
    pub lacks: Option<GtidSet>,
}

/// Who archives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appointed {
    /// The pod's name.
    pub member: String,
    /// Whether it leads.
    pub although_primary: bool,
    /// What nobody has any more.
    pub give_up: GtidSet,
}

/// Says who is to archive. `now` does so already; for `waited_s` seconds nobody could.
///
/// # Errors
/// Nobody can: why.
pub fn appoint(archivers: &[Archiver], now: Option<&str>, waited_s: u64) -> Result<Appointed, String> {
    let voters = || archivers.iter().filter(|archiver| archiver.candidate.part != Part::Reader);
    let fit = || voters().filter(|archiver| archiver.candidate.unfit.is_none());
    let leads = |archiver: &Archiver| archiver.candidate.part == Part::Primary;
    let rank = |archiver: &Archiver| {
        let Candidate { name, lag_s, .. } = &archiver.candidate;
        (leads(archiver), now != Some(name.as_str()), *lag_s, name.clone())
    };
    let appointed = |archiver: &Archiver| Appointed {
        member: archiver.candidate.name.clone(),
        although_primary: leads(archiver),
        give_up: archiver.lacks.clone().unwrap_or_default(),
    };
    let whole = fit().filter(|archiver| archiver.lacks.as_ref().is_some_and(GtidSet::is_empty)).min_by_key(|a| rank(a));
    if let Some(whole) = whole {
        return Ok(appointed(whole));
    }
    let unknown: Vec<_> = voters().filter(|archiver| archiver.lacks.is_none()).map(reason).collect();
    let known = fit().filter_map(|archiver| Some((archiver.lacks.as_ref()?.count(), archiver)));
    match known.min_by_key(|(count, archiver)| (*count, rank(archiver))) {
        Some((_, least)) if unknown.is_empty() || waited_s >= PATIENCE_S => Ok(appointed(least)),
        Some((_, least)) => {
            let lacks = least.lacks.clone().unwrap_or_default();
            Err(format!("no member that answers has {lacks} any more; waiting for {}", unknown.join("; ")))
        }
        None => {
            let reasons: Vec<_> = voters().map(reason).collect();
            Err(format!("no member can archive its binary log now ({})", reasons.join("; ")))
        }
    }
}

fn reason(archiver: &Archiver) -> String {
    let why = archiver.candidate.unfit.as_deref().unwrap_or("what its log holds is not known");
    format!("{}: {why}", archiver.candidate.name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lost(last: u64) -> GtidSet {
        match last {
            0 => GtidSet::new(),
            last => format!("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-{last}").parse().unwrap(),
        }
    }

    fn archiver(name: &str, part: Part) -> Archiver {
        let acknowledges = part == Part::Replica;
        let candidate = Candidate { name: name.to_owned(), part, unfit: None, acknowledges, lag_s: 0 };
        Archiver { candidate, lacks: Some(GtidSet::new()) }
    }

    fn three() -> Vec<Archiver> {
        vec![archiver("shop-0", Part::Primary), archiver("shop-1", Part::Replica), archiver("shop-2", Part::Replica)]
    }

    fn unfit(archiver: &mut Archiver) {
        archiver.candidate.unfit = Some("its agent does not answer".to_owned());
        archiver.lacks = None;
    }

    #[test]
    fn whoever_archives_goes_on_while_it_can() {
        let mut all = three();
        assert_eq!(appoint(&all, None, 0).unwrap().member, "shop-1");
        assert_eq!(appoint(&all, Some("shop-2"), 0).unwrap().member, "shop-2");
        assert_eq!(appoint(&all, Some("shop-0"), 0).unwrap().member, "shop-1", "the primary gives way to a replica");
        all[2].candidate.lag_s = 9;
        assert_eq!(appoint(&all, Some("shop-2"), 0).unwrap().member, "shop-2", "being behind is no reason");
        unfit(&mut all[2]);
        assert_eq!(appoint(&all, Some("shop-2"), 0).unwrap().member, "shop-1");
    }

    #[test]
    fn the_primary_archives_alone_or_where_no_replica_has_everything() {
        let alone = [archiver("shop-0", Part::Primary)];
        assert!(appoint(&alone, None, 0).unwrap().although_primary);
        let mut all = three();
        all[1].lacks = Some(lost(3));
        unfit(&mut all[2]);
        let chosen = appoint(&all, None, 0).unwrap();
        assert_eq!(
            (chosen.member.as_str(), chosen.although_primary, chosen.give_up.is_empty()),
            ("shop-0", true, true)
        );
    }

    #[test]
    fn nothing_is_given_up_while_somebody_may_have_it() {
        let mut all = three();
        all[0].lacks = Some(lost(9));
        all[1].lacks = Some(lost(3));
        unfit(&mut all[2]);
        let waits = appoint(&all, None, PATIENCE_S - 1).unwrap_err();
        assert!(waits.contains("waiting for shop-2: its agent does not answer"), "{waits}");
        let chosen = appoint(&all, None, PATIENCE_S).unwrap();
        assert_eq!((chosen.member.as_str(), chosen.give_up), ("shop-1", lost(3)));
        all[2] = Archiver { lacks: Some(lost(1)), ..archiver("shop-2", Part::Replica) };
        assert_eq!(appoint(&all, None, 0).unwrap().give_up, lost(1), "all have spoken");
    }

    #[test]
    fn nobody_is_a_reason_and_not_a_choice() {
        let mut all = three();
        all.iter_mut().for_each(unfit);
        assert!(appoint(&all, None, PATIENCE_S).unwrap_err().contains("shop-0: its agent does not answer"));
        assert!(appoint(&[archiver("shop-read-0", Part::Reader)], None, PATIENCE_S).is_err());
    }

    proptest! {
        #[test]
        fn whoever_is_appointed_is_fit_votes_and_gives_up_only_what_nobody_fit_has(
            members in prop::collection::vec((0..3_usize, any::<bool>(), prop::option::of(0..4_u64), 0..9_u64), 0..7),
            now in 0..7_usize,
            waited_s in prop::sample::select(vec![0, PATIENCE_S]),
        ) {
            let parts = [Part::Reader, Part::Replica, Part::Primary];
            let all: Vec<_> = members.iter().enumerate().map(|(number, (part, fit, lacks, lag_s))| {
                let mut one = archiver(&format!("shop-{number}"), parts[*part]);
                one.candidate.lag_s = *lag_s;
                one.candidate.unfit = (!fit).then(|| "no".to_owned());
                one.lacks = lacks.map(lost);
                one
            }).collect();
            let Ok(chosen) = appoint(&all, Some(&format!("shop-{now}")), waited_s) else { return Ok(()) };
            let one = all.iter().find(|one| one.candidate.name == chosen.member).unwrap();
            prop_assert!(one.candidate.unfit.is_none() && one.candidate.part != Part::Reader);
            prop_assert_eq!(one.lacks.as_ref(), Some(&chosen.give_up));
            let fit = |other: &&Archiver| other.candidate.unfit.is_none() && other.candidate.part != Part::Reader;
            for other in all.iter().filter(fit).filter_map(|other| other.lacks.as_ref()) {
                prop_assert!(chosen.give_up.is_subset_of(other));
            }
            if !chosen.give_up.is_empty() && waited_s < PATIENCE_S {
                prop_assert!(all.iter().all(|other| other.candidate.part == Part::Reader || other.lacks.is_some()));
            }
        }
    }
}
