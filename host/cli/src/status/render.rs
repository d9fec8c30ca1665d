//! From objects to text. Pure: what is shown can be tested without a cluster, a terminal or a clock.

use std::fmt::Write as _;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::ResourceExt as _;
use objects::api::{
    AnswerStatus, ArchiveStatus, DrillResult, DrillStatus, FailoverStatus, MemberRole, MemberStatus, MysqlCluster,
    MysqlClusterStatus, NONE, PolicyStatus, RetentionStatus,
};
use objects::conditions::{ROLLOUT_PENDING, SPEC_VALID, WRITES_BLOCKED, find};
use topology::record::{Phase, Record};

use crate::style::{Style, Tone};

/// How much of a digest tells modules apart.
const DIGEST_CHARACTERS: usize = 12;

/// What there is to show.
pub struct View<'a> {
    /// The cluster with its status.
    pub cluster: &'a MysqlCluster,
    /// The promotion record, if there is one.
    pub record: Option<&'a Record>,
    /// Now, for ages.
    pub now: Timestamp,
}

/// The whole screen.
pub fn render(view: &View<'_>, style: Style) -> String {
    let mut text = title(view, style);
    let Some(status) = &view.cluster.status else {
        let told = "no operator has reported on this cluster yet; is one running? See the Deployment grampus-operator";
        let _ = writeln!(text, "\n{}", style.text(told, Tone::Doubtful));
        return text;
    };
    if !status.members.is_empty() {
        let _ = write!(text, "\n{}", members(status, style));
    }
    let _ = write!(text, "\n{}", facts(view, status, style));
    let wrong: Vec<_> = status.conditions.iter().filter(|condition| is_wrong(condition)).collect();
    if !wrong.is_empty() {
        let _ = write!(text, "\n{}\n{}", style.text("not as it should be", Tone::Bad), conditions(&wrong, style));
    }
    text
}

fn title(view: &View<'_>, style: Style) -> String {
    let cluster = view.cluster;
    let name = format!("{}/{}", cluster.namespace().unwrap_or_default(), cluster.name_any());
    let Some(status) = &cluster.status else { return format!("{name}\n") };
    let whole = status.ready_members.is_some() && status.ready_members == status.replicas;
    let ready = style.text(&format!("{} ready", status.ready), if whole { Tone::Good } else { Tone::Bad });
    let primary = match status.primary_name() {
        Some(primary) => style.text(&format!("{primary} takes writes"), Tone::Leading),
        None => style.text("nobody takes writes", Tone::Bad),
    };
    let mut line = format!("{name}  {ready}  {primary}");
    let wanted = cluster.spec.read_replicas.count;
    if wanted > 0 {
        let ready = status.read_replicas.as_ref().map_or(0, |readers| readers.ready);
        let tone = if ready == wanted { Tone::Good } else { Tone::Doubtful };
        let _ = write!(line, "  {}", style.text(&format!("{ready}/{wanted} read replicas"), tone));
    }
    if cluster.spec.paused {
        let _ = write!(line, "  {}", style.text("paused: nothing is repaired or moved", Tone::Doubtful));
    }
    let seen = status.observed_generation;
    if seen.is_some() && cluster.metadata.generation > seen {
        let _ = write!(line, "  {}", style.text("the newest spec has not been looked at yet", Tone::Doubtful));
    }
    line + "\n"
}

fn members(status: &MysqlClusterStatus, style: Style) -> String {
    let told = everybody(status).any(|member| member.message.is_some());
    let mut headings = vec!["MEMBER", "ROLE", "READY", "NODE", "ZONE", "LAG", "REPLICATION"];
    headings.extend(told.then_some("MESSAGE"));
    let mut table = style.table();
    table.set_header(headings.into_iter().map(|heading| style.cell(heading, Tone::Quiet)));
    for member in everybody(status) {
        let (role, tone) = role(member.role);
        let mut row = vec![
            style.cell(&member.name, tone),
            style.cell(role, tone),
            if member.ready { style.cell("yes", Tone::Plain) } else { style.cell("no", Tone::Bad) },
            style.cell(known(member.node.as_deref()), Tone::Plain),
            style.cell(known(member.zone.as_deref()), Tone::Plain),
            lag(member, style),
            replication(member, style),
        ];
        if told {
            row.push(style.cell(member.message.as_deref().unwrap_or_default(), Tone::Plain));
        }
        table.add_row(row);
    }
    table.trim_fmt() + "\n"
}

