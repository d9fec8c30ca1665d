//! What happens in the demo, in order.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kit::{Cluster, Environment, Ledger, Load, Operator, Packed, PolicyModule, Verdict, Writer, eventually};
use objects::api::{AnswerStatus, FailoverStatus, MysqlClusterStatus, names};
use objects::conditions::POLICY_READY;

use crate::fit::{self, Before};
use crate::stage::{Stage, indented, seconds, table};

const NAMESPACE: &str = "default";
const NAME: &str = "shop";

/// How long three members may take to come up on a busy computer.
const COMING_UP: Duration = Duration::from_secs(240);
/// How long a failover may take before the demo gives up on it. What it did take is shown.
const FAILOVER: Duration = Duration::from_secs(60);
/// How long a former primary may take to be a replica again.
const REJOIN: Duration = Duration::from_secs(120);
/// How long a new module may take to decide.
const SWAP: Duration = Duration::from_secs(30);

/// Plays all of it.
pub async fn play(stage: &Stage, env: &Arc<Environment>, policy: &PolicyModule) -> Result<()> {
    let cluster = Cluster::named(env, NAMESPACE, NAME);
    coming_up(stage, &cluster).await?;
    let before = killing(stage, &cluster).await?;
    let before = Before { operators: before.operators, members: cluster.fingerprints().await? };
    swapping(stage, &cluster, policy, &before).await?;
    looking_around(stage, &cluster).await
}

async fn coming_up(stage: &Stage, cluster: &Cluster) -> Result<()> {
    stage.chapter("A cluster comes up");
    let step = stage.steps.begin("making room: removing what an earlier demo left");
    cluster.delete_policy("prefer-zone").await?;
    cluster.remove().await?;
    step.done();
    stage.command("kubectl apply -f deploy/examples/shop.yaml");
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/examples/shop.yaml");
    stage.quote(&std::fs::read_to_string(manifest).context("deploy/examples/shop.yaml cannot be read")?);
    let said =
        cluster.env().kubectl(&["-n", NAMESPACE, "apply", "--server-side", "--force-conflicts", "-f", manifest])?;
    stage.quote(&said);
    let step = stage.steps.begin("three members: the first is made, the others are cloned from it");
    let waiting = cluster.wait_serving(3, COMING_UP);
    tokio::pin!(waiting);
    let mut told = String::new();
    loop {
        tokio::select! {
            came = &mut waiting => { came?; break }
            () = tokio::time::sleep(Duration::from_millis(300)) => {}
        }
        let Ok(status) = cluster.status().await else { continue };
        if stage.steps.terminal() {
            step.tell(&format!("{} ready\n{}", status.ready, indented(&members(&status))));
        } else if status.ready != told {
            stage.say(&format!("{} members ready", status.ready));
            told = status.ready;
        }
    }
    step.done();
    show_members(cluster).await?;
    stage.command("kubectl get myc");
    stage.quote(&cluster.env().kubectl(&["-n", NAMESPACE, "get", "myc"])?);
    Ok(())
}

async fn killing(stage: &Stage, cluster: &Cluster) -> Result<Before> {
    stage.chapter("The primary's mysqld is killed while applications write");
    let operator = Operator::of(cluster.env());
    let operators = operator.fingerprints().await?;
    let primary = cluster.primary().await?;
    let epoch = cluster.record().await?.epoch;
    let members = cluster.fingerprints().await?;
    let step = stage.steps.begin("four writers send rows to the Service shop-primary");
    let mut writer = Writer::start(cluster, Load::default()).await?;
    writer.wait_rows(300, FAILOVER).await?;
    step.done_with(&format!("{} rows acknowledged", writer.acknowledged()));
    let began = writer.began();
    stage.command(&format!("kill -9 (mysqld in pod {primary})"));
    let step = stage.steps.begin("failing over");
    let killed = Ledger::moment(began, cluster.kill_mysqld(&primary).await?);
    cluster
        .wait_for("another primary", FAILOVER, || async {
            let record = cluster.record().await?;
            Ok((record.epoch > epoch && cluster.primary().await.is_ok()).then_some(()))
        })
        .await?;
    writer.wait_rows(300, FAILOVER).await?;
    let chosen = cluster.primary().await?;
    step.done_with(&format!("{chosen} leads"));
    let step = stage.steps.begin(&format!("{primary} comes back as a replica"));
    cluster.wait_serving(3, REJOIN).await?;
    step.done();
    let ledger = writer.stop().await?;
    let (answer, failover) = what_was_decided(cluster, &primary).await?;
    ensure!(chosen != primary, "{primary} leads again, though its mysqld was killed");
    ensure!(failover.to == chosen, "the status says {} was chosen, and {chosen} leads", failover.to);
    stage.fact("chosen", &chosen);
    stage.fact("why", answer.reason.as_deref().unwrap_or("the policy gave no reason"));
    stage.fact("decided by", &policy_in_words(&cluster.status().await?));
    stage.fact("noticed", &failover.cause);
    let outage = ledger.longest_outage(killed).context("no row was acknowledged after the kill")?;
    stage.fact("writes stopped for", &seconds(outage.lasted()));
    check(stage, cluster, &ledger).await?;
    let now = cluster.fingerprints().await?;
    fit::only_one_mysqld_is_new(&members, &now, &primary)?;
    show_members(cluster).await?;
    Ok(Before { operators, members })
}

