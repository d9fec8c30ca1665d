//! What a lost primary, a half-finished failover and a planned change call for.
//!
//! A claim is only begun where it can be seen to end: too few members to know what was acknowledged is a wait
//! with names, never an attempt.

use crate::decision::{Question, Trigger};
use crate::facts::{ServerFacts, ServerState, ThreadState, VolumeTrouble};
use crate::gtid::GtidSet;
use crate::guard::prospective_quorum;
use crate::plan::{Order, Step, claim, claim_without};
use crate::quorum::{Quorum, TooFew, candidates, last_primary, quorum, voters};
use crate::record::{Phase, Record};
use crate::snapshot::{MemberView, Probe, Snapshot};
use crate::trouble::{Trouble, trouble};

use super::maintain::{command, maintain};
use super::{Asked, Assessment, Waiting, readers};

/// How long a freeze of another operator must stand still before it is taken over, so that two operators do
/// not duel.
const TAKEOVER_MS: u64 = 1_000;

/// How long a chosen primary may be out of reach before another is chosen. It has not opened, so this costs
/// nothing but time.
const CHOSEN_UNREACHABLE_MS: u64 = 1_000;

/// How long, in milliseconds, a chosen primary waits for transactions that nobody who answers holds. Whoever holds
/// them may be starting; ten seconds are a long crash recovery.
const UNOBTAINABLE_MS: u64 = 10_000;

/// How long a complete freeze waits for members that answer and are not frozen yet, in milliseconds: freezing takes
/// some tens, and a slow member must not hold up the others.
const FREEZE_PATIENCE_MS: u64 = 300;

/// How long, in milliseconds, the primary's volume may take no write. A failover costs writes about a second; a stall
/// of that order is cheaper waited out, one of several is not.
const STALLED_MS: u64 = 5_000;

/// How old the primary's last word may be, in milliseconds, before a replica's lost connection makes the
/// operator ask it again.
const FRESH_MS: u64 = 300;

/// A record that says somebody is open.
pub(super) fn serving(snapshot: &Snapshot, record: &Record) -> Assessment {
    let mut assessment = Assessment::default();
    let Some(primary) = snapshot.member(&record.primary) else {
        let why = format!("{} has no pod", record.primary);
        return lost(snapshot, record, why);
    };
    match (&primary.probe, primary.report().map(|report| &report.server)) {
        (_, Some(ServerState::Stopped { exit, .. })) => {
            let how = exit.clone().unwrap_or_else(|| "it has not been started".to_owned());
            lost(snapshot, record, format!("mysqld of {} is gone ({how})", record.primary))
        }
        (_, Some(ServerState::Running(_))) if !primary.votes_in(record) => {
            lost(snapshot, record, format!("the data of {} is not what the record knows", record.primary))
        }
        (_, Some(ServerState::Running(facts))) if facts.open && is_stuck_alone(snapshot, record, primary) => {
            let why = primary.volume_trouble().map(ToString::to_string).unwrap_or_default();
            lost(snapshot, record, format!("{}: {why}", record.primary))
        }
        (_, Some(ServerState::Running(facts))) if facts.open => {
            suspect(snapshot, record, primary, &mut assessment);
            maintain(snapshot, record, &mut assessment);
            readers::care_for(snapshot, record, primary, &mut assessment);
            switchover(snapshot, record, primary, &mut assessment);
            if let Some(step) = go_on_without(snapshot, record, facts) {
                (assessment.steps, assessment.question) = (vec![step], None);
            }
            assessment
        }
        (_, Some(ServerState::Running(facts))) => closed(snapshot, record, primary, facts),
        (_, Some(ServerState::Starting)) => {
            assessment.waiting.push(Waiting::Promotion { primary: record.primary.clone() });
            assessment
        }
        (Probe::Unreachable { .. }, _) | (_, Some(ServerState::Unresponsive { .. })) if primary.is_leaving() => {
            lost(snapshot, record, format!("the pod of {} is being deleted, and it is ending", record.primary))
        }
        (_, Some(ServerState::Unresponsive { for_ms })) => {
            let why = format!("mysqld of {} has not answered for {} s", record.primary, for_ms / 1_000);
            if record.members.len() == 1 {
                // A freeze would throw its clients out, and then it would be chosen again.
                let why = format!("{why}, and there is nobody to take its place");
                assessment.waiting.push(Waiting::Suspicion { why });
                return assessment;
            }
            witnessed(snapshot, record, why)
        }
        (Probe::Unreachable { error, tried_ms, .. }, None) => {
            let why = format!("the agent of {} does not answer ({error})", record.primary);
            let unproved = unproved(snapshot, record, *tried_ms);
            if unproved.is_empty() {
                return witnessed(snapshot, record, why);
            }
            let others = unproved.iter().map(|member| member.name.as_str()).collect::<Vec<_>>().join(", ");
            let why = format!("{why}, and whether {others} would have been heard meanwhile is being asked");
            assessment.waiting.push(Waiting::Suspicion { why });
            assessment.steps = ask(unproved);
            assessment
        }
        (Probe::NotProbed | Probe::Known { .. }, None) => {
            let why = format!("the agent of {} has not been reached yet", record.primary);
            assessment.waiting.push(Waiting::Suspicion { why });
            assessment
        }
    }
}