/// The members, then the read replicas.
fn everybody(status: &MysqlClusterStatus) -> impl Iterator<Item = &MemberStatus> {
    status.members.iter().chain(status.read_replicas.iter().flat_map(|readers| &readers.members))
}

fn role(role: MemberRole) -> (&'static str, Tone) {
    match role {
        MemberRole::Primary => ("primary", Tone::Leading),
        MemberRole::Replica => ("replica", Tone::Good),
        MemberRole::ReadReplica => ("read replica", Tone::Good),
        MemberRole::Joining => ("joining", Tone::Doubtful),
        MemberRole::Quarantined => ("quarantined", Tone::Bad),
        MemberRole::Unknown => ("unknown", Tone::Bad),
    }
}

fn known(text: Option<&str>) -> &str {
    text.unwrap_or(NONE)
}

/// In transactions: the number that a failover would have to wait for.
fn lag(member: &MemberStatus, style: Style) -> comfy_table::Cell {
    match (member.role, member.lag_transactions) {
        (MemberRole::Primary, _) | (_, None) => style.cell(NONE, Tone::Quiet),
        (_, Some(0)) => style.cell(0, Tone::Plain),
        (_, Some(lag)) => style.cell(lag, Tone::Doubtful),
    }
}

fn replication(member: &MemberStatus, style: Style) -> comfy_table::Cell {
    let (text, tone) = match (member.role, member.receiving, member.applying) {
        (MemberRole::Primary, _, _) | (_, None, None) => (NONE, Tone::Quiet),
        (_, Some(true), Some(true)) => ("receives and applies", Tone::Plain),
        (_, Some(true), _) => ("receives, does not apply", Tone::Bad),
        (_, _, Some(true)) => ("applies, does not receive", Tone::Bad),
        (_, _, _) => ("stopped", Tone::Bad),
    };
    style.cell(text, tone)
}

