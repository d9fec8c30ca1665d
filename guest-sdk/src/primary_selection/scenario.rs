//! Writing down a situation in a test as briefly as one would say it.
//!
//! ```
//! use grampus_policy::primary_selection::scenario::{failover, member};
//!
//! let question = failover([member("shop-0").unreachable(), member("shop-1").lacks(3), member("shop-2").zone("b")]);
//! assert_eq!(question.choices().count(), 2);
//! ```
//!
//! This is for tests only and must never be needed to decide.

use super::{Activity, Answer, Candidate, Capacity, CatchUp, Ineligible, NodePressure, Question, Trigger};

/// A failover among these members. The first one led before.
pub fn failover(members: impl IntoIterator<Item = Candidate>) -> Question {
    let mut candidates: Vec<_> = members.into_iter().collect();
    let former_primary = candidates.first().map(|first| first.name.clone());
    candidates.sort_by(|a, b| a.name.cmp(&b.name));
    Question {
        namespace: "default".into(),
        cluster: "shop".into(),
        epoch: 2,
        trigger: Trigger::Failover,
        now_unix_ms: 1_700_000_000_000,
        seed: 42,
        without_primary_ms: 800,
        former_primary,
        acks: u32::try_from(candidates.len().saturating_sub(1) / 2).unwrap_or(u32::MAX).max(1),
        failover_window_s: None,
        failovers_in_window: None,
        candidates,
        facts: Vec::new(),
    }
}

/// A switchover among these members. The first one leads now.
pub fn switchover(members: impl IntoIterator<Item = Candidate>) -> Question {
    Question { trigger: Trigger::Switchover, without_primary_ms: 0, ..failover(members) }
}

/// A healthy member with every transaction, in zone `a`, on a node of its own.
pub fn member(name: &str) -> Candidate {
    let ordinal = name.rsplit('-').next().and_then(|end| end.parse().ok()).unwrap_or(0);
    Candidate {
        name: name.into(),
        ordinal,
        zone: "a".into(),
        node: format!("node-{ordinal}"),
        labels: Vec::new(),
        ineligible: Vec::new(),
        missing_transactions: 0,
        unapplied_transactions: 0,
        node_ready: true,
        node_cordoned: false,
        node_pressure: NodePressure { memory: None, disk: None, pid: None },
        version: "8.4.6".into(),
        catch_up: CatchUp {
            missing_bytes: None,
            unapplied_bytes: None,
            received_transactions_per_second: None,
            applied_transactions_per_second: None,
            predicted_drain_ms: None,
            replication_lag_s: None,
        },
        capacity: Capacity {
            cpu_limit_millicores: None,
            memory_limit_bytes: None,
            cpu_to_primary_permille: None,
            memory_to_primary_permille: None,
            buffer_pool_bytes: None,
            buffer_pool_warm_permille: None,
            volume_bytes: None,
            volume_free_bytes: None,
            storage_class: None,
        },
        activity: Activity {
            ackers_afterwards: None,
            copying: None,
            backing_up: None,
            since_led_s: None,
            failovers_in_window: None,
        },
        facts: Vec::new(),
    }
}

impl Candidate {
    /// The same, in another zone.
    pub fn zone(mut self, zone: &str) -> Self {
        self.zone = zone.into();
        self
    }

    /// The same, with one more label on its pod.
    pub fn labelled(mut self, key: &str, value: &str) -> Self {
        self.labels.push((key.into(), value.into()));
        self.labels.sort();
        self
    }

    /// The same, lacking transactions.
    pub fn lacks(mut self, transactions: u64) -> Self {
        self.missing_transactions = transactions;
        self
    }

    /// The same, with transactions left to apply.
    pub fn has_to_apply(mut self, transactions: u64) -> Self {
        self.unapplied_transactions = transactions;
        self
    }

    /// The same, on a node that is not Ready.
    pub fn on_unready_node(mut self) -> Self {
        self.node_ready = false;
        self
    }

    /// The same, on a cordoned node.
    pub fn on_cordoned_node(mut self) -> Self {
        self.node_cordoned = true;
        self
    }

    /// The same, with something else known of it, as in `member("shop-1").known(|it| it.capacity.volume_bytes = Some(9))`.
    pub fn known(mut self, change: impl Fn(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// The same, but nobody can reach it.
    pub fn unreachable(self) -> Self {
        self.ineligible("unreachable", "its agent does not answer")
    }

    /// The same, but it cannot be chosen.
    pub fn ineligible(mut self, code: &str, message: &str) -> Self {
        self.ineligible.push(Ineligible { code: code.into(), message: message.into() });
        self
    }
}

impl Answer {
    /// Who was chosen; `None` for a hold.
    pub fn chosen(&self) -> Option<&str> {
        match self {
            Answer::Promote(promotion) => Some(&promotion.candidate),
            Answer::Hold(_) => None,
        }
    }

    /// The reason given.
    pub fn reason(&self) -> &str {
        match self {
            Answer::Promote(promotion) => &promotion.reason,
            Answer::Hold(hold) => &hold.reason,
        }
    }
}
