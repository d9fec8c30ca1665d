//! Which member a backup is taken from. Pure.
//!
//! Never the primary while a replica is fit: reading everything slows a server down, and every client waits for the
//! primary. A read replica acknowledges nothing, so that nobody waits for it at all; of the voting ones the one is taken
//! whose acknowledgements are missed least.

use topology::facts::{JobState, MemberReport, ServerState, ThreadState};

/// What a member is in its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// It only reads along.
    Reader,
    /// It votes and replicates.
    Replica,
    /// It leads.
    Primary,
}

/// A member, as far as this choice goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The pod's name.
    pub name: String,
    /// What it is in its cluster.
    pub part: Part,
    /// Why nothing can be copied from it now, if nothing can.
    pub unfit: Option<String>,
    /// Whether commits count on its acknowledgements now.
    pub acknowledges: bool,
    /// How far it is behind, in seconds.
    pub lag_s: u64,
}

/// Whom to take it from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The pod's name.
    pub member: String,
    /// Why this one, for people.
    pub because: String,
    /// What that costs, if it may cost something.
    pub warning: Option<String>,
}

impl Candidate {
    /// A member as it reports itself. `report` is None, with the reason, where its agent does not answer.
    pub fn of(name: &str, part: Part, report: Result<&MemberReport, &str>) -> Self {
        let mut candidate = Self { name: name.to_owned(), part, unfit: None, acknowledges: false, lag_s: 0 };
        match report {
            Ok(report) => candidate.judge(report),
            Err(why) => candidate.unfit = Some(why.to_owned()),
        }
        candidate
    }

    fn judge(&mut self, report: &MemberReport) {
        let unfit = |why: &str| Some(why.to_owned());
        if let Some(trouble) = &report.volume {
            self.unfit = Some(trouble.to_string());
            return;
        }
        if report.job.as_ref().is_some_and(|job| matches!(job.state, JobState::Running { .. })) {
            self.unfit = unfit("its data is being made or copied");
            return;
        }
        let ServerState::Running(facts) = &report.server else {
            self.unfit = unfit("its mysqld does not run or does not answer");
            return;
        };
        let Some(channel) = &facts.replication else {
            if self.part != Part::Primary || !facts.open {
                self.unfit = unfit("it does not replicate");
            }
            return;
        };
        self.acknowledges = channel.acknowledges;
        self.lag_s = channel.lag_s.unwrap_or_default();
        if channel.receiver != ThreadState::On || channel.applier != ThreadState::On {
            self.unfit = unfit("it does not replicate");
        } else if channel.delay_s > 0 {
            self.unfit = unfit("it is late on purpose");
        }
    }
}

