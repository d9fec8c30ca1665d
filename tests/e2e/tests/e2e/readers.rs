//! Read replicas come and go while a cluster works, and it does not notice.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{FAILOVER, NAMESPACE, WHOLE, world};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kit::{Cluster, Disk, Member, Writer};
use kube::ResourceExt;
use objects::api::{MemberRole, labels, names};

use crate::{nothing_is_lost, under_load};

/// Far above what a write takes on a busy machine, and far below what a copy of the data does to whom it stops.
const NO_STALL: Duration = Duration::from_secs(5);

/// How often a commit waits for a disk, one time after the other: two logs of the primary, and a replica's.
const WAITS_OF_A_COMMIT: u32 = 3;

#[test]
fn read_replicas_come_and_go_under_load_and_have_every_acknowledged_row() {
    world().run(async |cluster| {
        let (primary, before) = (cluster.primary().await?, cluster.record().await?);
        let (writer, disk) = (under_load(&cluster).await?, Disk::watch());
        scale(&cluster, 2).await?;
        never_stalled(writer, disk, "scaling out").await?;

        let writer = under_load(&cluster).await?;
        cluster.kill_mysqld(&primary).await?;
        cluster
            .wait_for("somebody else to lead", FAILOVER, || async {
                let now = cluster.record().await?;
                Ok((now.epoch > before.epoch && cluster.primary().await? != primary).then_some(()))
            })
            .await?;
        ready(&cluster, 2).await?;
        fed_by_replicas(&cluster).await?;
        // Looks for every row on every pod of the cluster, the read replicas among them.
        nothing_is_lost(&cluster, writer, "primary killed beside read replicas").await?;
        read_from(&cluster, 2).await?;

        let (writer, disk) = (under_load(&cluster).await?, Disk::watch());
        scale(&cluster, 0).await?;
        never_stalled(writer, disk, "scaling in").await?;
        read_from(&cluster, 0).await?;
        let after = cluster.record().await?;
        ensure!(after.members == before.members, "the members are what they were: {:?}", after.members);
        Ok(())
    });
}

/// Asks for so many as a person would, and waits until they are there.
async fn scale(cluster: &Cluster, count: i32) -> Result<()> {
    let replicas = format!("--replicas={count}");
    cluster.env().kubectl(&["scale", "myc", &cluster.name, &replicas, "-n", NAMESPACE])?;
    ready(cluster, count).await
}

async fn ready(cluster: &Cluster, count: i32) -> Result<()> {
    cluster
        .wait_for(&format!("{count} read replicas"), WHOLE, || async {
            let readers = cluster.status().await?.read_replicas.context("no read replicas in the status")?;
            let well = readers.members.iter().all(|reader| reader.role == MemberRole::ReadReplica);
            let pods = readers_of(cluster).await?.len();
            Ok(((readers.ready, readers.count, pods) == (count, count, count as usize) && well).then_some(()))
        })
        .await
}

/// The read replicas as they can be talked to.
async fn readers_of(cluster: &Cluster) -> Result<Vec<Member>> {
    let pods = cluster.pods().await?;
    let readers =
        pods.iter().filter(|pod| pod.labels().get(labels::ROLE).map(String::as_str) == Some(labels::READ_REPLICA));
    let readers: Vec<_> = readers.map(ResourceExt::name_any).collect();
    let members = cluster.members().await?.into_iter();
    Ok(members.filter(|member| readers.contains(&member.name)).collect())
}

async fn never_stalled(writer: Writer, disk: Disk, what: &str) -> Result<()> {
    let gap = writer.stop().await?.longest_outage(Duration::ZERO).context("hardly anything was written")?.lasted();
    let (gap, disk) = (gap.as_millis(), disk.longest().await?);
    println!("{what}: longest gap {gap} ms, the disk's longest {} ms", disk.as_millis());
    let bearable = (NO_STALL + disk * WAITS_OF_A_COMMIT).as_millis();
    ensure!(gap < bearable, "{what} stopped writes for {gap} ms, the disk for {} ms", disk.as_millis());
    Ok(())
}

/// None of them receives from the primary, and none acknowledges.
async fn fed_by_replicas(cluster: &Cluster) -> Result<()> {
    let primary = cluster.member(&cluster.primary().await?).await?;
    cluster
        .wait_for("every read replica to be fed by a replica", FAILOVER, || async {
            let mut sources = Vec::new();
            for reader in readers_of(cluster).await? {
                let query = "SELECT HOST FROM performance_schema.replication_connection_configuration";
                sources.push(reader.ask::<String>(query).await?);
            }
            Ok((!sources.is_empty() && sources.iter().all(|source| *source != primary.login.host)).then_some(()))
        })
        .await?;
    for reader in readers_of(cluster).await? {
        let acknowledges: u8 = reader.ask("SELECT @@GLOBAL.rpl_semi_sync_replica_enabled").await?;
        ensure!(acknowledges == 0, "{} would acknowledge", reader.name);
    }
    Ok(())
}

/// The Service for reads leads to so many read replicas, beside the members.
async fn read_from(cluster: &Cluster, count: usize) -> Result<()> {
    let slices = cluster.api::<EndpointSlice>();
    let readers = format!("{}-", names::readers(&cluster.name));
    cluster
        .wait_for(&format!("{count} read replicas behind the Service for reads"), FAILOVER, || async {
            let slice = slices.get(&names::replicas_service(&cluster.name)).await?;
            let targets = slice.endpoints.iter().filter_map(|endpoint| endpoint.target_ref.as_ref()?.name.clone());
            Ok((targets.filter(|target| target.starts_with(&readers)).count() == count).then_some(()))
        })
        .await
}
