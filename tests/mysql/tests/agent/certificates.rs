//! A certificate is replaced while everything runs.

use std::time::Instant;

use mysql_async::prelude::Queryable;
use mysql_tests::member::PATIENCE;
use mysql_tests::{Cluster, Member};

use crate::Result;

/// Until when the certificate is good that mysqld shows.
async fn good_until(member: &Member) -> Result<String> {
    let shown =
        "SELECT VARIABLE_VALUE FROM performance_schema.global_status WHERE VARIABLE_NAME = 'Ssl_server_not_after'";
    Ok(member.client("root").await?.query_first(shown).await?.unwrap_or_default())
}

async fn running_since(member: &Member) -> Result<u64> {
    let up =
        "SELECT UNIX_TIMESTAMP() - VARIABLE_VALUE FROM performance_schema.global_status WHERE VARIABLE_NAME = 'Uptime'";
    let since: Option<f64> = member.client("root").await?.query_first(up).await?;
    Ok(since.unwrap_or_default() as u64)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_shown_by_mysqld_and_agent_without_a_restart() -> Result {
    let (cluster, _) = Cluster::serving(2, 1).await?;
    let primary = cluster.member(0);
    let (before, since) = (good_until(primary).await?, running_since(primary).await?);
    let host = format!("{}.shop-instances.test.svc", primary.name);
    let renewed = cluster.authority.issue_until(&primary.name, &[host], 2077)?;
    cluster.authority.write(&primary.dir().join("tls"), &renewed)?;

    let until = Instant::now() + PATIENCE;
    let shown = loop {
        let shown = good_until(primary).await?;
        if shown != before {
            break shown;
        }
        anyhow::ensure!(Instant::now() < until, "mysqld goes on showing the certificate that is good until {before}");
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    };
    assert!(shown.contains("2077"), "{shown}");
    primary.connect().await?.report().await?;
    assert!(running_since(primary).await?.abs_diff(since) <= 2, "mysqld was restarted");
    cluster.stop().await
}
