//! Says what is so: the cluster's status, its Events, its metrics. Nothing is ever read back from here to decide
//! anything, and nothing is written while nothing changes.

mod breaker;
mod readers;
mod status;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use engine::Entry;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Api, Resource};
use objects::api::{AnswerStatus, FailoverStatus, MysqlCluster, MysqlClusterStatus, PoliciesStatus, PolicyStatus};
use tokio::time::Instant;
use topology::assess::{Assessment, Waiting};
use topology::decision::{Answer, Trigger};
use topology::facts::Trimmed;
use topology::guard::Refusal;
use topology::record::{Phase, Record};
use topology::snapshot::{MemberView, Snapshot};
use topology::upkeep::Upkeep;

use super::cluster::open_primary;
use super::execute::Board;
use crate::Context;
use crate::cache::ClusterKey;

/// Who writes these fields of the status.
const MANAGER: &str = "grampus/topology";

/// How often a status is written when only a lag in it changed.
const LAG_EVERY: Duration = Duration::from_secs(10);

/// How long the watch may take to show what was written: some milliseconds, as a rule.
const WATCH_LAG: Duration = Duration::from_secs(2);

/// How long something has to be so before it is worth an Event: a freeze lasts tens of milliseconds.
const WORTH_TELLING: Duration = Duration::from_secs(1);

/// The reason of the Event about a read replica that is copied anew.
const REPLACED: &str = "ReadReplicaReplaced";

/// The reason of the Event about a member that is copied anew because it cannot go on with its data.
const COPIED_ANEW: &str = "ReplicaCopiedAnew";

/// An answer, whoever gave it, and what the guard made of it.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The answer.
    pub answer: Answer,
    /// Who gave it, for people: `prefer-zone 0.1.0`.
    pub by: String,
    /// What went wrong with a module that should have answered.
    pub failures: Vec<String>,
    /// How long the answer took.
    pub took_micros: u64,
    /// What was asked.
    pub trigger: Trigger,
    /// Whether the configured module was given up on, or taken back, with this answer.
    pub breaker: Option<engine::Change>,
    /// The member that was approved, or why none was.
    pub verdict: Option<Result<String, Refusal>>,
    /// The same for the journal, where a policy was asked.
    pub entry: Option<Box<Entry>>,
}

impl Choice {
    /// The answer where no policy could be asked.
    pub fn nobody(trigger: Trigger) -> Self {
        let reason = "no policy is loaded yet".to_owned();
        Self {
            answer: Answer::Hold { reason },
            by: "grampus".to_owned(),
            failures: Vec::new(),
            took_micros: 0,
            trigger,
            breaker: None,
            verdict: None,
            entry: None,
        }
    }

    /// Why somebody was chosen, if somebody was.
    pub fn reason(&self) -> Option<String> {
        match (&self.answer, &self.verdict) {
            (Answer::Promote { reason, .. }, Some(Ok(_))) => Some(format!("{} ({})", reason, self.by)),
            _ => None,
        }
    }

    /// Why the answer was not acted on, if it was not.
    pub fn refusal(&self) -> Option<String> {
        self.verdict.as_ref().and_then(|verdict| verdict.as_ref().err()).map(ToString::to_string)
    }

    fn status(&self) -> AnswerStatus {
        let (answer, reason) = match &self.answer {
            Answer::Promote { candidate, reason, .. } => (format!("promote {candidate}"), reason.clone()),
            Answer::Hold { reason } => ("hold".to_owned(), reason.clone()),
        };
        let mut verdict: Vec<String> = self.refusal().into_iter().collect();
        verdict.extend(self.failures.iter().cloned());
        AnswerStatus {
            at: Time(Timestamp::now()),
            answer,
            reason: Some(reason),
            verdict: (!verdict.is_empty()).then(|| verdict.join("; ")),
        }
    }
}

/// A primary that is being replaced.
struct Ongoing {
    at: Timestamp,
    since: Instant,
    cause: String,
    from: String,
    planned: bool,
}

/// What was last said of one cluster.
pub struct Publisher {
    context: Arc<Context>,
    key: ClusterKey,
    api: Api<MysqlCluster>,
    recorder: Recorder,
    published: Option<MysqlClusterStatus>,
    published_at: Instant,
    last_answer: Option<AnswerStatus>,
    last_failover: Option<FailoverStatus>,
    ongoing: Option<Ongoing>,
    /// What may have to be told, and since when it is so.
    pending: Option<(String, Instant)>,
    told: Option<String>,
    /// What was last cut off each member's binary log, as far as this operator knows.
    trimmed: HashMap<String, Option<Trimmed>>,
    /// The pod that was last replaced on purpose.
    restarted: Option<String>,
    /// Whether it was told that the policy in force is not asked for the time being: of each decision, as the status has
    /// them.
    told_open: [bool; 4],
}

