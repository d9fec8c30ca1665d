//! What a killed primary had committed and nobody acknowledged: cut off where that can be, and kept.

use std::time::Instant;

use mysql_async::prelude::Queryable;
use mysql_tests::Cluster;
use mysql_tests::cluster::{choose, promote};
use mysql_tests::member::{facts, program};
use topology::facts::ServerState;
use topology::gtid::GtidSet;
use topology::record::{GivenUp, Phase, Record};
use wire::Command;

use crate::{Result, executed_is, ids, measured, offline_gtids, waiting_statement};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_primary_comes_back_without_what_nobody_acknowledged_and_without_a_copy() -> Result {
    let (cluster, record) = Cluster::serving(2, 1).await?;
    let (former, primary) = (cluster.member(0), cluster.member(1));
    former.client("app").await?.query_drop("INSERT INTO t VALUES (1, 0)").await?;
    let (chosen, tail) = leave_a_tail(&cluster, &record, "INSERT INTO t VALUES (7, 0)").await?;
    let (data, server) = (former.report().await?.data, record.primary_server_uuid);

    let since = Instant::now();
    let report = former.done(&chosen, Command::Trim { keep: primary.executed().await? }).await?;
    measured("trim and start", since);
    let facts = facts(&report)?;
    assert!(!facts.open && facts.executed.is_subset_of(&primary.executed().await?), "{}", facts.executed);
    assert_eq!(report.data, data, "the same copy of the data");
    assert_ne!(Some(facts.server_uuid), server, "its numbers may be issued again, so its name may not");
    assert_eq!(report.opened_as, server.as_slice(), "and the old name is remembered");
    let trimmed = report.trimmed.expect("what was cut is reported");
    assert_eq!(trimmed.transactions, tail);
    let saved = std::process::Command::new(program("mysqlbinlog")?).args(["-v", &trimmed.saved_as]).output()?;
    let saved = String::from_utf8_lossy(&saved.stdout).into_owned();
    assert!(saved.contains("@1=7"), "the row that was cut can be read: {saved}");

    cluster.follow_in_good_standing(0, 1, &chosen).await?;
    assert!(former.facts().await?.offline, "whoever still takes it for the primary reads nothing here");
    primary.client("app").await?.query_drop("INSERT INTO t VALUES (8, 0)").await?;
    let executed = primary.executed().await?;
    former.wait("it catches up", |report| executed_is(report, &executed)).await?;
    assert_eq!(ids(former).await?, [1, 8], "the row that nobody acknowledged is rolled back");
    former.wait("it may be read from", |report| self::facts(report).is_ok_and(|facts| !facts.offline)).await?;
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_that_is_no_change_of_rows_or_was_committed_by_a_start_is_not_cut() -> Result {
    for committed in [false, true] {
        let (cluster, record) = Cluster::serving(2, 1).await?;
        let (former, primary) = (cluster.member(0), cluster.member(1));
        let statement = if committed { "INSERT INTO t VALUES (7, 0)" } else { "ALTER TABLE t ADD COLUMN w INT" };
        let (chosen, tail) = leave_a_tail(&cluster, &record, statement).await?;
        if committed {
            former.done(&chosen, Command::Start).await?;
            former.kill_mysqld().await?;
            former.wait("it is dead", |report| matches!(report.server, ServerState::Stopped { .. })).await?;
        }
        let report = former.done(&chosen, Command::Trim { keep: primary.executed().await? }).await?;
        assert_eq!(report.trimmed, None);
        assert!(tail.is_subset_of(&facts(&report)?.executed), "it is there for the operator to see");
        cluster.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_is_not_cut_off_and_its_server_gets_another_name() -> Result {
    let (cluster, record) = Cluster::serving(2, 1).await?;
    let (former, primary) = (cluster.member(0), cluster.member(1));
    let (chosen, tail) = leave_a_tail(&cluster, &record, "INSERT INTO t VALUES (7, 0)").await?;
    let server = record.primary_server_uuid.expect("a served record");
    let given_up = GivenUp { epoch: chosen.epoch, servers: vec![server], members: vec![former.name.clone()] };
    let chosen = Record { generation: chosen.generation + 1, given_up: vec![given_up], ..chosen };
    let report = former.done(&chosen, Command::Trim { keep: primary.executed().await? }).await?;
    assert_eq!(report.trimmed, None);
    let facts = facts(&report)?;
    assert!(!facts.open && tail.is_subset_of(&facts.executed), "a client may have heard OK: {}", facts.executed);
    assert_ne!(facts.server_uuid, server, "others may know the numbers that it would issue next");
    assert_eq!(ids(former).await?, [7], "whoever wants it back can read it");
    cluster.stop().await
}

/// Kills the first member's mysqld while a statement waits for an acknowledgement, and opens the second. Returns the
/// record, which is Serving, and what only the first one has.
pub async fn leave_a_tail(cluster: &Cluster, record: &Record, statement: &'static str) -> Result<(Record, GtidSet)> {
    let (former, primary) = (cluster.member(0), cluster.member(1));
    let claimed = record.claimed(None);
    primary.done(&claimed, Command::Freeze).await?;
    let executed = former.executed().await?;
    let waiting = waiting_statement(former, statement).await?;
    let report = former.done(&claimed, Command::Freeze).await?;
    assert!(waiting.await?.is_err(), "nobody acknowledged it, so nobody may hear OK");
    let tail = offline_gtids(&report).expect("stopped and read").subtract(&executed);
    assert_eq!(tail.count(), 1);
    let known = primary.facts().await?.known();
    let chosen = Record { acks: 0, ..choose(&claimed, primary, &primary.endpoint().await?, &known) };
    primary.done(&chosen, promote(None, &known)).await?;
    let serving = Record { phase: Phase::Serving, base: primary.executed().await?, ..chosen };
    primary.done(&serving, Command::Store).await?;
    Ok((serving, tail))
}
