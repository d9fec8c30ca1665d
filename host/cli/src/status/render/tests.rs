//! Clusters and how they look.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use objects::api::{
    AnswerStatus, ArchiveStatus, BackupsStatus, FailoverStatus, MemberRole, MemberStatus, MysqlClusterSpec,
    PoliciesStatus, ReadReplicasStatus, RetentionStatus,
};
use topology::record::Member;
use uuid::Uuid;

use super::*;

const PLAIN: Style = Style { colour: false, width: None };
const NOW: i64 = 1_800_000_000;

fn at(seconds_ago: i64) -> Time {
    Time(Timestamp::from_second(NOW - seconds_ago).unwrap())
}

fn record() -> Record {
    let members =
        (0..3).map(|ordinal| Member { name: format!("shop-{ordinal}"), incarnation: Uuid::from_u128(ordinal) });
    Record {
        epoch: 2,
        phase: Phase::Serving,
        primary_since_epoch: 2,
        members: members.collect(),
        acks: 1,
        ..Record::first("shop-1".to_owned())
    }
}

fn member(ordinal: u32, role: MemberRole) -> MemberStatus {
    let follows = (role == MemberRole::Replica).then_some(true);
    MemberStatus {
        name: format!("shop-{ordinal}"),
        role,
        ready: matches!(role, MemberRole::Primary | MemberRole::Replica),
        node: Some(format!("node-{ordinal}")),
        zone: ["a", "b", "c"].get(ordinal as usize).map(|zone| (*zone).to_owned()),
        incarnation: None,
        lag_transactions: follows.map(|_| 0),
        receiving: follows,
        applying: follows,
        holds: None,
        message: None,
    }
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Condition {
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: None,
        last_transition_time: at(60),
    }
}

fn policy() -> PolicyStatus {
    PolicyStatus {
        name: "prefer-zone".to_owned(),
        version: "0.1.0".to_owned(),
        digest: format!("sha256:{}", "0123456789abcdef".repeat(4)),
        source: "ConfigMap prefer-zone key policy.wasm.zst".to_owned(),
        signed_by: None,
        failed: None,
        problem: None,
        breaker: None,
        out_of_use: None,
        last_answer: Some(AnswerStatus {
            at: at(200),
            answer: "promote shop-1".to_owned(),
            reason: Some("is in zone b, preference 1 of 2; has every transaction; 0 left to apply".to_owned()),
            verdict: None,
        }),
        shadows: Vec::new(),
    }
}

fn healthy() -> MysqlCluster {
    let mut cluster = MysqlCluster::new("shop", MysqlClusterSpec::default());
    cluster.metadata.namespace = Some("default".to_owned());
    cluster.metadata.generation = Some(3);
    let mut behind = member(2, MemberRole::Replica);
    behind.lag_transactions = Some(12);
    cluster.status = Some(MysqlClusterStatus {
        observed_generation: Some(3),
        conditions: vec![
            condition(
                "SpecValid",
                "True",
                "ValidWithWarnings",
                "spec.resources.limits.memory: is not set, so the buffer pool stays at 128 MiB; set it",
            ),
            condition("Ready", "True", "AllMembersReady", "shop-1 takes writes"),
            condition("WritesBlocked", "False", "EnoughReplicas", "enough replicas acknowledge"),
        ],
        ready: "3/3".to_owned(),
        ready_members: Some(3),
        replicas: Some(3),
        primary: "shop-1".to_owned(),
        epoch: Some(2),
        policies: Some(PoliciesStatus { primary_selection: Some(policy()), ..PoliciesStatus::default() }),
        members: vec![member(0, MemberRole::Replica), member(1, MemberRole::Primary), behind],
        read_replicas: None,
        last_failover: Some(FailoverStatus {
            at: at(200),
            cause: "mysqld of shop-0 is gone (signal 9)".to_owned(),
            from: "shop-0".to_owned(),
            to: "shop-1".to_owned(),
            epoch: 2,
            milliseconds: Some(812),
        }),
        backup: None,
    });
    cluster
}

fn shown(cluster: &MysqlCluster, record: Option<&Record>, style: Style) -> String {
    render(&View { cluster, record, now: Timestamp::from_second(NOW).unwrap() }, style)
}

#[test]
fn a_healthy_cluster() {
    insta::assert_snapshot!(shown(&healthy(), Some(&record()), PLAIN));
}

#[test]
fn a_cluster_in_trouble() {
    let mut cluster = healthy();
    cluster.metadata.generation = Some(4);
    let status = cluster.status.as_mut().unwrap();
    status.primary = NONE.to_owned();
    status.ready = "1/3".to_owned();
    status.ready_members = Some(1);
    let why = "1 of the 2 members that together hold every acknowledged write are there; missing: shop-2 (its agent does not answer)";
    status.conditions = vec![
        condition("SpecValid", "True", "Valid", ""),
        condition("PrimaryAvailable", "False", "NoQuorum", why),
        condition("WritesBlocked", "True", "TooFewReplicas", "commits wait: 1 acknowledgements are needed"),
        condition("PolicyReady", "Unknown", "Loading", "the module is being compiled"),
    ];
    status.members[1].role = MemberRole::Quarantined;
    status.members[1].ready = false;
    status.members[1].message = Some("shop-1 holds transactions that no primary committed".to_owned());
    status.members[2] =
        MemberStatus { message: Some("connection refused".to_owned()), ..member(2, MemberRole::Unknown) };
    let policy = status.policies.as_mut().unwrap().primary_selection.as_mut().unwrap();
    policy.problem = Some("spec.policies.primarySelection.settings.zones[1]: zone `a` is listed twice".to_owned());
    policy.last_answer.as_mut().unwrap().verdict =
        Some("`shop-1` cannot lead: it holds transactions that no primary committed".to_owned());
    let record = Record { epoch: 3, phase: Phase::Freezing, raising_acks: Some(2), ..record() };
    insta::assert_snapshot!(shown(&cluster, Some(&record), PLAIN));
}