impl Publisher {
    /// Nothing said yet.
    pub fn new(context: &Arc<Context>, key: &ClusterKey) -> Self {
        Self {
            api: Api::namespaced(context.client.clone(), &key.namespace),
            recorder: context.recorder.clone(),
            context: context.clone(),
            key: key.clone(),
            published: None,
            published_at: Instant::now(),
            last_answer: None,
            last_failover: None,
            ongoing: None,
            pending: None,
            told: None,
            trimmed: HashMap::new(),
            restarted: None,
            told_open: [false; 4],
        }
    }

    /// Remembers an answer for the status and writes it to the log, once for each different one.
    pub fn answered(&mut self, choice: &Choice) {
        let status = choice.status();
        let same = self.last_answer.as_ref().is_some_and(|last| {
            last.answer == status.answer && last.reason == status.reason && last.verdict == status.verdict
        });
        self.context.metrics.decision(choice);
        if let Some(change) = choice.breaker {
            self.context.metrics.policies.breaker(&self.key, change);
            tracing::warn!(cluster = %self.key, ?change, "the breaker before the policy in force");
        }
        if !same {
            tracing::info!(
                cluster = %self.key, trigger = ?choice.trigger, by = choice.by, answer = status.answer,
                reason = status.reason, verdict = status.verdict, took_micros = choice.took_micros, "decision"
            );
            self.last_answer = Some(status);
        }
    }

    /// Tells about a change of the record.
    pub async fn advanced(&mut self, object: &MysqlCluster, snapshot: &Snapshot, to: &Record, because: &str) {
        let before = snapshot.record.as_ref();
        let planned = before.is_some_and(|record| snapshot.planned(record).is_some());
        let (type_, reason, note) = match to.phase {
            Phase::Freezing if to.epoch == 1 => (EventType::Normal, "Bootstrapping", because.to_owned()),
            Phase::Freezing => {
                self.ongoing = Some(Ongoing {
                    at: Timestamp::now(),
                    since: Instant::now(),
                    cause: because.to_owned(),
                    from: to.primary.clone(),
                    planned,
                });
                let (type_, reason) = if planned {
                    (EventType::Normal, "SwitchoverStarted")
                } else {
                    (EventType::Warning, "FailoverStarted")
                };
                (type_, reason, format!("epoch {}: {because}", to.epoch))
            }
            Phase::Promoting if before.is_some_and(|before| before.given_up.len() < to.given_up.len()) => {
                (EventType::Warning, "DataLossAccepted", status::loss(to, because))
            }
            Phase::Promoting if before.is_some_and(|before| before.phase == Phase::Promoting) => {
                (EventType::Normal, "MembersChanged", because.to_owned())
            }
            Phase::Promoting => (EventType::Normal, "PrimaryChosen", because.to_owned()),
            Phase::Serving if before.is_some_and(|before| before.phase == Phase::Serving) => {
                (EventType::Normal, "MembersChanged", because.to_owned())
            }
            Phase::Serving => {
                let note = self.completed(to, because);
                (EventType::Normal, "PrimaryOpen", note)
            }
        };
        if reason == "PrimaryChosen" || reason == "PrimaryOpen" {
            self.context.journal.became(&self.key, note.clone(), reason == "PrimaryOpen");
        }
        self.event(object, type_, reason, &format!("Epoch{}Generation{}", to.epoch, to.generation), note).await;
    }

    fn completed(&mut self, to: &Record, because: &str) -> String {
        let Some(ongoing) = self.ongoing.take() else { return because.to_owned() };
        let took = ongoing.since.elapsed();
        self.context.metrics.moved(ongoing.planned, took);
        self.last_failover = Some(FailoverStatus {
            at: Time(ongoing.at),
            cause: ongoing.cause,
            from: ongoing.from.clone(),
            to: to.primary.clone(),
            epoch: i64::try_from(to.epoch).unwrap_or(i64::MAX),
            milliseconds: i64::try_from(took.as_millis()).ok(),
        });
        format!(
            "{} leads since epoch {}; {} ms after {} was given up",
            to.primary,
            to.epoch,
            took.as_millis(),
            ongoing.from
        )
    }