/// Whether the primary's volume takes no writes and those of its replicas do. Where they all stand still, the storage
/// does, and another primary would be no better.
fn is_stuck_alone(snapshot: &Snapshot, record: &Record, primary: &MemberView) -> bool {
    let stuck = match primary.volume_trouble() {
        Some(VolumeTrouble::Stalled { for_ms }) => *for_ms >= STALLED_MS,
        Some(VolumeTrouble::Failed { .. }) => true,
        Some(VolumeTrouble::Unknown) | None => false,
    };
    let replicas = voters(snapshot, record).filter(|member| member.name != record.primary);
    let well = replicas.filter(|member| can_be_frozen(record, member) && member.volume_trouble().is_none());
    stuck && well.count() >= record.freeze_quorum()
}

/// Whether a freeze of this replica would count: it runs, and has forgotten nothing that it acknowledged.
fn can_be_frozen(record: &Record, member: &MemberView) -> bool {
    member.in_good_standing(record) && member.server().is_some()
}

/// A primary that runs and takes no writes: a drain, ours or one that a crashed operator left behind, or a server that
/// was started again before its end was seen.
fn closed(snapshot: &Snapshot, record: &Record, primary: &MemberView, facts: &ServerFacts) -> Assessment {
    let mut assessment = Assessment::default();
    if snapshot.planned(record).is_some() {
        switchover(snapshot, record, primary, &mut assessment);
    } else if facts.semi_sync.enabled {
        command(&mut assessment, primary, Order::Undrain);
    } else {
        // Commits wait on every server that was opened, unless nobody acknowledges: this one may never have been.
        command(&mut assessment, primary, Order::Promote { source: None, required: record.base.clone() });
    }
    assessment
}

/// Members without which a freeze could not end, and which were not in touch with this operator over the whole of its last
/// attempt to reach the primary: from before it began, and heard since. While it may be the operator that is cut off, the
/// primary's silence proves nothing, and neither does a connection on which nothing was said. When the cut is over, the
/// members are heard again one after the other, and the primary perhaps last.
fn unproved<'a>(snapshot: &'a Snapshot, record: &'a Record, tried_ms: u64) -> Vec<&'a MemberView> {
    let fit = voters(snapshot, record).filter(|member| can_be_frozen(record, member));
    let (proved, unproved): (Vec<_>, Vec<_>) = fit.partition(|member| {
        let Probe::Known { age_ms, connected_ms, .. } = &member.probe else { return false };
        *connected_ms >= tried_ms && *age_ms <= tried_ms
    });
    let needed = record.freeze_quorum();
    if proved.len() < needed && proved.len() + unproved.len() >= needed { unproved } else { Vec::new() }
}

fn ask(members: Vec<&MemberView>) -> Vec<Step> {
    members.into_iter().map(|member| Step::Probe { member: member.name.clone() }).collect()
}

/// A second witness decides whether something the operator alone noticed is a loss.
fn witnessed(snapshot: &Snapshot, record: &Record, why: String) -> Assessment {
    let witnesses = deserters(snapshot, record);
    if !witnesses.is_empty() {
        return lost(snapshot, record, format!("{why}; {} lost it too", witnesses.join(", ")));
    }
    let hearing = hearing(snapshot, record);
    if !hearing.is_empty() {
        let why = format!("{why}, but {} still hear from it", hearing.join(", "));
        return Assessment { waiting: vec![Waiting::Suspicion { why }], ..Assessment::default() };
    }
    // A whole cluster that is only just coming back has nobody to hear of it.
    lost(snapshot, record, why)
}

