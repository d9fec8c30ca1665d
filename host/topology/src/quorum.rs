//! Which members a failover has frozen, what they hold together, and who of them may be chosen.
//!
//! This is where "an acknowledged write survives" is decided, so nothing here may count a member on a guess:
//! a member counts only by what it reported after it stored the claim.

mod known;
mod reduced;

pub(crate) use self::reduced::last_primary;

use crate::decision::{Candidate, Ineligible};
use crate::facts::{ServerState, ThreadState};
use crate::gtid::GtidSet;
use crate::record::{GivenUp, Record};
use crate::snapshot::{MemberView, Probe, Snapshot};

/// Words for [`Ineligible::code`].
pub mod code {
    /// Its agent does not answer.
    pub const UNREACHABLE: &str = "unreachable";
    /// Its mysqld is not running or does not answer.
    pub const NOT_RUNNING: &str = "not-running";
    /// It has not been cut from the former primary under this claim.
    pub const NOT_FROZEN: &str = "not-frozen";
    /// It is no voting member, or its data is not what the record knows.
    pub const NOT_A_MEMBER: &str = "not-a-member";
    /// It may have forgotten what it acknowledged.
    pub const UNPROVED: &str = "unproved";
    /// It holds transactions that no primary committed.
    pub const ERRANT: &str = "errant";
    /// It is being removed.
    pub const LEAVING: &str = "leaving";
    /// It holds transactions that may have been acknowledged and were given up, or could issue their numbers again.
    pub const GIVEN_UP: &str = "given-up";
    /// Its applier stopped with an error.
    pub const APPLIER_BROKEN: &str = "applier-broken";
    /// It led until now.
    pub const FORMER_PRIMARY: &str = "former-primary";
    /// Its volume takes no writes, and another member's does.
    pub const VOLUME: &str = "volume";
    /// Its pod is being deleted.
    pub const TERMINATING: &str = "terminating";
    /// Its server is newer than another voter's, and one that is not can lead.
    pub const NEWER_VERSION: &str = "newer-version";
    /// Its node is closed to new pods, and a member of another node can lead.
    pub const CORDONED: &str = "cordoned";
}

/// A freeze that is complete enough to choose from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quorum {
    /// Every transaction that can have been acknowledged, and perhaps more.
    pub union: GtidSet,
    /// Whether the former primary, stopped, had to be counted because too few replicas were there.
    pub counts_former_primary: bool,
    /// What may be missing from the union, where somebody accepted that there are fewer members than would be needed.
    pub given_up: Option<GivenUp>,
}

impl Quorum {
    /// A complete one.
    pub(crate) fn of(union: GtidSet) -> Self {
        Self { union, counts_former_primary: false, given_up: None }
    }
}

/// Why there is nothing to choose from yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TooFew {
    /// N − k.
    pub needed: usize,
    /// Members that count.
    pub counted: Vec<String>,
    /// Members that do not, each with the reason.
    pub missing: Vec<(String, String)>,
    /// Who led last, and why it does not suffice alone. None where nobody has led yet.
    pub last_primary: Option<(String, String)>,
}

/// The quorum of the record's freeze, or of the members as they stand for a switchover.
///
/// A member that is leaving counts, and is needed: what it acknowledged before it was locked may be nowhere else until
/// the record lets it go.
///
/// # Errors
/// [`TooFew`] names who is missing and why.
pub fn quorum(snapshot: &Snapshot, record: &Record) -> Result<Quorum, TooFew> {
    let needed = record.freeze_quorum();
    let mut counted = Vec::new();
    let mut missing = Vec::new();
    let mut union = GtidSet::new();
    for member in voters(snapshot, record) {
        if member.name == record.primary && member.opened_as_primary_of(record) {
            continue;
        }
        match frozen_transactions(member, record) {
            Ok(known) => {
                union = union.union(&record.legal_part(&known));
                counted.push(member.name.clone());
            }
            Err(reason) => missing.push((member.name.clone(), reason.message)),
        }
    }
    missing.extend(unseen(snapshot, record));
    if counted.len() >= needed {
        return Ok(Quorum::of(union));
    }
    if let Some(known) = former_primary_alone(snapshot, record, needed) {
        let union = union.union(&record.legal_part(&known));
        return Ok(Quorum { counts_former_primary: true, ..Quorum::of(union) });
    }
    let accepted = record.loss_accepted_now().and_then(|accepted| reduced::reduced(snapshot, record, accepted));
    accepted.ok_or_else(|| TooFew { needed, counted, missing, last_primary: last_primary(snapshot, record) })
}

