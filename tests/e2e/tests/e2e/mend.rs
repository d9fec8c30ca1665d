//! A replica that cannot go on with its data is made anew by itself, from another replica, and writes go on meanwhile.

use anyhow::{Context, Result, ensure};
use e2e::{TOLD, WHOLE, world};
use objects::conditions::DATA_INTACT;

use crate::{event, nothing_is_lost, under_load};

#[test]
fn a_replica_whose_applier_stays_broken_is_copied_anew_and_writes_go_on() {
    world().run(async |cluster| -> Result<()> {
        let before = cluster.record().await?;
        let broken = before.members.iter().rev().find(|member| member.name != before.primary).context("a replica")?;
        let primary = cluster.member(&before.primary).await?;
        primary.run(&["CREATE DATABASE IF NOT EXISTS mend", "CREATE TABLE mend.t (id INT PRIMARY KEY)"]).await?;
        let replica = cluster.member(&broken.name).await?;
        cluster
            .wait_for("the table on the replica", TOLD, || async {
                let query = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'mend'";
                Ok((replica.ask::<i64>(query).await? == 1).then_some(()))
            })
            .await?;
        replica
            .run(&[
                "SET GLOBAL super_read_only = OFF",
                "SET sql_log_bin = 0",
                "INSERT INTO mend.t VALUES (7)",
                "SET GLOBAL super_read_only = ON",
            ])
            .await?;
        let writer = under_load(&cluster).await?;
        primary.run(&["INSERT INTO mend.t VALUES (7)"]).await?;

        let told = cluster.wait_condition(DATA_INTACT, "False", TOLD).await?;
        ensure!(told.message.contains(&broken.name), "{told:?}");
        cluster
            .wait_for("another copy to vote", WHOLE, || async {
                let now = cluster.record().await?;
                let incarnation = now.incarnation_of(&broken.name);
                Ok(incarnation.is_some_and(|now| now != broken.incarnation).then_some(()))
            })
            .await?;
        event(&cluster, "ReplicaCopiedAnew", &broken.name).await?;
        nothing_is_lost(&cluster, writer, "applier of a replica broken").await?;
        let after = cluster.record().await?;
        ensure!((after.epoch, &after.primary) == (before.epoch, &before.primary), "nobody's role had to move");
        cluster.wait_condition(DATA_INTACT, "True", TOLD).await?;
        primary.run(&["DROP DATABASE mend"]).await?;
        Ok(())
    });
}