/// Replicas that receive from the primary.
fn hearing(snapshot: &Snapshot, record: &Record) -> Vec<String> {
    let replicas = voters(snapshot, record).filter(|member| member.name != record.primary);
    let hearing = replicas.filter(|member| {
        let channel = member.server().and_then(|facts| facts.replication.as_ref());
        channel.is_some_and(|channel| channel.receiver == ThreadState::On)
    });
    hearing.map(|member| member.name.clone()).collect()
}

/// Replicas that no longer receive from the primary. One that is leaving was locked out.
fn deserters(snapshot: &Snapshot, record: &Record) -> Vec<String> {
    let replicas = voters(snapshot, record);
    let replicas = replicas.filter(|member| member.name != record.primary && record.may_acknowledge(&member.name));
    let lost = replicas.filter(|member| {
        let channel = member.server().and_then(|facts| facts.replication.as_ref());
        channel.is_some_and(|channel| channel.receiver != ThreadState::On)
    });
    lost.map(|member| member.name.clone()).collect()
}

/// A replica that lost its source makes the operator look at the primary itself at once.
fn suspect(snapshot: &Snapshot, record: &Record, primary: &MemberView, assessment: &mut Assessment) {
    let stale = matches!(&primary.probe, Probe::Known { age_ms, .. } if *age_ms > FRESH_MS);
    if stale && !deserters(snapshot, record).is_empty() {
        assessment.steps.push(Step::Probe { member: primary.name.clone() });
    }
}

/// The primary is gone. Claims the next epoch where a freeze can be expected to end.
fn lost(snapshot: &Snapshot, record: &Record, because: String) -> Assessment {
    match expected(snapshot, record) {
        Ok(()) => Assessment { steps: vec![claim(record, because)], ..Assessment::default() },
        Err(few) => {
            if let Some(step) = accepted(snapshot, record) {
                return Assessment { steps: vec![step], ..Assessment::default() };
            }
            let waiting = vec![Waiting::Suspicion { why: because }, Waiting::Quorum(few)];
            Assessment { steps: revive(snapshot, record), waiting, ..Assessment::default() }
        }
    }
}

/// An open primary whose commits wait, and too few members to freeze: nothing can change until some are back, or until
/// somebody accepts to go on without them. Then the primary is opened again in an epoch whose record says so.
fn go_on_without(snapshot: &Snapshot, record: &Record, primary: &ServerFacts) -> Option<Step> {
    let blocked = primary.semi_sync.clients < record.effective_acks();
    (blocked && expected(snapshot, record).is_err()).then(|| accepted(snapshot, record)).flatten()
}

/// The claim of an epoch whose freeze may do without those who cannot be part of it now, if somebody accepts in so many
/// words what that may lose. Whoever answers with data that votes is waited for all the same.
fn accepted(snapshot: &Snapshot, record: &Record) -> Option<Step> {
    let asked = snapshot.accept_loss.as_ref().filter(|asked| asked.epoch == record.epoch)?;
    let takes_part = |name: &str| {
        let view = snapshot.member(name);
        view.is_some_and(|view| view.votes_in(record)) && record.leaving.as_deref() != Some(name)
    };
    let names = record.members.iter().map(|member| member.name.clone());
    let without: Vec<_> = names.filter(|name| !takes_part(name)).collect();
    // With nobody there, there is nothing to go on with.
    (without.len() < record.members.len()).then_some(())?;
    let because = format!(
        "operation {} accepts to go on from epoch {} without {}",
        asked.operation,
        record.epoch,
        if without.is_empty() { "proof".to_owned() } else { without.join(", ") }
    );
    Some(claim_without(record, without, because))
}

/// Whether enough members answer for a freeze to be complete.
pub(super) fn expected(snapshot: &Snapshot, record: &Record) -> Result<(), TooFew> {
    let needed = record.freeze_quorum();
    let replicas =
        voters(snapshot, record).filter(|member| member.name != record.primary || !member.opened_as_primary_of(record));
    let (fit, unfit): (Vec<_>, Vec<_>) = replicas.partition(|member| can_be_frozen(record, member));
    let reachable = voters(snapshot, record).filter(|member| member.report().is_some()).count();
    let primary_intact = snapshot
        .member(&record.primary)
        .is_some_and(|primary| primary.opened_as_primary_of(record) && primary.report().is_some());
    if fit.len() >= needed || (primary_intact && reachable >= needed) {
        return Ok(());
    }
    let why = |member: &MemberView| match &member.probe {
        Probe::Unreachable { error, .. } => format!("its agent does not answer: {error}"),
        Probe::NotProbed => "its agent has not been reached yet".to_owned(),
        Probe::Known { .. } if !member.in_good_standing(record) => {
            "it may have forgotten what it acknowledged".to_owned()
        }
        Probe::Known { .. } => "its mysqld does not answer".to_owned(),
    };
    let missing = unfit.into_iter().map(|member| (member.name.clone(), why(member))).collect();
    let counted = fit.into_iter().map(|member| member.name.clone()).collect();
    Err(TooFew { needed, counted, missing, last_primary: last_primary(snapshot, record) })
}

