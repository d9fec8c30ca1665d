//! A cluster begins with what a dump of another server holds.

use anyhow::{Context, Result, ensure};
use e2e::{NAMESPACE, TOLD, WHOLE, world};
use kit::{Bucket, Cluster};
use kube::{Api, ResourceExt as _};
use mysql_async::prelude::Queryable as _;
use objects::api::MysqlBackup;
use objects::conditions::PRIMARY_AVAILABLE;
use serde_json::json;

const GOOD: &str = "CREATE DATABASE orders;\nUSE orders;\nCREATE TABLE t (id INT PRIMARY KEY, v TEXT);\n\
                    INSERT INTO t VALUES (1, 'one'), (2, 'two');\n";

/// What applications find.
async fn has_its_rows(cluster: &Cluster) -> Result<()> {
    let login = cluster.application().await?;
    ensure!((login.user.as_str(), login.database.as_deref()) == ("till", Some("orders")), "{login:?}");
    let rows: Vec<(u32, String)> = login.connect().await?.query("SELECT id, v FROM t ORDER BY id").await?;
    ensure!(rows == [(1, "one".to_owned()), (2, "two".to_owned())], "{}: {rows:?}", cluster.name);
    Ok(())
}

#[test]
fn a_cluster_begins_with_a_dump_once_there_is_no_mistake_in_it() {
    world().run(async |cluster| -> Result<()> {
        let dir = tempfile::tempdir()?;
        let bucket = Bucket::serve(&cluster, dir.path()).await?;
        let object = bucket.root().join("dumps/orders.sql");
        std::fs::create_dir_all(bucket.root().join("dumps"))?;
        std::fs::write(&object, "CREATE DATABASE orders;\nINSERT INTO orders.t VALUES (1, 'one');\n")?;
        let moved = cluster.beside(&format!("{}-moved", cluster.name));
        moved.remove().await?;
        let mut spec = e2e::spec();
        spec["replicas"] = json!(1);
        let recovery = json!({
            "store": bucket.store(), "dump": "dumps/orders.sql", "database": "orders", "user": "till",
        });
        spec["bootstrap"] = json!({ "recovery": recovery });
        spec["backup"] = json!({ "store": bucket.store() });
        moved.apply(spec).await?;
        let told = || async {
            let condition = moved.condition(PRIMARY_AVAILABLE).await?;
            Ok(condition
                .filter(|condition| condition.message.contains("dumps/orders.sql: ERROR 1146 (42S02) at line 2")))
        };
        moved.wait_for("the line with the mistake to be told", WHOLE, told).await?;
        std::fs::write(&object, GOOD)?;
        moved.wait_serving(1, WHOLE).await?;
        moved.wait_condition(PRIMARY_AVAILABLE, "True", TOLD).await?;
        has_its_rows(&moved).await?;

        // And on to another one, as statements again.
        let asked = cluster.env().plugin(&["backup", &moved.name, "--method", "logical", "-n", NAMESPACE])?;
        ensure!(asked.status.success(), "{asked:?}");
        let backups: Api<MysqlBackup> = moved.api();
        let made = backups.list(&Default::default()).await?.items;
        let made = made.iter().find(|backup| backup.spec.cluster == moved.name).context("a MysqlBackup")?.name_any();
        let again = cluster.beside(&format!("{}-again", cluster.name));
        again.remove().await?;
        let restored = cluster.env().plugin(&["restore", &made, &again.name, "-n", NAMESPACE])?;
        ensure!(restored.status.success(), "{restored:?}");
        has_its_rows(&again).await?;
        again.remove().await?;
        moved.remove().await
    });
}
