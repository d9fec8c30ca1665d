//! What the demo, the end-to-end tests and the benchmark share: a lab with Grampus installed, clusters in it,
//! faults, and a writer that remembers what was acknowledged.
//!
//! It looks at Grampus from outside, as a user and a saboteur would: objects, SQL, processes. It must never reach
//! into the operator or an agent, and it ends only processes of the lab.

mod bucket;
mod cluster;
mod diagnose;
mod disk;
mod environment;
mod faults;
mod image;
mod ledger;
mod monitor;
mod operator;
mod plain;
mod policy;
mod processes;
mod scenario;
mod sql;
mod steps;
mod survive;
mod tables;
mod writer;

use std::future::Future;
use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};

pub use bucket::Bucket;
pub use cluster::{Cluster, Member, Operated, ask_all};
pub use disk::Disk;
pub use environment::Environment;
pub use image::optimised;
pub use ledger::{Ledger, Outage, Verdict, caught_up};
pub use monitor::{Monitor, Reads};
pub use operator::{LogLine, OPERATOR_NAMESPACE, Operator};
pub use plain::Plain;
pub use policy::{Packed, PolicyModule};
pub use processes::{Fingerprint, ProcessFacts};
pub use scenario::{Scenario, Struck};
pub use sql::Login;
pub use steps::{Step, Steps};
pub use survive::{Survived, survive};
pub use tables::Rows;
pub use writer::{Load, Writer};

/// The MySQL image that the lab's setup packs.
pub const MYSQL_IMAGE: &str = "grampus.dev/lab/mysql:9.7";

/// How often something is looked at again while it is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Looks again and again until `look` gives something, and says after `limit` what did not come.
///
/// # Errors
/// The limit has passed. An error of `look` does not end the wait: what is broken for a moment is what tests are
/// about; the last one is told.
pub async fn eventually<T, F, Fut>(what: &str, limit: Duration, mut look: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Option<T>>>,
{
    let deadline = Instant::now() + limit;
    loop {
        let seen = look().await;
        match seen {
            Ok(Some(found)) => return Ok(found),
            Ok(None) if Instant::now() >= deadline => {
                anyhow::bail!("waited {} s in vain for {what}", limit.as_secs());
            }
            Err(error) if Instant::now() >= deadline => {
                return Err(error.context(format!("waited {} s in vain for {what}", limit.as_secs())));
            }
            Ok(None) | Err(_) => sleep(LOOK_AGAIN).await,
        }
    }
}