async fn what_was_decided(cluster: &Cluster, former: &str) -> Result<(AnswerStatus, FailoverStatus)> {
    cluster
        .wait_for("the status to tell of the failover", SWAP, || async {
            let status = cluster.status().await?;
            let answer = status.policies.and_then(|policies| policies.primary_selection?.last_answer);
            let failover = status.last_failover.filter(|failover| failover.from == former);
            Ok(answer.zip(failover))
        })
        .await
}

async fn swapping(stage: &Stage, cluster: &Cluster, policy: &PolicyModule, before: &Before) -> Result<()> {
    stage.chapter("Another judgement, while everything runs");
    let primary = cluster.primary().await?;
    let status = cluster.status().await?;
    let (zones, default, preferred) = fit::zones(&status, &primary)?;
    let writer = Writer::start(cluster, Load::default()).await?;
    stage.say(&format!(
        "{primary} leads. All replicas being equal, the default would move to {default}, the lowest number."
    ));
    stage.say(&format!("prefer-zone with zones [{}] has to choose {preferred} instead.", zones.join(", ")));
    stage.command("kubectl apply --server-side -f prefer-zone.yaml    # a ConfigMap with the module, zstd");
    cluster.apply_policy("prefer-zone", "policy.wasm.zst", &policy.packed, Packed::Labelled).await?;
    stage.say(&format!(
        "{} bytes of WebAssembly in {} bytes of ConfigMap",
        policy.component.len(),
        policy.packed.len()
    ));
    stage.command("kubectl patch myc shop --type=merge -p '{spec: {policies: {primarySelection: …}}}'");
    let spec = serde_json::json!({ "policies": { "primarySelection": {
        "module": { "configMap": { "name": "prefer-zone", "key": "policy.wasm.zst" } },
        "settings": { "zones": zones },
    }}});
    cluster.patch_spec(spec).await?;
    let step = stage.steps.begin("compiled in a child process, rehearsed, swapped in");
    let ready = cluster
        .wait_for("prefer-zone to be in force", SWAP, || async {
            let condition = cluster.condition(POLICY_READY).await?;
            Ok(condition.filter(|condition| condition.status == "True" && condition.message.contains("prefer-zone")))
        })
        .await?;
    step.done_with(&ready.message);
    stage.command("kubectl grampus switchover shop");
    let output = cluster.env().plugin(&["switchover", NAME, "-n", NAMESPACE])?;
    stage.quote(&String::from_utf8_lossy(&output.stdout));
    ensure!(output.status.success(), "the switchover failed: {}", String::from_utf8_lossy(&output.stderr));
    let chosen = cluster.primary().await?;
    ensure!(chosen == preferred, "prefer-zone should have chosen {preferred}, and {chosen} leads");
    let status = cluster.wait_for("the answer of prefer-zone", SWAP, || async {
        let status = cluster.status().await?;
        let policy = status.policies.as_ref().and_then(|policies| policies.primary_selection.as_ref());
        let answered = policy
            .and_then(|policy| policy.last_answer.as_ref())
            .is_some_and(|answer| answer.answer.ends_with(&preferred));
        Ok((answered && status.primary_name() == Some(preferred.as_str())).then_some(status))
    });
    let status = status.await?;
    let policy = status.policies.as_ref().and_then(|policies| policies.primary_selection.as_ref());
    let reason = policy.and_then(|policy| policy.last_answer.as_ref()?.reason.clone()).unwrap_or_default();
    ensure!(reason.contains("zone"), "the answer should be prefer-zone's, and its reason is: {reason}");
    cluster.wait_serving(3, REJOIN).await?;
    let ledger = writer.stop().await?;
    stage.fact("chosen", &chosen);
    stage.fact("why", &reason);
    stage.fact("decided by", &policy_in_words(&status));
    if let Some(outage) = ledger.longest_outage(Duration::ZERO) {
        stage.fact("writes stopped for", &seconds(outage.lasted()));
    }
    check(stage, cluster, &ledger).await?;
    nothing_restarted(stage, cluster, before).await
}