/// What there is to say beside the members, a subject a row.
fn facts(view: &View<'_>, status: &MysqlClusterStatus, style: Style) -> String {
    let mut table = style.table();
    let mut say = |subject: &str, text: String, tone: Tone| {
        table.add_row([style.cell(subject, Tone::Quiet), style.cell(text, tone)]);
    };
    match view.record {
        Some(record) => {
            let tone = if record.phase == Phase::Serving { Tone::Plain } else { Tone::Doubtful };
            say("record", claim(record), tone);
            say("", promise(record), Tone::Plain);
            if status.epoch.is_some_and(|epoch| u64::try_from(epoch) != Ok(record.epoch)) {
                let epoch = status.epoch.unwrap_or_default();
                say("", format!("the members above are as they were in epoch {epoch}"), Tone::Doubtful);
            }
        }
        None => say("record", "there is none yet".to_owned(), Tone::Doubtful),
    }
    for (number, member) in status.members.iter().filter(|member| member.holds.is_some()).enumerate() {
        let subject = if number == 0 { "known to be held" } else { "" };
        say(subject, format!("{}: {}", member.name, known(member.holds.as_deref())), Tone::Doubtful);
    }
    let policy = status.policies.as_ref().and_then(|policies| policies.primary_selection.as_ref());
    match policy {
        Some(policy) => {
            say("policy", in_force(policy), Tone::Plain);
            if let Some(breaker) = &policy.breaker {
                say("", format!("not asked for now: {breaker}"), Tone::Bad);
            }
            if let Some(failed) = &policy.failed {
                say("", format!("failed: {failed}"), Tone::Bad);
            }
            if let Some(problem) = &policy.problem {
                say("", format!("not in force: {problem}"), Tone::Bad);
            }
            for shadow in &policy.shadows {
                let name = shadow.name.as_ref().map_or_else(String::new, |name| format!("{name}, "));
                say("shadow", format!("{name}{}", shadow.source), Tone::Plain);
                if let Some(problem) = &shadow.problem {
                    say("", format!("not asked: {problem}"), Tone::Bad);
                }
            }
            if let Some(answer) = &policy.last_answer {
                say("last answer", answered(answer, view.now), Tone::Plain);
                let followed = answer.verdict.as_deref().map(|verdict| (verdict.to_owned(), Tone::Doubtful));
                let (verdict, tone) = followed.unwrap_or_else(|| ("it was followed".to_owned(), Tone::Quiet));
                say("", verdict, tone);
            }
        }
        None => say("policy", "not reported yet".to_owned(), Tone::Doubtful),
    }
    let warned = find(&status.conditions, SPEC_VALID).filter(|condition| condition.reason == "ValidWithWarnings");
    if let Some(warned) = warned {
        say("warnings", warned.message.replace(" | ", "\n"), Tone::Doubtful);
    }
    if let Some(archive) = status.backup.as_ref().and_then(|backup| backup.archive.as_ref()) {
        say("archive", archived(archive, view.now), Tone::Plain);
        if let Some(problem) = &archive.problem {
            say("", format!("it does not go on: {problem}"), Tone::Doubtful);
        }
    }
    if let Some(retention) = status.backup.as_ref().and_then(|backup| backup.retention.as_ref()) {
        say("backups", retained(retention, view.now), Tone::Plain);
        if let Some(problem) = &retention.problem {
            say("", format!("not removed: {problem}"), Tone::Doubtful);
        }
    }
    if let Some((drill, backup)) = status.backup.as_ref().and_then(|backup| Some((backup.drill.as_ref()?, backup))) {
        let succeeded = drill.result == Some(DrillResult::Succeeded);
        let tone = if succeeded { Tone::Plain } else { Tone::Doubtful };
        say("drill", drilled(drill, backup.verified_at.as_ref(), view.now), tone);
    }
    match &status.last_failover {
        Some(failover) => say("last change", moved(failover, view.now), Tone::Plain),
        None => say("last change", "the primary was never replaced".to_owned(), Tone::Quiet),
    }
    table.trim_fmt() + "\n"
}

fn archived(archive: &ArchiveStatus, now: Timestamp) -> String {
    let through = archive.through.as_ref().map(|through| format!("its newest commit was made {}", ago(now, through.0)));
    let member = archive.member.as_deref().map_or_else(String::new, |member| format!(", from {member}'s binary log"));
    let lag = match archive.lag_seconds {
        Some(0) => "; nothing is missing".to_owned(),
        Some(lag) => format!("; {lag} s of commits may be missing"),
        None => String::new(),
    };
    format!("{}{member}{lag}", through.as_deref().unwrap_or("no commit is in it yet"))
}

fn retained(retention: &RetentionStatus, now: Timestamp) -> String {
    let fulls = retention.fulls.unwrap_or_default();
    let oldest = retention.oldest.as_ref().map(|oldest| format!(", the oldest ended {}", ago(now, oldest.0)));
    format!("{fulls} are kept{}", oldest.unwrap_or_default())
}

fn drilled(drill: &DrillStatus, verified_at: Option<&Time>, now: Timestamp) -> String {
    let result = match drill.result {
        Some(DrillResult::Succeeded) => "succeeded",
        Some(DrillResult::Failed) => "failed",
        Some(DrillResult::Inconclusive) | None => "found nothing out",
    };
    let when = drill.at.as_ref().map(|at| format!(" {}", ago(now, at.0))).unwrap_or_default();
    let message = drill.message.as_deref().map(|message| format!(": {message}")).unwrap_or_default();
    let before = verified_at.filter(|_| drill.result != Some(DrillResult::Succeeded));
    let before = before.map(|at| format!("; one last succeeded {}", ago(now, at.0))).unwrap_or_default();
    format!("{result}{when}{message}{before}")
}

