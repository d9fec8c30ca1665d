//! Asks a cluster's policy whether the backup that is due may begin, and has it wait for as long as it may.
//!
//! It must never keep a backup from being made: a policy that is not there, cannot be asked or fails lets it begin, and so
//! does time. What a policy said is forgotten with this operator; the next one asks again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use backup::choose::Part;
use engine::Entry;
use futures::FutureExt as _;
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use kube::runtime::events::EventType;
use kube::runtime::reflector::{ObjectRef, Store};
use objects::api::{BackupPhase, BackupWindowPolicy, MysqlBackup, MysqlCluster, PolicyMode};
use objects::duration;
use objects::schedule::Schedule;
use objects::validate::backup_schedule;
use tokio::time::Instant;
use topology::advice::lately;
use topology::backup_window::{Answer, LastBackup, LocalTime, Question, Server, Verdict, guard};
use topology::facts::ServerState;
use topology::scaling::Role;

use super::observe::{connect, part, within};
use super::tell::event;
use crate::Context;
use crate::cache::ClusterKey;
use crate::journal::Advice;
use crate::policies::{Consulted, Seats, Told, consult};

/// How often a policy is asked about one backup: servers are measured over a minute.
const EVERY: Duration = Duration::from_secs(60);

/// How long a backup may wait where the spec does not say: most of a night.
const MOST: SignedDuration = SignedDuration::from_hours(6);

/// How long before the next backup is due one has to begin at the latest: only the last that was due is ever made, and
/// schedules are looked at several times in that time.
const BEFORE_THE_NEXT: SignedDuration = SignedDuration::from_secs(60);

/// What this operator asked about backups that are due.
pub struct Windows {
    waiting: HashMap<ClusterKey, Waiting>,
    made: Store<MysqlBackup>,
}

/// One backup that is due.
struct Waiting {
    due: Timestamp,
    /// How often the module had been brought into force when it was asked.
    swaps: u64,
    next: Instant,
    announced: bool,
    told: Told<Question>,
}

impl Consulted for Question {
    fn seats(context: &Context) -> &Seats<Self> {
        context.policies.advisors().backup_window()
    }

    fn judged(&self, answer: &Answer) -> (Vec<String>, Vec<String>) {
        match guard(self, answer) {
            verdict @ (Verdict::Begins | Verdict::Waits) => (vec![verdict.to_string()], Vec::new()),
            verdict @ Verdict::BeginsAnyway => (Vec::new(), vec![verdict.to_string()]),
        }
    }

    fn advice(entry: Entry<Self>) -> Advice {
        Advice::BackupWindow(Box::new(entry))
    }
}

impl Windows {
    /// Nothing was asked yet. `made` are the backups that there are.
    pub fn new(made: Store<MysqlBackup>) -> Self {
        Self { waiting: HashMap::new(), made }
    }

    /// Whether the backup that was due then may begin now.
    pub async fn is_open(&mut self, context: &Context, cluster: &MysqlCluster, due: Timestamp, now: Timestamp) -> bool {
        let key = ClusterKey { namespace: cluster.namespace().unwrap_or_default(), name: cluster.name_any() };
        let schedule = cluster.spec.backup.as_ref().and_then(backup_schedule).and_then(Result::ok);
        let seats = context.policies.advisors().backup_window();
        let Some(schedule) = schedule.filter(|_| seats.has(&key)) else {
            self.waiting.remove(&key);
            return true;
        };
        let policy = cluster.spec.policies.as_ref().and_then(|policies| policies.backup_window.as_ref());
        let (latest, swaps) = (latest(&schedule, policy, due), seats.swaps(&key));
        let known = self.waiting.remove(&key).filter(|known| known.due == due);
        let mut waiting = known.unwrap_or_else(|| Waiting {
            due,
            swaps,
            next: Instant::now(),
            announced: false,
            told: Told::default(),
        });
        if waiting.swaps == swaps && now < latest && Instant::now() < waiting.next {
            self.waiting.insert(key, waiting);
            return false;
        }
        let question = Question {
            servers: servers(context, &key).await,
            last: last(&self.made.state(), cluster),
            ..question(&key, &schedule, (due, latest), now)
        };
        let Some(Entry { question, answer, .. }) = consult(context, &key, question, &waiting.told).await else {
            return true;
        };
        let is_followed = policy.and_then(|policy| policy.mode) != Some(PolicyMode::Shadow);
        let waits = is_followed && guard(&question, &answer) == Verdict::Waits;
        if waits {
            if !std::mem::replace(&mut waiting.announced, true) {
                let note = format!(
                    "the backup that was due at {due} waits, until {latest} at the latest: {}",
                    answer.reason()
                );
                event(context, cluster, EventType::Normal, "BackupPostponed", "Backup", note).await;
            }
            (waiting.swaps, waiting.next) = (swaps, Instant::now() + EVERY);
        }
        self.waiting.insert(key, waiting);
        !waits
    }
}

