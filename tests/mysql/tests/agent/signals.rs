//! What an agent measures of a real mysqld: figures that move with real load, and with nothing else.

use std::time::Instant;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use mysql_tests::member::{PASSWORD, PATIENCE, Surroundings};
use mysql_tests::{Cluster, Member};
use topology::signals::{Signals, Window};
use topology::tuning::{TUNABLE, parse, tunable};

use crate::Result;

/// Agents that look four times a second, so that a test need not wait for minutes.
fn often() -> Surroundings {
    Surroundings { signals_every_ms: Some(250), ..Surroundings::default() }
}

/// Waits until what was measured since the agent began is as wanted.
async fn measured(member: &Member, what: &str, wanted: impl Fn(&Signals, &Window) -> bool) -> Result<Signals> {
    let until = Instant::now() + PATIENCE;
    loop {
        let signals = member.connect().await?.report().await?.signals;
        if let Some(signals) = signals.as_deref()
            && signals.hour.as_ref().is_some_and(|hour| wanted(signals, hour))
        {
            return Ok(signals.clone());
        }
        anyhow::ensure!(Instant::now() < until, "{}: waited in vain until {what}; last: {signals:#?}", member.name);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_measured_moves_with_the_load_and_a_restart_of_mysqld_is_no_load() -> Result {
    let (cluster, _) = Cluster::serving_in(often(), 2, 1).await?;
    let (primary, replica) = (cluster.member(0), cluster.member(1));
    let quiet = measured(primary, "it was looked at", |_, hour| hour.served_ms > 1_000).await?;
    assert_eq!(quiet.problem, None);
    // Whoever set the cluster up and began to follow asked as well, and all of that is before this look.
    let first = quiet.hour.unwrap_or_default();
    let later = measured(primary, "it was looked at again", |_, hour| hour.served_ms > first.served_ms + 1_000).await?;
    let before = later.hour.unwrap_or_default().server;
    let since = |now: Option<u64>, then: Option<u64>| now.unwrap_or(0).saturating_sub(then.unwrap_or(0));
    let all = since(before.questions, first.server.questions);
    let own = since(before.agent_questions, first.server.agent_questions);
    assert!(own > 0 && all.saturating_sub(own) < own / 2, "nobody but the agent asked: {own} of {all}");

    let mut app = primary.client("app").await?;
    for id in 0..200 {
        app.query_drop(format!("INSERT INTO t VALUES ({id}, 0)")).await?;
    }
    for _ in 0..300 {
        app.query_drop("SELECT COUNT(*) FROM t").await?;
    }
    let enough =
        |now: Option<u64>, before: Option<u64>, by: u64| now.is_some_and(|now| now >= before.unwrap_or(0) + by);
    let busy = measured(primary, "what was done is counted", |_, hour| {
        enough(hour.server.writes, before.writes, 200) && enough(hour.server.reads, before.reads, 300)
    });
    let busy = busy.await?;
    let hour = busy.hour.unwrap_or_default();
    assert!(enough(hour.server.transactions, before.transactions, 200), "{hour:?}");
    // One whose acknowledgement comes sooner than it looks for it does not wait.
    assert!(enough(hour.server.semi_sync_waits, before.semi_sync_waits, 100), "commits waited: {hour:?}");
    assert!(hour.server.semi_sync_wait_us > hour.server.semi_sync_waits, "{hour:?}");
    assert!(enough(hour.server.redo_written_bytes, before.redo_written_bytes, 200 * 50), "{hour:?}");
    assert!(hour.server.page_requests > before.page_requests && hour.server.writes < Some(2_000), "{hour:?}");
    stands(&busy);

    // What came while it could not be asked, as when it began to follow, is not counted.
    let applied =
        measured(replica, "the replica has applied it", |_, hour| hour.server.transactions >= Some(100)).await?;
    let counted = applied.hour.unwrap_or_default().server;
    assert!(counted.received_transactions >= Some(100), "it came from the primary: {counted:?}");

    replica.kill_mysqld().await?;
    measured(replica, "nothing is told of a server that is gone", |signals, _| signals.now.max_connections.is_none())
        .await?;
    let back = measured(replica, "it is counted again", |signals, hour| {
        signals.now.max_connections.is_some() && hour.served_ms > applied.hour.unwrap_or_default().served_ms + 1_000
    });
    let back = back.await?.hour.unwrap_or_default();
    assert!(back.server.transactions < Some(300), "what it had executed before is no work: {back:?}");
    assert!(back.served_ms < back.elapsed_ms, "the time without a server is none: {back:?}");
    cluster.stop().await
}

/// How things stand, as far as any machine tells.
fn stands(signals: &Signals) {
    let now = &signals.now;
    assert_eq!(now.max_connections, Some(40));
    assert_eq!(now.buffer_pool_bytes, Some(64 << 20));
    assert!(now.buffer_pool_used_permille().is_some_and(|used| (1..=1_000).contains(&used)), "{now:?}");
    assert!(now.max_used_connections >= Some(1) && now.history_list_length.is_some(), "{now:?}");
    assert!(now.checkpoint_age_bytes.is_some() && now.volume_free_bytes < now.volume_bytes, "{now:?}");
    let setting =
        |wanted: &str| signals.settings.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    assert_eq!(setting("innodb_redo_log_capacity"), Some("16777216"));
    let missing: Vec<_> = TUNABLE.iter().map(|tunable| tunable.name).filter(|name| setting(name).is_none()).collect();
    assert_eq!(missing, [""; 0], "settings that may be tuned and that this server does not have");
    let readable =
        |(name, value): &(String, String)| tunable(name).is_some_and(|tunable| parse(tunable.kind, value).is_some());
    assert!(signals.settings.iter().all(readable), "{:?}", signals.settings);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_measures_can_neither_read_a_row_nor_write_one() -> Result {
    let (cluster, _) = Cluster::serving_in(often(), 1, 0).await?;
    let primary = cluster.member(0);
    measured(primary, "it was looked at", |_, hour| hour.served_ms > 0).await?;
    let options = OptsBuilder::default()
        .socket(primary.dir().join("run/mysqld.sock").to_str())
        .user(Some("grampus-signals"))
        .pass(Some(PASSWORD))
        .prefer_socket(false);
    let mut conn = Conn::new(options).await?;
    let grants: Vec<String> = conn.query("SHOW GRANTS").await?;
    let grants: Vec<&str> = grants.iter().filter_map(|grant| grant.split(" TO ").next()).collect();
    assert_eq!(grants, ["GRANT PROCESS ON *.*", "GRANT SELECT ON `performance_schema`.*"]);
    for statement in [
        "SELECT * FROM shop.t",
        "INSERT INTO shop.t VALUES (1, 1)",
        "SET GLOBAL max_connections = 41",
        "DROP TABLE grampus.heartbeat",
    ] {
        let refused = conn.query_drop(statement).await;
        assert!(matches!(refused, Err(mysql_async::Error::Server(_))), "{statement}: {refused:?}");
    }
    drop(conn);
    let executed = primary.executed().await?;
    let again =
        primary.connect().await?.report().await?.signals.map(|signals| signals.hour.unwrap_or_default().elapsed_ms);
    measured(primary, "it was looked at again", |_, hour| Some(hour.elapsed_ms) > again.map(|before| before + 1_000))
        .await?;
    assert_eq!(primary.executed().await?, executed, "looking writes nothing");
    cluster.stop().await
}