fn claim(record: &Record) -> String {
    let epoch = format!("epoch {}, generation {}", record.epoch, record.generation);
    let primary = &record.primary;
    match record.phase {
        Phase::Freezing => format!("{epoch}: Freezing, {primary} led last; nobody may open"),
        Phase::Promoting => format!("{epoch}: Promoting {primary}, which alone may open"),
        Phase::Serving if record.primary_since_epoch == record.epoch => format!("{epoch}: Serving, led by {primary}"),
        Phase::Serving => format!("{epoch}: Serving, led by {primary} since epoch {}", record.primary_since_epoch),
    }
}

/// What an acknowledged write is worth by the record.
fn promise(record: &Record) -> String {
    let names: Vec<_> = record.members.iter().map(|member| member.name.as_str()).collect();
    let replicas = if record.acks == 1 { "replica".to_owned() } else { "replicas".to_owned() };
    let mut text = format!("{} vote; a commit waits for {} {replicas}", names.join(", "), record.acks);
    if let Some(raising) = record.raising_acks {
        let _ = write!(text, ", {raising} being introduced");
    }
    for given_up in record.given_up.iter().filter(|given_up| !given_up.servers.is_empty()) {
        let _ =
            write!(text, "; epoch {} went on without what only {} held", given_up.epoch, given_up.members.join(", "));
    }
    if let Some(leaving) = &record.leaving {
        let _ = write!(text, "; {leaving} is leaving");
    }
    text
}

fn in_force(policy: &PolicyStatus) -> String {
    let signed = policy.signed_by.as_ref().map_or_else(String::new, |key| format!(", signed by {key}"));
    format!("{} {} ({}), {}{signed}", policy.name, policy.version, short(&policy.digest), policy.source)
}

/// `sha256:` and the first characters of the digest.
fn short(digest: &str) -> String {
    match digest.split_once(':') {
        Some((kind, hex)) => format!("{kind}:{}", hex.chars().take(DIGEST_CHARACTERS).collect::<String>()),
        None => digest.chars().take(DIGEST_CHARACTERS).collect(),
    }
}

fn answered(answer: &AnswerStatus, now: Timestamp) -> String {
    let reason = answer.reason.as_deref().filter(|reason| !reason.is_empty());
    let reason = reason.map_or(String::new(), |reason| format!(": {reason}"));
    format!("{}{reason} ({})", answer.answer, ago(now, answer.at.0))
}

fn moved(failover: &FailoverStatus, now: Timestamp) -> String {
    let FailoverStatus { from, to, epoch, cause, .. } = failover;
    let took = failover.milliseconds.map_or(String::new(), |took| format!(" in {took} ms"));
    format!("{from} → {to}{took}, epoch {epoch}: {cause} ({})", ago(now, failover.at.0))
}

/// All conditions but two say something good when they are True.
fn is_wrong(condition: &Condition) -> bool {
    let bad_news = [WRITES_BLOCKED, ROLLOUT_PENDING].contains(&condition.type_.as_str());
    let good = if bad_news { "False" } else { "True" };
    condition.status != good
}

fn conditions(wrong: &[&Condition], style: Style) -> String {
    let mut table = style.table();
    for condition in wrong {
        table.add_row([
            style.cell(format!("{}={}", condition.type_, condition.status), Tone::Bad),
            style.cell(&condition.reason, Tone::Plain),
            style.cell(&condition.message, Tone::Plain),
        ]);
    }
    table.trim_fmt() + "\n"
}

/// An age in one unit: whoever reads it wants to know whether it was now, today or long ago.
pub fn ago(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7_200 => format!("{} min ago", seconds / 60),
        7_200..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests;