/// When a backup that was due begins whatever is said: before the next one is due.
fn latest(schedule: &Schedule, policy: Option<&BackupWindowPolicy>, due: Timestamp) -> Timestamp {
    let said = policy.and_then(|policy| policy.max_postpone.as_deref()).and_then(duration::parse);
    let most = said.and_then(|said| SignedDuration::try_from(said).ok()).unwrap_or(MOST);
    let latest = due.checked_add(most).unwrap_or(due);
    let next = schedule.next(due).and_then(|next| next.checked_sub(BEFORE_THE_NEXT).ok());
    next.map_or(latest, |next| latest.min(next.max(due)))
}

/// What is asked, as far as nobody else has to be looked at for it.
fn question(key: &ClusterKey, schedule: &Schedule, (due, latest): (Timestamp, Timestamp), now: Timestamp) -> Question {
    let unix_ms = |moment: Timestamp| u64::try_from(moment.as_millisecond()).unwrap_or(0);
    let wall = schedule.on_the_wall(now);
    let number = |number: i16| u32::try_from(number).unwrap_or(0);
    Question {
        namespace: key.namespace.clone(),
        cluster: key.name.clone(),
        now_unix_ms: unix_ms(now),
        seed: unix_ms(due),
        local: LocalTime {
            year: number(wall.year()),
            month: number(wall.month().into()),
            day: number(wall.day().into()),
            weekday: number(wall.weekday().to_monday_one_offset().into()),
            minute_of_day: number(i16::from(wall.hour()) * 60 + i16::from(wall.minute())),
        },
        due_unix_ms: unix_ms(due),
        latest_unix_ms: unix_ms(latest),
        last: None,
        servers: Vec::new(),
        facts: Vec::new(),
    }
}

/// The newest backup of a cluster that succeeded.
fn last(made: &[Arc<MysqlBackup>], cluster: &MysqlCluster) -> Option<LastBackup> {
    let ours = made.iter().filter(|backup| {
        backup.spec.cluster == cluster.name_any()
            && backup.namespace() == cluster.namespace()
            && backup.creation_timestamp() >= cluster.creation_timestamp()
    });
    let succeeded = ours.filter_map(|backup| {
        let status = backup.status.as_ref().filter(|status| status.phase == Some(BackupPhase::Succeeded))?;
        let (began, ended) = (status.started_at.as_ref()?.0, status.finished_at.as_ref()?.0);
        Some(LastBackup {
            ended_unix_ms: u64::try_from(ended.as_millisecond()).ok()?,
            took_s: u64::try_from(ended.duration_since(began).as_secs()).unwrap_or(0),
            bytes: u64::try_from(status.bytes?).ok()?,
        })
    });
    succeeded.max_by_key(|backup| backup.ended_unix_ms)
}

