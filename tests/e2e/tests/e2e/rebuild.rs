//! A member that somebody wrote to directly is left out, and made anew when somebody asks.

use anyhow::{Context, Result, ensure};
use e2e::{NAMESPACE, TOLD, WHOLE, world};
use objects::api::MemberRole;

use crate::event;

#[test]
fn a_member_with_transactions_of_its_own_is_left_out_until_somebody_asks_for_a_rebuild() {
    world().run(async |cluster| -> Result<()> {
        let before = cluster.record().await?;
        let stray = before.members.iter().rev().find(|member| member.name != before.primary).context("a replica")?;
        let replica = cluster.member(&stray.name).await?;
        replica
            .run(&[
                "SET GLOBAL super_read_only = OFF",
                // Under a name that never led: what a former primary alone holds would be taken for a tail.
                "SET gtid_next = '00000000-0000-4000-8000-000000000001:1'",
                "CREATE DATABASE stray",
                "SET gtid_next = 'AUTOMATIC'",
                "SET GLOBAL super_read_only = ON",
            ])
            .await?;
        event(&cluster, "ErrantTransactions", &stray.name).await?;
        cluster
            .wait_for("the member to be left out", TOLD, || async {
                let members = cluster.status().await?.members;
                let role = members.iter().find(|member| member.name == stray.name).map(|member| member.role);
                Ok((role == Some(MemberRole::Quarantined)).then_some(()))
            })
            .await?;

        let asked = cluster.env().plugin(&["rebuild", &cluster.name, &stray.name, "-n", NAMESPACE])?;
        let said = String::from_utf8_lossy(&asked.stderr).into_owned();
        ensure!(!asked.status.success(), "nobody said yes");
        ensure!(
            said.contains("holds transactions that no primary committed"),
            "it should say what is given up: {said}"
        );

        let asked = cluster.env().plugin(&["rebuild", &cluster.name, &stray.name, "-n", NAMESPACE, "--yes"])?;
        ensure!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
        cluster.wait_serving(3, WHOLE).await?;
        let after = cluster.record().await?;
        ensure!(after.epoch == before.epoch, "nobody's role had to move");
        ensure!(after.incarnation_of(&stray.name) != Some(stray.incarnation), "it should hold another copy");
        let databases: i64 = cluster
            .member(&stray.name)
            .await?
            .ask("SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = 'stray'")
            .await?;
        ensure!(databases == 0, "what it alone held should be gone");
        Ok(())
    });
}