/// Starts the servers that could help, without telling them whom to follow. One that does not know yet that it votes
/// must not learn it before the primary does, and restarts by itself.
fn revive(snapshot: &Snapshot, record: &Record) -> Vec<Step> {
    let knows = |member: &MemberView| {
        member.remembered().is_some_and(|stored| stored.incarnation_of(&member.name) == member.incarnation())
    };
    let stopped = voters(snapshot, record).filter(|member| member.name != record.primary).filter(|member| {
        let stopped = matches!(member.report().map(|report| &report.server), Some(ServerState::Stopped { .. }));
        stopped && member.available && knows(member)
    });
    stopped.map(|member| Step::Command { member: member.name.clone(), order: Order::Start }).collect()
}

/// An epoch that is claimed and has no primary yet.
pub(super) fn freezing(snapshot: &Snapshot, record: &Record) -> Assessment {
    if !snapshot.record_is_ours {
        if snapshot.record_unchanged_ms < TAKEOVER_MS {
            return Assessment { waiting: vec![Waiting::OtherOperator], ..Assessment::default() };
        }
        let because = format!("epoch {} was claimed and not finished", record.epoch);
        return Assessment { steps: vec![claim(record, because)], ..Assessment::default() };
    }
    let mut assessment = Assessment::default();
    for member in voters(snapshot, record).filter(|member| member.available) {
        freeze(record, member, &mut assessment);
    }
    // A quorum may stand before everybody who answers is frozen, and a policy should have them all to choose from.
    let answering = voters(snapshot, record).filter(|member| member.report().is_some());
    let late = answering.filter(|member| !member.has_stored(record.claim()) || receives(member));
    let patient = snapshot.record_unchanged_ms < FREEZE_PATIENCE_MS && late.count() > 0;
    match quorum(snapshot, record) {
        Ok(_) if patient => {}
        Ok(quorum) => assessment.question = Some(asked(snapshot, record, &quorum)),
        Err(few) => match accepted(snapshot, record) {
            Some(step) => assessment.steps = vec![step],
            None => assessment.waiting.push(Waiting::Quorum(few)),
        },
    }
    assessment
}

/// Whether a member takes writes, from applications or from a source.
fn receives(member: &MemberView) -> bool {
    member.server().is_some_and(|facts| {
        facts.open || facts.replication.as_ref().is_some_and(|channel| channel.receiver != ThreadState::Off)
    })
}

fn freeze(record: &Record, member: &MemberView, assessment: &mut Assessment) {
    let Some(report) = member.report() else { return };
    let receiving = receives(member);
    let unread = matches!(&report.server, ServerState::Stopped { gtids: None, .. });
    let former = member.opened_as_primary_of(record);
    if !member.has_stored(record.claim()) || receiving || (former && unread) {
        command(assessment, member, Order::Freeze);
    } else if !former && matches!(report.server, ServerState::Stopped { .. }) {
        command(assessment, member, Order::Start);
    }
}

/// A primary that is chosen: it opens, its siblings follow it, whoever else is open is fenced.
pub(super) fn promoting(snapshot: &Snapshot, record: &Record) -> Assessment {
    let mut assessment = Assessment::default();
    let chosen = snapshot.member(&record.primary);
    let gone = match chosen.map(|member| &member.probe) {
        None => Some(format!("{} has no pod any more", record.primary)),
        Some(Probe::Unreachable { for_ms, tried_ms, error }) if *for_ms >= CHOSEN_UNREACHABLE_MS => {
            assessment.steps = ask(unproved(snapshot, record, *tried_ms));
            assessment.steps.is_empty().then(|| format!("{} was chosen and does not answer ({error})", record.primary))
        }
        Some(Probe::Known { .. }) if !chosen.is_some_and(|member| member.votes_in(record)) => {
            Some(format!("the data of {} is not what the record knows", record.primary))
        }
        Some(Probe::Known { .. }) => {
            chosen.and_then(|chosen| unobtainable(snapshot, record, chosen).or_else(|| unable(snapshot, chosen)))
        }
        Some(Probe::Unreachable { .. } | Probe::NotProbed) => None,
    };
    if let Some(because) = gone {
        return lost(snapshot, record, because);
    }
    let Some(chosen) = chosen else { return assessment };
    let opened = chosen.report().is_some_and(|report| report.opened_in_epoch == Some(record.epoch));
    match chosen.server() {
        Some(facts) if facts.open && opened => {
            let to = Record { phase: Phase::Serving, generation: 0, base: facts.executed.clone(), ..record.clone() };
            let because = format!("{} is open", chosen.name);
            assessment.steps.push(Step::Advance { to: Box::new(to), because });
            return assessment;
        }
        Some(facts) => {
            let required = record.base.clone();
            let source = (!required.is_subset_of(&facts.known())).then(|| most_advanced(snapshot, record)).flatten();
            command(&mut assessment, chosen, Order::Promote { source, required });
        }
        None if chosen.report().is_some() => command(&mut assessment, chosen, Order::Start),
        None => {}
    }
    assessment.waiting.push(Waiting::Promotion { primary: chosen.name.clone() });
    maintain(snapshot, record, &mut assessment);
    assessment
}

