//! What Prometheus is told. Metrics count what happened; nothing may depend on them.

mod policies;

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use engine::Verdict;
use objects::api::MysqlClusterStatus;
use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use topology::snapshot::Snapshot;

use self::policies::PolicyMetrics;
use crate::cache::ClusterKey;
use crate::roles::Choice;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByCluster {
    namespace: String,
    cluster: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByKind {
    kind: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByPolicy {
    policy: String,
    verdict: String,
}

/// Every metric of the operator.
pub struct Metrics {
    registry: Mutex<Registry>,
    leader: Gauge,
    ready: Family<ByCluster, Gauge>,
    readers: Family<ByCluster, Gauge>,
    epoch: Family<ByCluster, Gauge<i64>>,
    primary: Family<ByCluster, Gauge>,
    moves: Family<ByKind, Counter>,
    gap: Family<ByKind, Histogram>,
    decisions: Family<ByPolicy, Counter>,
    decision_seconds: Histogram,
    recovery_point: Family<ByCluster, Gauge>,
    drill: Family<ByCluster, Gauge>,
    drill_success: Family<ByCluster, Gauge>,
    failures: Counter<u64, AtomicU64>,
    restarts: Counter<u64, AtomicU64>,
    /// Of shadows and of the journal.
    pub(crate) policies: PolicyMetrics,
}

impl Metrics {
    /// Every metric at zero.
    pub fn zero() -> Self {
        let metrics = Self {
            registry: Mutex::default(),
            leader: Gauge::default(),
            ready: Family::default(),
            readers: Family::default(),
            epoch: Family::default(),
            primary: Family::default(),
            moves: Family::default(),
            gap: Family::new_with_constructor(|| {
                Histogram::new([0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0, 10.0, 60.0])
            }),
            decisions: Family::default(),
            decision_seconds: Histogram::new([5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 1e-3, 1e-2, 1e-1]),
            recovery_point: Family::default(),
            drill: Family::default(),
            drill_success: Family::default(),
            failures: Counter::default(),
            restarts: Counter::default(),
            policies: PolicyMetrics::default(),
        };
        {
            let mut registry = metrics.lock();
            let registry = registry.sub_registry_with_prefix("grampus");
            registry.register("leader", "Whether this operator acts", metrics.leader.clone());
            registry.register("cluster_ready_members", "Members in good standing", metrics.ready.clone());
            registry.register("cluster_ready_read_replicas", "Read replicas that replicate", metrics.readers.clone());
            registry.register("cluster_epoch", "The epoch of the record", metrics.epoch.clone());
            registry.register("cluster_primary_available", "Whether a primary takes writes", metrics.primary.clone());
            registry.register("primary_moves", "Failovers and switchovers completed", metrics.moves.clone());
            registry.register_with_unit(
                "primary_move_duration",
                "From the claim to a recorded, open primary",
                Unit::Seconds,
                metrics.gap.clone(),
            );
            registry.register(
                "policy_decisions",
                "Answers of policies and what the guard made of them",
                metrics.decisions.clone(),
            );
            registry.register_with_unit(
                "policy_decision_duration",
                "How long an answer took",
                Unit::Seconds,
                metrics.decision_seconds.clone(),
            );
            registry.register("policy_failures", "Answers that a module failed to give", metrics.failures.clone());
            registry.register_with_unit(
                "backup_recovery_point",
                "Seconds of commits that may be missing from the archive of the binary log",
                Unit::Seconds,
                metrics.recovery_point.clone(),
            );
            registry.register_with_unit(
                "backup_drill",
                "How long the last recovery took that was proved",
                Unit::Seconds,
                metrics.drill.clone(),
            );
            registry.register_with_unit(
                "backup_drill_last_success_timestamp",
                "When a drill last succeeded, since 1970",
                Unit::Seconds,
                metrics.drill_success.clone(),
            );
            registry.register("member_restarts", "Pods replaced on purpose", metrics.restarts.clone());
            metrics.policies.register(registry);
        }
        metrics
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything, in the OpenMetrics text format.
    pub fn text(&self, leads: bool) -> String {
        self.leader.set(i64::from(leads));
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.lock());
        text
    }

    pub(crate) fn cluster(&self, key: &ClusterKey, snapshot: &Snapshot, status: &MysqlClusterStatus) {
        let labels = ByCluster { namespace: key.namespace.clone(), cluster: key.name.clone() };
        self.ready.get_or_create(&labels).set(i64::from(status.ready_members.unwrap_or(0)));
        let readers = status.read_replicas.as_ref().map_or(0, |readers| readers.ready);
        self.readers.get_or_create(&labels).set(i64::from(readers));
        self.primary.get_or_create(&labels).set(i64::from(status.primary_name().is_some()));
        let epoch = snapshot.record.as_ref().map_or(0, |record| record.epoch);
        self.epoch.get_or_create(&labels).set(i64::try_from(epoch).unwrap_or(i64::MAX));
    }

    pub(crate) fn moved(&self, planned: bool, took: Duration) {
        let labels = ByKind { kind: if planned { "switchover" } else { "failover" }.to_owned() };
        self.moves.get_or_create(&labels).inc();
        self.gap.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// How far the archive of a cluster's binary log is behind, in seconds; None where nobody archives it.
    pub(crate) fn recovery_point(&self, key: &ClusterKey, seconds: Option<u64>) {
        let labels = ByCluster { namespace: key.namespace.clone(), cluster: key.name.clone() };
        match seconds {
            Some(seconds) => {
                self.recovery_point.get_or_create(&labels).set(i64::try_from(seconds).unwrap_or(i64::MAX));
            }
            None => drop(self.recovery_point.remove(&labels)),
        }
    }

    /// How many seconds the last recovery of a drill took that succeeded, and when that was, in seconds since 1970; nothing
    /// of a cluster without drills.
    pub(crate) fn drill(&self, key: &ClusterKey, figures: Option<(Option<i64>, Option<i64>)>) {
        let labels = ByCluster { namespace: key.namespace.clone(), cluster: key.name.clone() };
        let (seconds, at) = figures.unwrap_or_default();
        for (family, value) in [(&self.drill, seconds), (&self.drill_success, at)] {
            match value {
                Some(value) => drop(family.get_or_create(&labels).set(value)),
                None => drop(family.remove(&labels)),
            }
        }
    }

    pub(crate) fn restarted(&self) {
        self.restarts.inc();
    }

    /// A policy was asked beside who leads.
    pub(crate) fn advice(&self, by: &str, verdict: Option<&Verdict>, took_micros: u64, failures: usize) {
        let verdict = match verdict {
            None => "kept",
            Some(Verdict::Approved(_)) => "approved",
            Some(Verdict::Refused(_)) => "refused",
        };
        self.decisions.get_or_create(&ByPolicy { policy: by.to_owned(), verdict: verdict.to_owned() }).inc();
        self.decision_seconds.observe(took_micros as f64 / 1e6);
        self.failures.inc_by(failures as u64);
    }

    pub(crate) fn decision(&self, choice: &Choice) {
        let verdict = if choice.refusal().is_some() { "refused" } else { "approved" };
        self.decisions.get_or_create(&ByPolicy { policy: choice.by.clone(), verdict: verdict.to_owned() }).inc();
        self.decision_seconds.observe(choice.took_micros as f64 / 1e6);
        self.failures.inc_by(choice.failures.len() as u64);
    }
}