/// Members of the record of which the snapshot has no view at all.
fn unseen(snapshot: &Snapshot, record: &Record) -> Vec<(String, String)> {
    let unseen = record.members.iter().filter(|member| snapshot.member(&member.name).is_none());
    unseen.map(|member| (member.name.clone(), "has no pod".to_owned())).collect()
}

/// The views of the record's members.
pub fn voters<'a>(snapshot: &'a Snapshot, record: &'a Record) -> impl Iterator<Item = &'a MemberView> {
    snapshot.members.iter().filter(|member| record.incarnation_of(&member.name).is_some())
}

/// The recorded primary suffices alone if it opened under its claim, is the same data, holds the base, and
/// enough agents have stored the new claim for nobody else to be promoted beside it.
fn former_primary_alone(snapshot: &Snapshot, record: &Record, needed: usize) -> Option<GtidSet> {
    let primary = snapshot.member(&record.primary)?;
    if !primary.opened_as_primary_of(record) || !primary.has_stored(record.claim()) {
        return None;
    }
    let known = primary.known_transactions()?;
    let stored = voters(snapshot, record).filter(|member| member.has_stored(record.claim())).count();
    (record.base.is_subset_of(&known) && stored >= needed).then_some(known)
}

/// Whether a member must be known to have forgotten nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Memory {
    Proved,
    AsItIs,
}

/// What a frozen replica in good standing holds.
///
/// # Errors
/// The reason why it does not count.
fn frozen_transactions(member: &MemberView, record: &Record) -> Result<GtidSet, Ineligible> {
    frozen(member, record, Memory::Proved)
}

fn frozen(member: &MemberView, record: &Record, memory: Memory) -> Result<GtidSet, Ineligible> {
    let refuse = |code: &str, message: String| Err(ineligible(code, message));
    let report = match &member.probe {
        Probe::Known { report, .. } => report,
        Probe::Unreachable { error, .. } => {
            return refuse(code::UNREACHABLE, format!("its agent does not answer: {error}"));
        }
        Probe::NotProbed => return refuse(code::UNREACHABLE, "its agent has not been reached yet".to_owned()),
    };
    if !member.votes_in(record) {
        return refuse(code::NOT_A_MEMBER, "its data is not the data that votes; it has to be rebuilt".to_owned());
    }
    if memory == Memory::Proved && !member.in_good_standing(record) {
        return refuse(code::UNPROVED, "it may have forgotten what it acknowledged".to_owned());
    }
    if !member.has_stored(record.claim()) {
        return refuse(code::NOT_FROZEN, "it has not stored this claim".to_owned());
    }
    let ServerState::Running(facts) = &report.server else {
        return refuse(code::NOT_RUNNING, "its mysqld does not answer".to_owned());
    };
    let receiving = facts.replication.as_ref().is_some_and(|channel| channel.receiver != ThreadState::Off);
    if receiving || facts.open {
        return refuse(code::NOT_FROZEN, "it still receives from the former primary".to_owned());
    }
    Ok(facts.known())
}

/// Every voting member as a policy sees it, given what the quorum holds together.
pub fn candidates(snapshot: &Snapshot, record: &Record, quorum: &Quorum) -> Vec<Candidate> {
    let mut candidates: Vec<_> =
        voters(snapshot, record).map(|member| candidate(snapshot, record, quorum, member)).collect();
    candidates.sort_by(|left, right| left.name.cmp(&right.name));
    let stuck = !is_serving(record) && !candidates.iter().any(Candidate::is_eligible);
    if stuck && former_primary_alone(snapshot, record, record.freeze_quorum()).is_some() {
        // Enough members count, and none of them may lead: all that was acknowledged is in its own log too.
        let former = candidates.iter_mut().filter(|candidate| candidate.name == record.primary);
        former.for_each(|former| former.ineligible.retain(|reason| reason.code != code::FORMER_PRIMARY));
    }
    pass_over(snapshot, record, &mut candidates);
    candidates
}