/// What can be learnt of a cluster's servers now. Who does not answer is left out.
async fn servers(context: &Context, key: &ClusterKey) -> Vec<Server> {
    let record = context.cache.topologies.get(&ObjectRef::new(&key.name).within(&key.namespace));
    let tls = crate::tls::client_config(&context.client, key).await.ok().flatten();
    let (Some(record), Some(tls)) = (record, tls) else { return Vec::new() };
    let pods = context.cache.pods.state();
    let looks = pods.iter().filter_map(|pod| part(key, &record.spec.record, pod)).map(|(part, name, address)| {
        let tls = tls.clone();
        async move {
            let connection = connect(key, tls, &name, address?).await.ok()?;
            let heartbeat = within(connection.report()).await.ok()?;
            let lag_s = heartbeat.report.as_ref().and_then(|report| match &report.server {
                ServerState::Running(facts) => facts.replication.as_ref()?.lag_s,
                _ => None,
            });
            let role = match part {
                Part::Primary => Role::Primary,
                Part::Replica => Role::Replica,
                Part::Reader => Role::ReadReplica,
            };
            Some(Server { name, role, load: lately(heartbeat.signals.as_deref(), lag_s) })
        }
        .boxed()
    });
    let mut servers: Vec<_> = join_all(looks.collect::<Vec<_>>()).await.into_iter().flatten().collect();
    servers.sort_by(|one, other| one.name.cmp(&other.name));
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn policy(most: Option<&str>) -> BackupWindowPolicy {
        let module = serde_json::json!({ "configMap": { "name": "quiet" } });
        serde_json::from_value(serde_json::json!({ "module": module, "maxPostpone": most })).unwrap()
    }

    #[test]
    fn a_backup_waits_for_as_long_as_it_may_and_never_until_the_next_one() {
        let nightly = Schedule::parse("0 2 * * *", "UTC").unwrap();
        let due = at("2026-11-28T02:00:00Z");
        assert_eq!(latest(&nightly, None, due), at("2026-11-28T08:00:00Z"));
        assert_eq!(latest(&nightly, Some(&policy(Some("90m"))), due), at("2026-11-28T03:30:00Z"));
        assert_eq!(latest(&nightly, Some(&policy(Some("48h"))), due), at("2026-11-29T01:59:00Z"));
        assert_eq!(latest(&nightly, Some(&policy(Some("soon"))), due), at("2026-11-28T08:00:00Z"));
        let hourly = Schedule::parse("30 * * * *", "UTC").unwrap();
        assert_eq!(latest(&hourly, None, at("2026-11-28T02:30:00Z")), at("2026-11-28T03:29:00Z"));
        let always = Schedule::parse("* * * * *", "UTC").unwrap();
        assert_eq!(latest(&always, None, due), due, "there is no time to wait");
    }

    #[test]
    fn a_policy_is_told_what_clocks_show_where_the_schedule_is() {
        let key = ClusterKey { namespace: "store".to_owned(), name: "shop".to_owned() };
        let shanghai = Schedule::parse("0 2 * * *", "Asia/Shanghai").unwrap();
        let due = at("2026-11-28T18:00:00Z");
        let asked = question(&key, &shanghai, (due, due), at("2026-11-28T18:07:30Z"));
        assert_eq!(asked.local, LocalTime { year: 2026, month: 11, day: 29, weekday: 7, minute_of_day: 127 });
        assert_eq!((asked.due_unix_ms, asked.seed), (1_795_888_800_000, 1_795_888_800_000));
    }

    #[test]
    fn the_last_backup_is_the_newest_of_this_cluster_that_succeeded() {
        let cluster: MysqlCluster = serde_json::from_value(serde_json::json!({
            "apiVersion": "grampus.dev/v1alpha1", "kind": "MysqlCluster",
            "metadata": { "name": "shop", "namespace": "store", "creationTimestamp": "2026-11-20T00:00:00Z" },
            "spec": { "storage": { "size": "1Gi" } },
        }))
        .unwrap();
        let made = |of: &str, created: &str, phase: &str, ended: &str| {
            let object = serde_json::json!({
                "apiVersion": "grampus.dev/v1alpha1", "kind": "MysqlBackup",
                "metadata": { "name": "b", "namespace": "store", "creationTimestamp": created },
                "spec": { "cluster": of },
                "status": { "phase": phase, "startedAt": created, "finishedAt": ended, "bytes": 7 },
            });
            Arc::new(serde_json::from_value::<MysqlBackup>(object).unwrap())
        };
        let all = [
            made("shop", "2026-11-19T02:00:00Z", "Succeeded", "2026-11-26T02:00:00Z"),
            made("shop", "2026-11-21T02:00:00Z", "Succeeded", "2026-11-21T02:05:00Z"),
            made("shop", "2026-11-22T02:00:00Z", "Succeeded", "2026-11-22T02:09:00Z"),
            made("shop", "2026-11-23T02:00:00Z", "Failed", "2026-11-23T02:09:00Z"),
            made("other", "2026-11-24T02:00:00Z", "Succeeded", "2026-11-24T02:09:00Z"),
        ];
        let newest = last(&all, &cluster).unwrap();
        assert_eq!((newest.took_s, newest.bytes), (540, 7));
        assert_eq!(newest.ended_unix_ms, u64::try_from(at("2026-11-22T02:09:00Z").as_millisecond()).unwrap());
        assert_eq!(last(&all[..1], &cluster), None);
    }
}
