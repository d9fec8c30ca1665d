//! Tells mysqld when its certificate was replaced: it reads the files only when it is told to.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::member::Member;
use crate::sql::PROMPT;

/// How often the files are looked at. The kubelet itself takes up to a minute to bring a changed Secret.
const INTERVAL: Duration = Duration::from_secs(10);

/// Runs until the agent ends.
pub async fn run(member: Arc<Member>) {
    let mut in_force = contents(&member.config);
    let mut tick = tokio::time::interval(INTERVAL);
    loop {
        tick.tick().await;
        let now = contents(&member.config);
        if now == in_force {
            continue;
        }
        let Ok((mut session, _)) = member.session().await else { continue };
        match session.run("ALTER INSTANCE RELOAD TLS", PROMPT).await {
            Ok(()) => {
                tracing::info!("mysqld took the new certificate");
                in_force = now;
            }
            Err(why) => tracing::warn!(%why, "mysqld did not take the new certificate; the old one stays in force"),
        }
    }
}

fn contents(config: &Config) -> Vec<Option<Vec<u8>>> {
    ["ca.crt", "tls.crt", "tls.key"].iter().map(|name| std::fs::read(config.tls.join(name)).ok()).collect()
}