/// Members that can lead and should not while another can. What would stop writes comes before what would only be
/// mended later.
fn pass_over(snapshot: &Snapshot, record: &Record, candidates: &mut [Candidate]) {
    let volume = |candidate: &Candidate| snapshot.member(&candidate.name)?.volume_trouble().map(ToString::to_string);
    rather_another(candidates, code::VOLUME, volume);
    leave_out_leavers(snapshot, record, candidates);
    // A replica may be newer than its source, not older: what a newer one writes an older one need not understand.
    let lowest = candidates.iter().filter_map(|candidate| version(&candidate.version)).min();
    let newer = "its server is newer than another member's";
    rather_another(candidates, code::NEWER_VERSION, |candidate| {
        (version(&candidate.version) > lowest).then(|| newer.to_owned())
    });
    let closed = "its node is closed to new pods";
    rather_another(candidates, code::CORDONED, |candidate| candidate.node_cordoned.then(|| closed.to_owned()));
}

/// Leaves candidates out that something speaks against, as long as one remains that it does not speak against. It
/// never leaves nobody.
fn rather_another(candidates: &mut [Candidate], code: &str, against: impl Fn(&Candidate) -> Option<String>) {
    if candidates.iter().any(|candidate| candidate.is_eligible() && against(candidate).is_none()) {
        for candidate in candidates.iter_mut().filter(|candidate| candidate.is_eligible()) {
            let reason = against(candidate).map(|message| ineligible(code, message));
            candidate.ineligible.extend(reason);
        }
    }
}

/// Whoever is being removed, or will be, does not lead. Only where a primary is missing and nobody else can lead is it
/// better than none: it has to move on again later.
fn leave_out_leavers(snapshot: &Snapshot, record: &Record, candidates: &mut [Candidate]) {
    let leaves = |candidate: &Candidate| {
        record.leaving.as_deref() == Some(candidate.name.as_str()) || snapshot.is_surplus(&candidate.name)
    };
    let needed = !is_serving(record) && !candidates.iter().any(|other| other.is_eligible() && !leaves(other));
    for candidate in candidates.iter_mut().filter(|candidate| leaves(candidate) && !needed) {
        candidate.ineligible.push(ineligible(code::LEAVING, "it is being removed".to_owned()));
    }
}

/// The numbers that a server's version begins with: `8.4.3-commercial` is 8, 4, 3.
fn version(text: &str) -> Option<[u32; 3]> {
    let mut numbers = text.split('-').next()?.splitn(3, '.').map(str::parse);
    Some([numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?])
}

fn candidate(snapshot: &Snapshot, record: &Record, quorum: &Quorum, member: &MemberView) -> Candidate {
    let known = member.known_transactions().unwrap_or_default();
    let executed = member.server().map(|facts| facts.executed.clone()).unwrap_or_default();
    let pod = member.pod.clone().unwrap_or_default();
    let unapplied = quorum.union.intersect(&known).subtract(&executed).count();
    Candidate {
        name: member.name.clone(),
        ordinal: member.ordinal,
        zone: pod.zone,
        node: pod.node,
        labels: pod.labels,
        ineligible: ineligibilities(snapshot, record, quorum, member),
        missing_transactions: quorum.union.subtract(&known).count(),
        unapplied_transactions: unapplied,
        node_ready: pod.node_ready,
        node_cordoned: pod.node_cordoned,
        node_pressure: pod.node_pressure,
        version: member.server().map(|facts| facts.version.clone()).unwrap_or_default(),
        catch_up: known::catch_up(member, unapplied),
        capacity: known::capacity(snapshot, record, member),
        activity: known::activity(snapshot, record, member),
        facts: Vec::new(),
    }
}