async fn nothing_restarted(stage: &Stage, cluster: &Cluster, before: &Before) -> Result<()> {
    let after =
        Before { operators: Operator::of(cluster.env()).fingerprints().await?, members: cluster.fingerprints().await? };
    let (rows, same) = fit::compare(before, &after);
    stage.table(&["pod", "pod UID", "container", "restarts", "first process @ start", "mysqld @ start", ""], &rows);
    ensure!(same, "something was restarted, though a swap must restart nothing: see the table");
    stage.held("a new policy decided, and no pod, container or process was restarted for it");
    Ok(())
}

async fn check(stage: &Stage, cluster: &Cluster, ledger: &Ledger) -> Result<Verdict> {
    let step = stage.steps.begin("looking for every acknowledged row on every member");
    let verdict = ledger.check(cluster).await?;
    step.done();
    let rows: Vec<_> = verdict
        .members
        .iter()
        .map(|(member, rows)| {
            let missing = verdict.missing.iter().filter(|(name, _)| name == member).count();
            vec![member.clone(), verdict.acknowledged.to_string(), rows.to_string(), missing.to_string()]
        })
        .collect();
    stage.table(&["member", "acknowledged", "rows there", "missing"], &rows);
    ensure!(verdict.members.len() == 3, "only {} members could be checked", verdict.members.len());
    verdict.hold()?;
    stage.held(&format!(
        "no acknowledged row is missing on any member ({} acknowledged, {} without an answer)",
        verdict.acknowledged, verdict.unknown
    ));
    Ok(verdict)
}

async fn show_members(cluster: &Cluster) -> Result<()> {
    let status = eventually("the status to name every role", SWAP, || async {
        let status = cluster.status().await?;
        Ok((status.ready_members == Some(3)).then_some(status))
    });
    println!("{}", indented(&members(&status.await?)));
    Ok(())
}

fn members(status: &MysqlClusterStatus) -> String {
    let rows: Vec<_> = status
        .members
        .iter()
        .map(|member| {
            let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
            let lag = member.lag_transactions.map_or_else(|| "-".to_owned(), |lag| lag.to_string());
            let ready = if member.ready { "yes" } else { "no" };
            vec![
                member.name.clone(),
                format!("{:?}", member.role),
                ready.to_owned(),
                text(&member.node),
                text(&member.zone),
                lag,
            ]
        })
        .collect();
    table(&["member", "role", "ready", "node", "zone", "behind"], &rows)
}

fn policy_in_words(status: &MysqlClusterStatus) -> String {
    let policy = status.policies.as_ref().and_then(|policies| policies.primary_selection.as_ref());
    policy.map_or_else(|| "-".to_owned(), |policy| format!("{} {}, {}", policy.name, policy.version, policy.source))
}

async fn looking_around(stage: &Stage, cluster: &Cluster) -> Result<()> {
    stage.chapter("Look around");
    let login = cluster.application().await?;
    let mysql = format!(
        "MYSQL_PWD=$(./lab kubectl get secret {} -o jsonpath={{.data.password}} | base64 -d) \\\n      ./lab exec -- mysql \
         -h {NAME}-primary.{NAMESPACE}.svc.cluster.local -u {} {}",
        names::app_secret(NAME),
        login.user,
        login.database.unwrap_or_default()
    );
    for command in [
        "./lab kubectl get myc,myt,myo,pods -o wide",
        "./lab kubectl describe myc shop",
        "./lab kubectl grampus status shop",
        "./lab kubectl grampus switchover shop --to shop-0",
        &mysql,
        "./lab status",
        "./lab node crash node-1     # and: ./lab node start node-1",
        "make demo-down              # removes every trace",
    ] {
        stage.command(command);
    }
    stage.finished();
    Ok(())
}