/// Why a chosen primary can never open: it lacks what nobody has any more. A new freeze shows whether that can have
/// been acknowledged; where it cannot, the next choice does without it.
fn unobtainable(snapshot: &Snapshot, record: &Record, chosen: &MemberView) -> Option<String> {
    if snapshot.record_unchanged_ms < UNOBTAINABLE_MS {
        return None;
    }
    let held = snapshot.members.iter().filter_map(MemberView::known_transactions);
    let held = held.fold(GtidSet::new(), |all, held| all.union(&held));
    let missing = record.base.subtract(&chosen.server()?.known()).subtract(&held);
    (!missing.is_empty()).then(|| format!("{} was chosen with {missing}, which nobody holds any more", chosen.name))
}

/// Why a chosen primary can never open: it has what it needs, and its applier ends on it.
fn unable(snapshot: &Snapshot, chosen: &MemberView) -> Option<String> {
    let stuck = trouble(snapshot, chosen).filter(|trouble| matches!(trouble, Trouble::Applier { .. }))?;
    (chosen.trouble_ms >= UNOBTAINABLE_MS).then(|| format!("{} was chosen and cannot open: {stuck}", chosen.name))
}

/// Another member that holds all that the chosen one must have.
fn most_advanced(snapshot: &Snapshot, record: &Record) -> Option<String> {
    let others = voters(snapshot, record).filter(|member| member.name != record.primary);
    let holders = others.filter_map(|member| Some((member, member.hands_on()?)));
    let lacking = holders.map(|(member, known)| (record.base.subtract(&known).count(), member));
    lacking.min_by_key(|(lacking, member)| (*lacking, member.ordinal)).map(|(_, member)| member.name.clone())
}

/// What a planned change asks, if one is due.
fn switchover(snapshot: &Snapshot, record: &Record, primary: &MemberView, assessment: &mut Assessment) {
    // There is nothing to choose while it drains. One that has closed by itself need not be told anything.
    if snapshot.planned(record).is_none() || !(primary.available || primary.is_drained()) {
        return;
    }
    if let Some(quorum) = prospective_quorum(snapshot, record) {
        assessment.question = Some(asked(snapshot, record, &quorum));
    }
}

fn asked(snapshot: &Snapshot, record: &Record, quorum: &Quorum) -> Asked {
    let planned = snapshot.planned(record);
    let serving = record.phase == Phase::Serving;
    let counted = snapshot.ended_leads.before(record);
    let question = Question {
        namespace: snapshot.namespace.clone(),
        cluster: snapshot.cluster.clone(),
        epoch: if serving { record.epoch + 1 } else { record.epoch },
        trigger: if planned.is_some() { Trigger::Switchover } else { Trigger::Failover },
        now_unix_ms: snapshot.now_unix_ms,
        seed: record.epoch,
        without_primary_ms: snapshot.without_primary_ms,
        former_primary: Some(record.primary.clone()),
        acks: record.acks,
        failover_window_s: counted.window_s,
        failovers_in_window: counted.lost(None),
        candidates: candidates(snapshot, record, quorum),
        facts: Vec::new(),
    };
    // Nobody leads while the record is Freezing: a wish that cannot be fulfilled must not keep it so.
    let fits = |name: &String| {
        serving || question.candidates.iter().any(|candidate| candidate.name == *name && candidate.is_eligible())
    };
    let named = planned.and_then(|planned| planned.to).filter(fits);
    Asked { question, named }
}
