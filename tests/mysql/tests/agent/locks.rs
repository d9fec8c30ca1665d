//! Who may acknowledge, and how an agent makes sure that nobody else does.

use mysql_async::prelude::Queryable;
use mysql_tests::cluster::{acknowledges, choose, promote};
use mysql_tests::member::{PASSWORD, facts};
use mysql_tests::{Cluster, Member};
use topology::facts::{MemberReport, Standing, ThreadState};
use topology::record::{Phase, Record};
use wire::{Command, Outcome};

use super::{Result, executed_is, receiver, waiting_insert};

fn is_locked_out(report: &MemberReport) -> bool {
    let channel = facts(report).ok().and_then(|facts| facts.replication.as_ref());
    channel.is_some_and(|channel| {
        channel.receiver == ThreadState::Connecting && channel.receiver_error.starts_with("3118")
    })
}

/// The account under which a member receives.
async fn account(member: &Member) -> Result<String> {
    let query = "SELECT USER FROM performance_schema.replication_connection_configuration WHERE CHANNEL_NAME = ''";
    Ok(member.client("root").await?.query_first(query).await?.unwrap_or_default())
}

fn after(record: &Record) -> Record {
    Record { generation: record.generation + 1, ..record.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_locked_acknowledges_no_more_and_what_it_acknowledged_before_is_in_the_barrier() -> Result {
    let (cluster, record) = Cluster::serving(3, 2).await?;
    let (primary, stays, leaves) = (cluster.member(0), cluster.member(1), cluster.member(2));
    assert_eq!((account(stays).await?, account(leaves).await?), ("grampus-repl-1".into(), "grampus-repl-2".into()));
    stays.client("root").await?.query_drop("STOP REPLICA IO_THREAD").await?;
    let insert = waiting_insert(primary, 1).await?;
    let executed = primary.executed().await?;

    let leaving = Record { leaving: Some(leaves.name.clone()), ..after(&record) };
    let report = primary.done(&leaving, Command::Lock).await?;
    let locked = facts(&report)?;
    assert_eq!(locked.semi_sync.clients, 0, "nobody is attached any more");
    assert_eq!(locked.executed, executed, "locking leaves no transaction behind, nor does it need an acknowledgement");
    assert_eq!(locked.logged().subtract(&executed).count(), 1, "the commit that waits counts as well");

    // mysqld goes on counting the acknowledgement that was given before.
    stays.client("root").await?.query_drop("START REPLICA IO_THREAD").await?;
    insert.await??;
    assert_eq!(primary.executed().await?, locked.logged());

    // The one that leaves knows of nothing, and tries in vain. The next commit has one acknowledgement and needs two.
    leaves.wait("it is not let in", is_locked_out).await?;
    let insert = waiting_insert(primary, 2).await?;
    // Told of it, it receives nothing any more.
    leaves.done(&leaving, Command::Store).await?;
    leaves.wait("it receives nothing", |report| receiver(report) == Some(ThreadState::Off)).await?;
    assert!(!insert.is_finished(), "nobody else has acknowledged");

    // It stays after all: the primary lets it in again by itself, and it acknowledges what it is sent.
    let stays_after_all = Record { leaving: None, ..after(&leaving) };
    primary.done(&stays_after_all, Command::Store).await?;
    let report = leaves.follow(&stays_after_all, primary).await?;
    assert!(acknowledges(&report), "{report:#?}");
    insert.await??;
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_who_does_not_vote_is_attached_when_a_primary_opens() -> Result {
    let (cluster, record) = Cluster::serving(3, 1).await?;
    let (former, next, stranger) = (cluster.member(0), cluster.member(1), cluster.member(2));
    // The one acknowledgement of the table may have been the stranger's.
    let written = former.executed().await?;
    next.wait("it has the table", |report| facts(report).is_ok_and(|facts| facts.known() == written)).await?;
    let claimed = record.claimed(None);
    for member in [former, next, stranger] {
        member.done(&claimed, Command::Freeze).await?;
    }
    // A former member that believes that it votes, attached to the next primary while that is a replica yet.
    let password = PASSWORD.replace('\\', "\\\\").replace('\'', "''");
    let mut root = stranger.client("root").await?;
    for statement in [
        "SET GLOBAL rpl_semi_sync_replica_enabled = 1".to_owned(),
        format!(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '{}', SOURCE_USER = 'grampus-repl-2', SOURCE_PASSWORD = '{password}'",
            next.ip
        ),
        "START REPLICA IO_THREAD".to_owned(),
    ] {
        root.query_drop(statement).await?;
    }
    let attached = |report: &MemberReport| {
        facts(report).is_ok_and(|facts| facts.replication.as_ref().is_some_and(|channel| channel.acknowledges))
            && receiver(report) == Some(ThreadState::On)
    };
    stranger.wait("it is attached", attached).await?;

    let known = next.facts().await?.known();
    let mut chosen = choose(&claimed, next, &next.endpoint().await?, &known);
    chosen.members.retain(|member| member.name != stranger.name);
    let report = next.done(&chosen, promote(None, &known)).await?;
    assert!(facts(&report)?.open);
    assert_eq!(facts(&report)?.semi_sync.clients, 0);
    let insert = waiting_insert(next, 1).await?;
    stranger.wait("it is not let in", is_locked_out).await?;
    assert!(!insert.is_finished(), "a stranger acknowledged it");

    // A drained primary that is opened again under another record lets in whom that one lets in.
    let serving = Record { phase: Phase::Serving, base: known, ..chosen.clone() };
    former.done(&serving, Command::Trim { keep: next.executed().await? }).await?;
    former.follow(&serving, next).await?;
    insert.await??;
    next.done(&serving, Command::Drain { deadline_ms: 10_000 }).await?;
    let members = record.members.clone();
    let again = Record { members, ..after(&serving) };
    next.done(&again, Command::Undrain).await?;
    stranger.wait("it is let in", attached).await?;
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_account_keeps_what_was_received() -> Result {
    let (cluster, record) = Cluster::serving(2, 1).await?;
    let (primary, replica) = (cluster.member(0), cluster.member(1));
    let mut app = primary.client("app").await?;
    app.query_drop("INSERT INTO t VALUES (1, 0)").await?;
    let before = primary.executed().await?;
    replica.wait("the row is applied", |report| executed_is(report, &before)).await?;
    // An open transaction keeps the applier from changing the table: what comes now is received, not executed.
    let mut lock = replica.client("root").await?;
    lock.query_drop("START TRANSACTION").await?;
    lock.query_drop("SELECT * FROM shop.t").await?;
    app.query_drop("ALTER TABLE t ADD COLUMN w INT").await?;
    let all = primary.executed().await?;

    let mut without = after(&record);
    without.members.retain(|member| member.name != replica.name);
    replica.done(&without, Command::Store).await?;
    let follows = |report: &MemberReport| {
        let channel = facts(report).ok().and_then(|facts| facts.replication.as_ref());
        channel.is_some_and(|channel| channel.receiver == ThreadState::On && !channel.acknowledges)
    };
    let report = replica.wait("it goes on as a follower", follows).await?;
    let kept = facts(&report)?;
    assert_eq!(account(replica).await?, "grampus-follower");
    assert!(all.is_subset_of(&kept.known()) && !all.is_subset_of(&kept.executed), "{kept:?}");
    drop(lock);
    replica.wait("it is executed", |report| executed_is(report, &all)).await?;
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_member_has_proved_ends_with_a_record_in_which_it_does_not_vote() -> Result {
    let (cluster, record) = Cluster::serving(2, 1).await?;
    let (primary, replica) = (cluster.member(0), cluster.member(1));
    let refused = primary.command(&record, Command::SetAcks { acks: 0 }).await?;
    assert!(matches!(refused.outcome, Outcome::Refused { .. }), "the record comes first: {:?}", refused.outcome);
    let lowered = Record { acks: 0, ..after(&record) };
    let report = primary.done(&lowered, Command::SetAcks { acks: 0 }).await?;
    assert!(!facts(&report)?.semi_sync.enabled);
    assert_eq!(replica.done(&lowered, Command::Store).await?.standing, Standing::Good, "it still votes");

    let mut without = after(&lowered);
    without.members.retain(|member| member.name != replica.name);
    let report = replica.done(&without, Command::Store).await?;
    assert!(matches!(report.standing, Standing::Unproved { .. }), "{:?}", report.standing);
    replica.wait("it does not acknowledge", |report| !acknowledges(report)).await?;
    // Proved anew under that record it stays so, until another one leaves it out again.
    let barrier = primary.executed().await?;
    replica.follow(&without, primary).await?;
    assert_eq!(replica.done(&without, Command::GrantStanding { barrier }).await?.standing, Standing::Good);
    assert_eq!(replica.done(&without, Command::Store).await?.standing, Standing::Good);
    let report = replica.done(&after(&without), Command::Store).await?;
    assert!(matches!(report.standing, Standing::Unproved { .. }), "{:?}", report.standing);
    cluster.stop().await
}