    /// Tells about a pod that is replaced on purpose.
    pub async fn restarting(&mut self, object: &MysqlCluster, upkeep: &Upkeep, member: &str, uid: &str, because: &str) {
        if self.restarted.as_deref() == Some(uid) {
            return;
        }
        self.restarted = Some(uid.to_owned());
        self.context.metrics.restarted();
        tracing::info!(cluster = %self.key, member, uid, because, "restarting a member");
        let others = upkeep.due.iter().map(|due| due.member.as_str()).filter(|due| *due != member);
        let others: Vec<_> = others.collect();
        let then = if others.is_empty() { String::new() } else { format!("; after it: {}", others.join(", ")) };
        let note = format!("the pod of {member} is replaced: {because}{then}");
        self.event(object, EventType::Normal, "MemberRestarting", &format!("Pod{uid}"), note).await;
    }

    /// Events of the same reason and action are counted as one, with the words of the first: an action names
    /// the occasion, so that another occasion is another Event.
    async fn event(&self, object: &MysqlCluster, type_: EventType, reason: &str, action: &str, note: String) {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            // The API server refuses longer notes.
            note: Some(note.chars().take(1000).collect()),
            action: action.to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, &object.object_ref(&())).await {
            tracing::debug!(cluster = %self.key, %error, "an Event was not written");
        }
    }

    /// Writes the status if it says something new.
    pub async fn publish(
        &mut self,
        object: &MysqlCluster,
        snapshot: &Snapshot,
        assessment: &Assessment,
        board: &Board,
    ) {
        if self.published.is_none()
            && let Some(status) = &object.status
        {
            // What an earlier operator reported is history, and goes on being reported.
            self.last_failover = self.last_failover.take().or_else(|| status.last_failover.clone());
            let answer =
                status.policies.as_ref().and_then(|policies| policies.primary_selection.as_ref()?.last_answer.clone());
            self.last_answer = self.last_answer.take().or(answer);
        }
        let before = self.published.as_ref().or(object.status.as_ref());
        let mut status = self.status(snapshot, assessment, board, before.map_or(&[], |status| &status.conditions));
        self.tell(object, snapshot, assessment).await;
        self.tell_trimmed(object, snapshot).await;
        self.tell_breaker(object, &status).await;
        self.context.metrics.cluster(&self.key, snapshot, &status);
        if self.was_overwritten(object) {
            self.published = None;
        }
        if let Some(published) = &self.published {
            if *published == status {
                return;
            }
            if status::without_lag(published) == status::without_lag(&status) && self.published_at.elapsed() < LAG_EVERY
            {
                return;
            }
        }
        status.observed_generation = None;
        let patch = serde_json::json!({
            "apiVersion": MysqlCluster::api_version(&()), "kind": MysqlCluster::kind(&()),
            "metadata": { "name": self.key.name }, "status": status,
        });
        match self.api.patch_status(&self.key.name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&patch)).await {
            Ok(_) => {
                self.published = Some(status);
                self.published_at = Instant::now();
            }
            Err(error) => tracing::warn!(cluster = %self.key, %error, "the status was not written"),
        }
    }

    /// Whether somebody emptied the status that was published, or an operator that had slept wrote what it saw before. The
    /// watch shows what was written a moment late.
    fn was_overwritten(&self, object: &MysqlCluster) -> bool {
        self.published_at.elapsed() >= WATCH_LAG
            && self.published.as_ref().is_some_and(|published| !status::shows(object.status.as_ref(), published))
    }

    /// An Event for what a person has to know, once for each different thing that lasts.
    async fn tell(&mut self, object: &MysqlCluster, snapshot: &Snapshot, assessment: &Assessment) {
        let urgent = assessment.waiting.iter().find_map(|waiting| match waiting {
            Waiting::Quorum(_) => Some(("NoQuorum", waiting.to_string())),
            Waiting::Errant { .. } => Some(("ErrantTransactions", waiting.to_string())),
            Waiting::GivenUp { .. } => Some(("GivenUpTransactions", waiting.to_string())),
            Waiting::Adoption { found: None, .. } => Some(("RecordMissing", waiting.to_string())),
            Waiting::Adoption { found: Some(_), .. } => Some(("RecordStale", waiting.to_string())),
            Waiting::Foreign { .. } => Some(("ForeignData", waiting.to_string())),
            Waiting::Version { .. } => Some(("AgentVersion", waiting.to_string())),
            Waiting::Unfit { held_back: None, .. } => Some((COPIED_ANEW, waiting.to_string())),
            Waiting::Unfit { held_back: Some(_), .. } => Some(("ReplicaUnfit", waiting.to_string())),
            Waiting::Replaced { .. } => Some((REPLACED, waiting.to_string())),
            _ => None,
        });
        let policies = self.policies();
        let urgent = urgent.or_else(|| policies.problem().map(|problem| ("PolicyRefused", problem.to_owned())));
        let urgent = urgent.or_else(|| policies.failed().map(|failed| ("PolicyFailed", failed.to_owned())));
        if urgent.as_ref().map(|(_, note)| note) != self.pending.as_ref().map(|(note, _)| note) {
            self.pending = urgent.as_ref().map(|(_, note)| (note.clone(), Instant::now()));
        }
        // A copy begins at once, and then the reason for it is gone.
        let at_once = urgent.as_ref().is_some_and(|(reason, _)| [REPLACED, COPIED_ANEW].contains(reason));
        let lasts = at_once || self.pending.as_ref().is_some_and(|(_, since)| since.elapsed() >= WORTH_TELLING);
        let Some((reason, note)) = urgent.filter(|(_, note)| lasts && self.told.as_ref() != Some(note)) else { return };
        let epoch = snapshot.record.as_ref().map_or(0, |record| record.epoch);
        let occasion = note.bytes().fold(0_u16, |sum, byte| sum.wrapping_mul(31).wrapping_add(u16::from(byte)));
        self.event(object, EventType::Warning, reason, &format!("Epoch{epoch}Occasion{occasion}"), note.clone()).await;
        self.told = Some(note);
    }

    /// An Event for every tail that is cut off while this operator looks.
    async fn tell_trimmed(&mut self, object: &MysqlCluster, snapshot: &Snapshot) {
        let reports = snapshot.members.iter().filter_map(MemberView::report);
        let mut news = Vec::new();
        for report in reports {
            let before = self.trimmed.insert(report.member.clone(), report.trimmed.clone());
            let trimmed = report.trimmed.as_ref().filter(|_| before.is_some_and(|before| before != report.trimmed));
            news.extend(trimmed.map(|trimmed| (report.member.clone(), trimmed.clone())));
        }
        for (member, Trimmed { epoch, transactions, saved_as }) in news {
            let note = format!(
                "{member} is back without {} that nobody acknowledged ({transactions}); they are kept in {saved_as}",
                counted(transactions.count())
            );
            self.event(object, EventType::Normal, "TailTrimmed", &format!("Epoch{epoch}Of{member}"), note).await;
        }
    }

    /// What is in force, whatever it decides.
    fn policies(&self) -> PoliciesStatus {
        let policy = self.context.policies.in_force(&self.key);
        let policy = policy.map(|policy| PolicyStatus { last_answer: self.last_answer.clone(), ..policy });
        self.context.policies.advisors().status(&self.key, policy)
    }

    fn status(
        &self,
        snapshot: &Snapshot,
        assessment: &Assessment,
        board: &Board,
        before: &[Condition],
    ) -> MysqlClusterStatus {
        let open = open_primary(snapshot);
        let members: Vec<_> =
            snapshot.members.iter().map(|member| status::member_status(snapshot, assessment, board, member)).collect();
        // Whoever is to go is listed for as long as it votes, and counted no more.
        let wanted = members.iter().filter(|member| !snapshot.is_surplus(&member.name));
        let ready = wanted.filter(|member| member.ready).count();
        let desired = snapshot.desired.replicas;
        let policies = self.policies();
        let conditions = status::conditions(snapshot, assessment, ready, &policies, before);
        MysqlClusterStatus {
            conditions,
            ready: format!("{ready}/{desired}"),
            ready_members: i32::try_from(ready).ok(),
            replicas: i32::try_from(desired).ok(),
            primary: open.unwrap_or(objects::api::NONE).to_owned(),
            epoch: snapshot.record.as_ref().and_then(|record| i64::try_from(record.epoch).ok()),
            policies: Some(policies),
            members,
            read_replicas: Some(readers::status(snapshot, &self.key, assessment, board)),
            last_failover: self.last_failover.clone(),
            ..MysqlClusterStatus::default()
        }
    }
}

fn counted(transactions: u64) -> String {
    if transactions == 1 { "1 transaction".to_owned() } else { format!("{transactions} transactions") }
}
