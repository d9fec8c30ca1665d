//! Members come and go while somebody writes.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use e2e::{WHOLE, world};
use kit::Cluster;
use serde_json::json;
use topology::record::{Phase, Record};

use crate::{event, nothing_is_lost, under_load};

/// Asks for so many members and waits until they are all there is: in the record, as pods, and in the status.
async fn scale(cluster: &Cluster, members: usize) -> Result<Record> {
    cluster.patch_spec(json!({ "replicas": members })).await?;
    let acks = if members == 1 { 0 } else { ((members - 1) / 2).max(1) };
    let settled = |record: &Record| {
        let changing = record.leaving.is_some() || record.raising_acks.is_some();
        record.phase == Phase::Serving && record.members.len() == members && record.acks as usize == acks && !changing
    };
    cluster
        .wait_for(&format!("{members} members"), WHOLE, || async {
            let (record, pods) = (cluster.record().await?, cluster.pods().await?);
            let whole = cluster.status().await?.ready == format!("{members}/{members}");
            Ok((settled(&record) && pods.len() == members && whole).then_some(record))
        })
        .await
}

fn data(record: &Record) -> BTreeSet<(String, String)> {
    record.members.iter().map(|member| (member.name.clone(), member.incarnation.to_string())).collect()
}

#[test]
fn a_cluster_grows_and_shrinks_under_load_and_loses_nothing() {
    world().run(async |cluster| {
        // The role has to move off a member that goes, too.
        cluster.switchover(Some("pool-2")).await?.succeeded()?;
        let before = cluster.record().await?;
        let writer = under_load(&cluster).await?;
        for members in [5, 3, 1] {
            let record = scale(&cluster, members).await?;
            println!("{members} members: {} acknowledgements", record.acks);
        }
        event(&cluster, "SwitchoverStarted", "it is being removed").await?;
        event(&cluster, "MembersChanged", "votes no more").await?;
        let after = scale(&cluster, 3).await?;
        ensure!(data(&after) == data(&before), "whoever comes back has its data still: {after:?}, before {before:?}");
        nothing_is_lost(&cluster, writer, "3, 5, 3, 1 and 3 members").await
    });
}