/// Chooses, where every commit waits for `acks` acknowledgements.
///
/// # Errors
/// Nobody is fit: why each is not.
pub fn choose(candidates: &[Candidate], acks: u32) -> Result<Choice, String> {
    let fit =
        |part: Part| candidates.iter().filter(move |candidate| candidate.part == part && candidate.unfit.is_none());
    let choice = |candidate: &Candidate, because: &str, warning: Option<String>| Choice {
        member: candidate.name.clone(),
        because: because.to_owned(),
        warning,
    };
    if let Some(reader) = fit(Part::Reader).min_by_key(|reader| (reader.lag_s, reader.name.clone())) {
        return Ok(choice(reader, "it is a read replica, and no commit waits for it", None));
    }
    if let Some(idle) = fit(Part::Replica).find(|replica| !replica.acknowledges) {
        return Ok(choice(idle, "it is a replica, and no commit counts on its acknowledgements now", None));
    }
    // The one that is furthest behind is not the one that commits wait for.
    if let Some(slowest) = fit(Part::Replica).max_by_key(|replica| (replica.lag_s, replica.name.clone())) {
        let acknowledging = candidates.iter().filter(|candidate| candidate.acknowledges).count();
        let last = acknowledging <= usize::try_from(acks).unwrap_or(usize::MAX);
        let warning = format!(
            "every commit waits for {} while it is read, because only {acknowledging} replicas acknowledge and {acks} must",
            slowest.name
        );
        return Ok(choice(slowest, "it is a replica, and others acknowledge as well", last.then_some(warning)));
    }
    let reasons: Vec<_> = candidates
        .iter()
        .filter_map(|candidate| Some(format!("{}: {}", candidate.name, candidate.unfit.as_ref()?)))
        .collect();
    let Some(primary) = fit(Part::Primary).next() else {
        return Err(format!("no member can be copied now ({})", reasons.join("; ")));
    };
    let why = if reasons.is_empty() { "there is no replica".to_owned() } else { reasons.join("; ") };
    let warning = format!("clients of {} may be slowed down: {why}", primary.name);
    Ok(choice(primary, "no replica is fit", Some(warning)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidate(name: &str, part: Part) -> Candidate {
        Candidate { name: name.to_owned(), part, unfit: None, acknowledges: part == Part::Replica, lag_s: 0 }
    }

    fn three() -> Vec<Candidate> {
        vec![candidate("shop-0", Part::Primary), candidate("shop-1", Part::Replica), candidate("shop-2", Part::Replica)]
    }

    #[test]
    fn a_read_replica_comes_first_and_the_one_that_is_least_behind() {
        let mut all = three();
        all.push(Candidate { lag_s: 9, ..candidate("shop-read-0", Part::Reader) });
        all.push(candidate("shop-read-1", Part::Reader));
        assert_eq!(choose(&all, 1).unwrap().member, "shop-read-1");
    }

    #[test]
    fn the_last_one_that_acknowledges_is_not_taken_in_silence() {
        let mut all = three();
        let choice = choose(&all, 1).unwrap();
        assert_eq!((choice.member.as_str(), choice.warning), ("shop-2", None));
        all[2].unfit = Some("it does not replicate".to_owned());
        all[2].acknowledges = false;
        let choice = choose(&all, 1).unwrap();
        assert_eq!(choice.member, "shop-1");
        assert!(choice.warning.unwrap().contains("every commit waits for shop-1"));
    }

    #[test]
    fn the_replica_that_commits_do_not_wait_for_is_taken() {
        let mut all = three();
        all[1].lag_s = 4;
        assert_eq!(choose(&all, 1).unwrap().member, "shop-1");
        all[2].acknowledges = false;
        assert_eq!(choose(&all, 1).unwrap().member, "shop-2");
    }

    #[test]
    fn the_primary_is_taken_only_where_nobody_else_can_be_and_with_the_reason() {
        let mut all = three();
        all[1].unfit = Some("its agent does not answer".to_owned());
        all[2].unfit = Some("it is late on purpose".to_owned());
        let choice = choose(&all, 1).unwrap();
        assert_eq!(choice.member, "shop-0");
        assert!(choice.warning.unwrap().contains("shop-2: it is late on purpose"));
        all[0].unfit = Some("its mysqld does not run".to_owned());
        assert!(choose(&all, 1).unwrap_err().contains("shop-0: its mysqld does not run"));
        assert!(choose(&[candidate("shop-0", Part::Primary)], 0).unwrap().warning.unwrap().contains("no replica"));
    }

    proptest! {
        #[test]
        fn whoever_is_chosen_is_fit_and_the_primary_only_where_no_replica_is(
            members in prop::collection::vec((0..3_usize, any::<bool>(), any::<bool>(), 0..20_u64), 0..8),
            acks in 0..4_u32,
        ) {
            let parts = [Part::Reader, Part::Replica, Part::Primary];
            let all: Vec<_> = members.iter().enumerate().map(|(number, (part, fit, acknowledges, lag_s))| Candidate {
                name: format!("shop-{number}"),
                part: parts[*part],
                unfit: (!fit).then(|| "no".to_owned()),
                acknowledges: *acknowledges && parts[*part] == Part::Replica,
                lag_s: *lag_s,
            }).collect();
            let fit = |part: Part| all.iter().any(|one| one.part == part && one.unfit.is_none());
            match choose(&all, acks) {
                Err(_) => prop_assert!(parts.iter().all(|part| !fit(*part))),
                Ok(choice) => {
                    let chosen = all.iter().find(|one| one.name == choice.member).unwrap();
                    prop_assert!(chosen.unfit.is_none());
                    prop_assert!(chosen.part != Part::Primary || !(fit(Part::Reader) || fit(Part::Replica)));
                    prop_assert!(chosen.part != Part::Replica || !fit(Part::Reader));
                }
            }
        }
    }
}
