//! MySQL Group Replication beside Grampus, on the same computer, image and nodes: how long writes stop when its
//! primary is killed, with its defaults and with its fastest sane settings.
//!
//! Nothing routes to a group's primary by itself, so its writers know all members and try one after the other: the
//! best that a router could do for it.

use std::time::Duration;

use anyhow::{Context, Result};
use kit::{Cluster, Ledger, Load, Login, Plain, Steps, Writer, eventually};
use tokio::time::sleep;

use crate::figures::Report;

/// How long a group may take to be whole.
const WHOLE: Duration = Duration::from_secs(180);

/// What a group needs besides its defaults. The name only has to be some UUID. A server that was killed begins read-only,
/// as its manual advises: else it takes writes of its own until it is a member again, and then never becomes one.
const NEEDED: &str = "--plugin-load-add=group_replication.so --report-host=$POD_IP --super-read-only=ON \
    --loose-group-replication-group-name=6f1c0f6e-2f7e-4d38-9f0f-7b3f1a6b8c11 \
    --loose-group-replication-local-address=$POD_IP:33061 --loose-group-replication-start-on-boot=OFF \
    --loose-group-replication-ip-allowlist=0.0.0.0/0 --loose-group-replication-recovery-get-public-key=ON";

/// Settings under which it is measured.
const SETTINGS: [(&str, &str); 2] = [
    ("defaults", ""),
    // No waiting after a suspicion, and as many appliers as Grampus uses.
    ("fastest", "--loose-group-replication-member-expel-timeout=0 --replica-parallel-workers=16"),
];

/// Kills the primary of a group again and again, under each of the settings.
pub async fn kills(steps: &Steps, cluster: &Cluster, times: usize, report: &mut Report) -> Result<()> {
    if times == 0 {
        return Ok(());
    }
    for (words, settings) in SETTINGS {
        let step = steps.begin(&format!("Group Replication, {words}"));
        let plain = Plain::raise(cluster, &format!("{NEEDED} {settings}")).await?;
        let gaps = gaps(&step, &plain, times).await.map_err(|error| error.context(last_words(cluster, &plain)));
        plain.remove().await?;
        report.add(&format!("Group Replication ({words}), mysqld killed: gap between acknowledged writes"), gaps?);
        step.done();
    }
    Ok(())
}

/// What its servers wrote last: why a group does not come about is said nowhere else.
fn last_words(cluster: &Cluster, plain: &Plain) -> String {
    let log = |number| {
        let pod = format!("{}-{number}", cluster.name);
        let lines = cluster.env().kubectl(&["-n", &cluster.namespace, "logs", &pod, "--tail=15"]);
        format!("--- {pod}\n{}", lines.unwrap_or_else(|error| format!("{error:#}")))
    };
    (0..plain.members.len()).map(log).collect::<Vec<_>>().join("\n")
}

async fn gaps(step: &kit::Step, plain: &Plain, times: usize) -> Result<Vec<Duration>> {
    let seeds: Vec<_> = plain.members.iter().map(|member| format!("{}:33061", member.login.host)).collect();
    // For the life of a server only: one that was killed is told again.
    let seeds = format!("SET GLOBAL group_replication_group_seeds='{}'", seeds.join(","));
    let recovery = format!(
        "CHANGE REPLICATION SOURCE TO SOURCE_USER='root', SOURCE_PASSWORD='{}' FOR CHANNEL 'group_replication_recovery'",
        plain.members[0].login.password
    );
    for member in &plain.members {
        // What initialization left differs from member to member, and a group wants no history of a member's own.
        member.run(&["SET GLOBAL super_read_only=OFF", "RESET BINARY LOGS AND GTIDS", &seeds, &recovery]).await?;
    }
    plain.members[0]
        .run(&[
            "SET GLOBAL group_replication_bootstrap_group=ON",
            "START GROUP_REPLICATION",
            "SET GLOBAL group_replication_bootstrap_group=OFF",
        ])
        .await?;
    for member in &plain.members[1..] {
        member.run(&["START GROUP_REPLICATION"]).await?;
    }
    let mut gaps = Vec::new();
    for number in 1..=times {
        step.tell(&format!("{number} of {times}"));
        gaps.push(one_kill(plain, &seeds).await?);
    }
    Ok(gaps)
}

async fn one_kill(plain: &Plain, seeds: &str) -> Result<Duration> {
    let primary = whole(plain).await?;
    // The primary first, so that the table can be made.
    let logins: Vec<Login> = (0..plain.members.len()).map(|step| plain.login((primary + step) % 3)).collect();
    let mut writer = Writer::start_at(logins, Load::default()).await?;
    writer.wait_rows(100, WHOLE).await?;
    let began = writer.began();
    let killed = Ledger::moment(began, plain.kill(primary).await?);
    writer.wait_rows(200, WHOLE).await?;
    sleep(Duration::from_secs(1)).await;
    let ledger = writer.stop().await?;
    let gap = ledger.longest_outage(killed).context("nothing was written after the kill")?;
    plain.up(primary).await?.run(&[seeds, "START GROUP_REPLICATION"]).await?;
    whole(plain).await?;
    Ok(gap.lasted())
}

/// Waits until every member is online, and says which one leads.
async fn whole(plain: &Plain) -> Result<usize> {
    eventually("the group to be whole", WHOLE, || async {
        for (number, member) in plain.members.iter().enumerate() {
            let leads: i64 = member
                .ask(
                    "SELECT COUNT(*) FROM performance_schema.replication_group_members \
                     WHERE MEMBER_ID = @@server_uuid AND MEMBER_ROLE = 'PRIMARY' AND MEMBER_STATE = 'ONLINE'",
                )
                .await?;
            let online: i64 = member
                .ask("SELECT COUNT(*) FROM performance_schema.replication_group_members WHERE MEMBER_STATE = 'ONLINE'")
                .await?;
            if leads == 1 && online == 3 {
                return Ok(Some(number));
            }
        }
        Ok(None)
    })
    .await
}