#[test]
fn a_cluster_that_nobody_has_looked_at() {
    let mut cluster = healthy();
    cluster.status = None;
    insta::assert_snapshot!(shown(&cluster, None, PLAIN));
}

#[test]
fn a_cluster_that_has_only_begun() {
    let mut cluster = healthy();
    cluster.spec.paused = true;
    cluster.status = Some(MysqlClusterStatus::default());
    insta::assert_snapshot!(shown(&cluster, None, PLAIN));
}

#[test]
fn a_narrow_terminal_breaks_lines_and_loses_nothing() {
    let narrow = Style { colour: false, width: Some(72) };
    let text = shown(&healthy(), Some(&record()), narrow);
    assert!(text.lines().all(|line| line.chars().count() <= 72), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn colours_are_only_where_they_are_wanted() {
    assert!(!shown(&healthy(), Some(&record()), PLAIN).contains('\u{1b}'));
    let colourful = shown(&healthy(), Some(&record()), Style { colour: true, width: None });
    assert!(colourful.contains("\u{1b}["), "{colourful}");
}

#[test]
fn ages_are_in_the_unit_that_fits() {
    let now = Timestamp::from_second(NOW).unwrap();
    let ages = [0, 119, 120, 7_199, 7_200, 172_799, 172_800, -5].map(|age| ago(now, at(age).0));
    assert_eq!(ages, ["0 s ago", "119 s ago", "2 min ago", "119 min ago", "2 h ago", "47 h ago", "2 d ago", "0 s ago"]);
}

#[test]
fn read_replicas_stand_below_the_members_and_are_counted_apart() {
    let (mut cluster, record) = (healthy(), record());
    cluster.spec.read_replicas.count = 2;
    let reader = |ordinal: u32| MemberStatus {
        name: format!("shop-read-{ordinal}"),
        ready: true,
        receiving: Some(true),
        applying: Some(true),
        ..member(ordinal, MemberRole::ReadReplica)
    };
    let late = MemberStatus { ready: false, message: Some("copying the data".to_owned()), ..reader(1) };
    cluster.status.as_mut().unwrap().read_replicas =
        Some(ReadReplicasStatus { count: 2, ready: 1, selector: String::new(), members: vec![reader(0), late] });
    let text = shown(&cluster, Some(&record), PLAIN);
    assert!(text.starts_with("default/shop  3/3 ready  shop-1 takes writes  1/2 read replicas\n"), "{text}");
    let row = |name: &str| {
        text.lines().position(|line| line.trim_start().starts_with(name)).unwrap_or_else(|| panic!("{text}"))
    };
    assert!(row("shop-2") < row("shop-read-0") && row("shop-read-0") < row("shop-read-1"), "{text}");
    assert!(
        text.lines().any(|line| line.trim_start().starts_with("shop-read-1")
            && line.contains("read replica")
            && line.contains("copying the data")),
        "{text}"
    );
}

#[test]
fn an_archive_and_what_is_kept_stand_below_with_what_keeps_them_from_going_on() {
    let mut cluster = healthy();
    let archive = ArchiveStatus {
        through: Some(at(12)),
        member: Some("shop-2".to_owned()),
        lag_seconds: Some(0),
        ..ArchiveStatus::default()
    };
    let retention = RetentionStatus {
        fulls: Some(7),
        oldest: Some(at(14 * 86_400)),
        problem: Some("the store is gone".to_owned()),
        ..RetentionStatus::default()
    };
    let drill = DrillStatus {
        at: Some(at(3_600)),
        result: Some(DrillResult::Failed),
        message: Some("parts/000000 is damaged".to_owned()),
        ..DrillStatus::default()
    };
    let backup = BackupsStatus {
        archive: Some(archive),
        retention: Some(retention),
        drill: Some(drill),
        verified_at: Some(at(7 * 86_400)),
    };
    cluster.status.as_mut().unwrap().backup = Some(backup);
    let text = shown(&cluster, Some(&record()), PLAIN);
    let archive = "its newest commit was made 12 s ago, from shop-2's binary log; nothing is missing";
    assert!(text.contains(archive) && !text.contains("it does not go on"), "{text}");
    assert!(text.contains("7 are kept, the oldest ended 14 d ago"), "{text}");
    assert!(text.contains("not removed: the store is gone"), "{text}");
    assert!(text.contains("failed 60 min ago: parts/000000 is damaged; one last succeeded 7 d ago"), "{text}");
}
