//! What Prometheus is told about shadows, breakers and the journal.

use std::sync::atomic::AtomicU64;

use engine::{Attempt, Change, Said, disagrees};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use topology::decision::Answer;

use crate::cache::ClusterKey;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByChange {
    namespace: String,
    cluster: String,
    to: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByShadow {
    namespace: String,
    cluster: String,
    policy: String,
}

/// Counters of shadows, of breakers and of the journal.
#[derive(Default)]
pub(crate) struct PolicyMetrics {
    asked: Family<ByShadow, Counter>,
    disagreements: Family<ByShadow, Counter>,
    failed: Family<ByShadow, Counter>,
    skipped: Counter<u64, AtomicU64>,
    journal_failures: Counter<u64, AtomicU64>,
    journal_lost: Counter<u64, AtomicU64>,
    breaker: Family<ByChange, Counter>,
}

impl PolicyMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("policy_shadow_decisions", "Questions that a shadow was asked", self.asked.clone());
        registry.register(
            "policy_shadow_disagreements",
            "Answers of a shadow that name another member than the decision",
            self.disagreements.clone(),
        );
        registry.register("policy_shadow_failures", "Answers that a shadow failed to give", self.failed.clone());
        registry.register(
            "policy_shadow_skipped",
            "Decisions that shadows were not asked about, because too many waited",
            self.skipped.clone(),
        );
        registry.register(
            "policy_journal_failures",
            "Writes of a journal that failed and are tried again",
            self.journal_failures.clone(),
        );
        registry.register(
            "policy_journal_lost",
            "Decisions that are not in the journal: it could not be written for long, or they are too large",
            self.journal_lost.clone(),
        );
        registry.register(
            "policy_breaker_changes",
            "Modules that were given up on after failing too often (to open), and taken back (to closed)",
            self.breaker.clone(),
        );
    }

    /// A breaker opened or closed.
    pub(crate) fn breaker(&self, key: &ClusterKey, change: Change) {
        let to = match change {
            Change::Opened => "open",
            Change::Closed => "closed",
        };
        let (namespace, cluster) = (key.namespace.clone(), key.name.clone());
        self.breaker.get_or_create(&ByChange { namespace, cluster, to: to.to_owned() }).inc();
    }

    /// A shadow was asked what was decided so.
    pub(crate) fn shadow(&self, key: &ClusterKey, attempt: &Attempt, answer: &Answer) {
        let policy = format!("{} {}", attempt.by.name, attempt.by.version);
        let labels = ByShadow { namespace: key.namespace.clone(), cluster: key.name.clone(), policy };
        self.asked.get_or_create(&labels).inc();
        // A counter that is there at zero lets an alert see the first disagreement.
        self.disagreements.get_or_create(&labels).inc_by(u64::from(disagrees(attempt, answer)));
        self.failed.get_or_create(&labels).inc_by(u64::from(matches!(attempt.said, Said::Failed(_))));
    }

    pub(crate) fn shadow_skipped(&self) {
        self.skipped.inc();
    }

    pub(crate) fn journal_failed(&self, lost: usize) {
        self.journal_failures.inc();
        self.journal_lost(lost);
    }

    pub(crate) fn journal_lost(&self, decisions: usize) {
        self.journal_lost.inc_by(decisions as u64);
    }
}

#[cfg(test)]
mod tests {
    use engine::{DecidedBy, Failure, FailureKind, Source};

    use super::*;

    fn promote(candidate: &str) -> Answer {
        Answer::Promote { candidate: candidate.to_owned(), reason: "because".to_owned(), ranking: Vec::new() }
    }

    fn said(said: Said) -> Attempt {
        let by = DecidedBy {
            name: "zones".to_owned(),
            version: "1".to_owned(),
            digest: "sha256:01".to_owned(),
            source: Source::Shadow,
        };
        Attempt {
            by,
            abi: String::new(),
            settings: "{}".to_owned(),
            said,
            passed_over: None,
            fuel: 1,
            took_micros: 1,
            logs: Vec::new(),
        }
    }

    #[test]
    fn a_shadow_that_names_another_member_is_counted_and_one_that_fails_is_counted_apart() {
        let (metrics, mut registry) = (PolicyMetrics::default(), Registry::with_prefix("grampus"));
        metrics.register(&mut registry);
        let key = ClusterKey { namespace: "store".to_owned(), name: "shop".to_owned() };
        let failure = Failure { kind: FailureKind::Trap, message: "it crashed".to_owned() };
        for answer in [Said::Answered(promote("shop-1")), Said::Answered(promote("shop-2")), Said::Failed(failure)] {
            metrics.shadow(&key, &said(answer), &promote("shop-2"));
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let labels = r#"{namespace="store",cluster="shop",policy="zones 1"}"#;
        for line in ["decisions_total{} 3", "disagreements_total{} 1", "failures_total{} 1"] {
            let line = format!("grampus_policy_shadow_{}\n", line.replace("{}", labels));
            assert!(text.contains(&line), "{line} is not in {text}");
        }
    }
}
