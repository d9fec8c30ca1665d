//! A cluster begins with what a dump of another server holds.

use anyhow::{Result, ensure};
use e2e::{TOLD, WHOLE, world};
use kit::Bucket;
use objects::conditions::PRIMARY_AVAILABLE;
use serde_json::json;

const GOOD: &str = "CREATE DATABASE orders;\nUSE orders;\nCREATE TABLE t (id INT PRIMARY KEY, v TEXT);\n\
                    INSERT INTO t VALUES (1, 'one'), (2, 'two');\n";

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
        let login = moved.application().await?;
        ensure!((login.user.as_str(), login.database.as_deref()) == ("till", Some("orders")), "{login:?}");
        let mut conn = login.connect().await?;
        let rows: Vec<(u32, String)> =
            mysql_async::prelude::Queryable::query(&mut conn, "SELECT id, v FROM t ORDER BY id").await?;
        ensure!(rows == [(1, "one".to_owned()), (2, "two".to_owned())], "{rows:?}");
        moved.remove().await
    });
}
