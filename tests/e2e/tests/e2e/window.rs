//! A policy has the backup that is due wait, says why, and lets it begin.

use anyhow::{Context, Result, ensure};
use e2e::{NAMESPACE, TOLD, WHOLE, world};
use jiff::{SignedDuration, Timestamp};
use kit::{Bucket, Packed};
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt as _};
use objects::api::{BackupPhase, MysqlBackup};
use objects::conditions::POLICY_READY;
use serde_json::json;
use topology::backup_window::{Answer, Question};

use crate::event;
use crate::policies::{back_to_default, journal};

#[test]
fn a_backup_that_is_due_waits_while_a_policy_says_so_and_begins_when_it_lets_it() {
    world().run(async |cluster| -> Result<()> {
        let dir = tempfile::tempdir()?;
        let bucket = Bucket::serve(&cluster, dir.path()).await?;
        let backups: Api<MysqlBackup> = cluster.api();
        backups.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
        let map = "quiet-hours";
        cluster.apply_policy(map, "policy.wasm.zst", &world().quiet_hours.packed, Packed::Labelled).await?;
        let window = |closed: serde_json::Value| {
            let module = json!({ "configMap": { "name": map, "key": "policy.wasm.zst" } });
            json!({ "policies": { "backupWindow": { "module": module, "settings": { "closed": closed } } } })
        };
        let sale = json!([{ "from": "00:00", "until": "24:00", "because": "the sale" }]);
        cluster.patch_spec(window(sale)).await?;
        let in_force = || async {
            let ready = cluster.condition(POLICY_READY).await?;
            Ok(ready.filter(|ready| ready.status == "True" && ready.message.contains(map)).map(drop))
        };
        cluster.wait_for("the policy to be in force", TOLD, in_force).await?;

        // The minute after this one, of every hour.
        let due = Timestamp::now() + SignedDuration::from_secs(60);
        cluster
            .patch_spec(
                json!({ "backup": { "store": bucket.store(), "schedule": due.strftime("%M * * * *").to_string() } }),
            )
            .await?;
        let said = cluster
            .wait_for("what was said in the journal", WHOLE, || async { Ok(journal::<Question>(&cluster)?.pop()) });
        let said = said.await?;
        event(&cluster, "BackupPostponed", "the sale").await?;
        let listed = backups.list(&ListParams::default()).await?.items;
        ensure!(
            listed.is_empty(),
            "it was made all the same: {:?}",
            listed.iter().map(|backup| backup.name_any()).collect::<Vec<_>>()
        );
        ensure!(matches!(said.answer, Answer::Postpone { .. }) && said.by.name == map, "{said:?}");
        ensure!(said.question.servers.len() == 3, "not every server was looked at: {:?}", said.question.servers);
        // One that another test has just restarted was not, or not for a minute.
        let measured = said.question.servers.iter().any(|server| server.load.cpu_used_millicores.is_some());
        ensure!(measured, "no server was measured: {:?}", said.question.servers);
        let output = cluster.env().plugin(&["explain", &cluster.name, "-n", NAMESPACE])?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        for words in ["backup-window", "the sale", "it waits"] {
            ensure!(text.contains(words), "kubectl grampus explain says nothing of `{words}`:\n{text}");
        }

        cluster.patch_spec(window(json!([]))).await?;
        let made = || async {
            let listed = backups.list(&ListParams::default()).await?.items;
            let done = |backup: &MysqlBackup| {
                backup.status.as_ref().and_then(|status| status.phase) == Some(BackupPhase::Succeeded)
            };
            Ok(listed.iter().any(done).then_some(()))
        };
        cluster.wait_for("the backup that was due", WHOLE, made).await?;
        cluster.patch_spec(json!({ "backup": null })).await?;
        backups.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
        cluster.delete_policy(map).await?;
        back_to_default(&cluster).await.context("back to the default")
    });
}