fn ineligibilities(snapshot: &Snapshot, record: &Record, quorum: &Quorum, member: &MemberView) -> Vec<Ineligible> {
    let mut reasons = Vec::new();
    if member.name == record.primary && member.opened_as_primary_of(record) {
        return former_primary_reasons(quorum, member);
    }
    // While the record is Serving the question is a switchover: nobody is frozen yet, and everything else holds.
    let memory = if quorum.given_up.is_some() { Memory::AsItIs } else { Memory::Proved };
    match frozen(member, record, memory) {
        Err(reason) if reason.code == code::NOT_FROZEN && is_serving(record) => {}
        Err(reason) => reasons.push(reason),
        Ok(_) => {}
    }
    if let Some(facts) = member.server() {
        let errant = errant_transactions(snapshot, record, member);
        if !errant.is_empty() {
            reasons
                .push(ineligible(code::ERRANT, format!("it holds transactions that no primary committed: {errant}")));
        }
        let given_up = given_up_transactions(record, member);
        if !given_up.is_empty() {
            let message =
                format!("it holds transactions that may have been acknowledged and were given up: {given_up}");
            reasons.push(ineligible(code::GIVEN_UP, message));
        } else if record.gave_up(facts.server_uuid) {
            let message = "under its name transactions were given up whose numbers it could issue again".to_owned();
            reasons.push(ineligible(code::GIVEN_UP, message));
        }
        if let Some(channel) = facts.replication.as_ref().filter(|channel| channel.is_broken()) {
            reasons.push(ineligible(code::APPLIER_BROKEN, format!("its applier stopped: {}", channel.applier_error)));
        }
    }
    let terminating = member.pod.as_ref().is_none_or(|pod| pod.terminating);
    if terminating && member.report().is_some() && snapshot.members.len() > 1 {
        reasons.push(ineligible(code::TERMINATING, "its pod is being deleted".to_owned()));
    }
    reasons
}

/// A former primary is reopened in place only where nobody else can lead.
fn former_primary_reasons(quorum: &Quorum, member: &MemberView) -> Vec<Ineligible> {
    if quorum.counts_former_primary && member.known_transactions().is_some() {
        return Vec::new();
    }
    vec![ineligible(code::FORMER_PRIMARY, "it led until now".to_owned())]
}

/// Transactions of a member that are neither legal nor a former primary's, whether a tail that nobody acknowledged or
/// one that was given up.
pub fn errant_transactions(snapshot: &Snapshot, record: &Record, member: &MemberView) -> GtidSet {
    let illegal = illegal_transactions(record, member);
    let tail = of_servers(&illegal, former_servers(snapshot, record).into_iter());
    illegal.subtract(&tail).subtract(&given_up_transactions(record, member))
}

/// Transactions of a member that may have been acknowledged before they were given up: not legal any more, and not to be
/// taken for a tail either.
pub fn given_up_transactions(record: &Record, member: &MemberView) -> GtidSet {
    let servers = record.given_up.iter().flat_map(|given_up| given_up.servers.iter().copied());
    of_servers(&illegal_transactions(record, member), servers)
}

fn of_servers(set: &GtidSet, servers: impl Iterator<Item = uuid::Uuid>) -> GtidSet {
    servers.fold(GtidSet::new(), |found, server| found.union(&set.of_server(server)))
}

/// Transactions of a member that the current primary's history does not hold.
pub fn illegal_transactions(record: &Record, member: &MemberView) -> GtidSet {
    let known = member.known_transactions().unwrap_or_default();
    known.subtract(&record.legal_part(&known))
}

/// Servers that once led: whoever has transactions in the base and, because one that lost the role before its first
/// acknowledgement has none there, whatever the record or members say besides. A member knows of an opening of which no
/// record tells if the record was lost.
fn former_servers(snapshot: &Snapshot, record: &Record) -> Vec<uuid::Uuid> {
    let opened = snapshot.members.iter().filter_map(MemberView::report).flat_map(|report| report.opened_as.clone());
    record.base.servers().chain(record.former_servers.iter().copied()).chain(opened).collect()
}

fn is_serving(record: &Record) -> bool {
    record.phase == crate::record::Phase::Serving
}

fn ineligible(code: &str, message: String) -> Ineligible {
    Ineligible { code: code.to_owned(), message }
}
