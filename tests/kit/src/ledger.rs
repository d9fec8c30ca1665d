//! What was acknowledged, and whether it is there: the book that writers keep, and the check of every member
//! against it.
//!
//! The check reads the members themselves and believes no report of Grampus's. What it must never do is take
//! rows of unknown outcome for lost or for wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mysql_async::prelude::Queryable;
use tokio::time::Instant;

use crate::cluster::ask_all;
use crate::{Cluster, Member, eventually};

/// How long members may take to catch up before they are compared: a kubelet lets a container that ended often wait for up to
/// five minutes before it starts it again.
const CATCH_UP: Duration = Duration::from_secs(360);

/// What became of a row, as its writer knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The server said OK.
    Acknowledged,
    /// The server said no before it began.
    Failed,
    /// Anything else.
    Unknown,
}

/// One row. Times count from the writers' beginning.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Its key.
    pub key: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// When it was sent.
    pub sent: Duration,
    /// When that was known.
    pub answered: Duration,
}

/// A time without any acknowledged row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// The last acknowledgement before it.
    pub from: Duration,
    /// The first acknowledgement after it.
    pub to: Duration,
}

impl Outage {
    /// How long it was.
    pub fn lasted(&self) -> Duration {
        self.to.saturating_sub(self.from)
    }
}

/// Every row that was sent.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// The table.
    pub table: String,
    /// How long the writers wrote.
    pub lasted: Duration,
    entries: Vec<Entry>,
}

impl Ledger {
    pub(crate) fn new(table: String, lasted: Duration, mut entries: Vec<Entry>) -> Self {
        entries.sort_by_key(|entry| entry.answered);
        Self { table, lasted, entries }
    }

    /// The keys of rows with this outcome.
    pub fn keys(&self, outcome: Outcome) -> BTreeSet<u64> {
        self.entries.iter().filter(|entry| entry.outcome == outcome).map(|entry| entry.key).collect()
    }

    /// How many rows were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.entries.iter().filter(|entry| entry.outcome == Outcome::Acknowledged).count()
    }

    /// How many rows have an unknown outcome.
    pub fn unknown(&self) -> usize {
        self.entries.iter().filter(|entry| entry.outcome == Outcome::Unknown).count()
    }

    /// The first acknowledgement of a row that was sent after `moment`.
    pub fn first_after(&self, moment: Duration) -> Option<Duration> {
        let acknowledged = self.entries.iter().filter(|entry| entry.outcome == Outcome::Acknowledged);
        acknowledged.filter(|entry| entry.sent >= moment).map(|entry| entry.answered).min()
    }

    /// The longest time between two acknowledgements that ended after `moment`. The silence after the last one
    /// does not count: `stop` waits for nobody.
    pub fn longest_outage(&self, moment: Duration) -> Option<Outage> {
        let times: Vec<_> = self
            .entries
            .iter()
            .filter(|entry| entry.outcome == Outcome::Acknowledged)
            .map(|entry| entry.answered)
            .collect();
        let gaps = times.windows(2).map(|pair| Outage { from: pair[0], to: pair[1] });
        gaps.filter(|gap| gap.to >= moment).max_by_key(Outage::lasted)
    }

    /// Waits until all members have the same transactions, then looks for every row on each.
    ///
    /// # Errors
    /// A member could not be asked, or did not catch up. What is missing is in the verdict.
    pub async fn check(&self, cluster: &Cluster) -> Result<Verdict> {
        let members = cluster.members().await?;
        ensure!(!members.is_empty(), "{} has no members to check", cluster.name);
        let primary = cluster.primary().await?;
        let primary = members.iter().find(|member| member.name == primary).context("the primary has no address")?;
        let gtids = caught_up(primary, &members, CATCH_UP).await?;
        let database = cluster.application().await?.database.context("the application has no database")?;
        let mut verdict = Verdict {
            members: Vec::new(),
            acknowledged: self.acknowledged(),
            unknown: self.unknown(),
            missing: Vec::new(),
            wrong: Vec::new(),
            unlike: Vec::new(),
            changes: 0,
        };
        verdict.changes = changes(&self.entries, &servers(primary, &database, &self.table).await?);
        let (acknowledged, failed) = (self.keys(Outcome::Acknowledged), self.keys(Outcome::Failed));
        for member in &members {
            let there = rows(member, &database, &self.table).await?;
            verdict.missing.extend(acknowledged.difference(&there).map(|key| (member.name.clone(), *key)));
            verdict.wrong.extend(failed.intersection(&there).map(|key| (member.name.clone(), *key)));
            verdict.members.push((member.name.clone(), there.len()));
        }
        let sums: Vec<(String, Option<u64>)> =
            ask_all_rows(&members, &format!("CHECKSUM TABLE `{database}`.{}", self.table)).await?;
        if sums.windows(2).any(|pair| pair[0].1 != pair[1].1) {
            verdict.unlike.push(format!("checksums differ: {sums:?}"));
        }
        verdict.unlike.extend(gtids);
        Ok(verdict)
    }

    /// The acknowledged rows that a member lacks at this moment.
    ///
    /// # Errors
    /// The member could not be asked.
    pub async fn missing_on(&self, member: &Member, database: &str) -> Result<usize> {
        let there = rows(member, database, &self.table).await?;
        Ok(self.keys(Outcome::Acknowledged).difference(&there).count())
    }

    /// The rows that had been acknowledged by this moment.
    pub fn acknowledged_by(&self, moment: Duration) -> BTreeSet<u64> {
        let acknowledged = self.entries.iter().filter(|entry| entry.outcome == Outcome::Acknowledged);
        acknowledged.filter(|entry| entry.answered <= moment).map(|entry| entry.key).collect()
    }

    /// Where in this ledger's time a moment lies.
    pub fn moment(began: Instant, moment: Instant) -> Duration {
        moment.saturating_duration_since(began)
    }
}

/// What the members have of what was promised.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// Each member and how many rows it has.
    pub members: Vec<(String, usize)>,
    /// How many rows were acknowledged.
    pub acknowledged: usize,
    /// How many have an unknown outcome; each may be there or not.
    pub unknown: usize,
    /// Rows that were acknowledged and are not there.
    pub missing: Vec<(String, u64)>,
    /// Rows that failed and are there.
    pub wrong: Vec<(String, u64)>,
    /// In what the members differ from one another.
    pub unlike: Vec<String>,
    /// How often another server than the one before acknowledged a row that was sent later. Every change needs an
    /// epoch of its own: more changes than epochs are two writers at once.
    pub changes: u64,
}

impl Verdict {
    /// That nothing is missing, nothing is there that must not be, and all members are alike.
    ///
    /// # Errors
    /// Says what is wrong, with some examples.
    pub fn hold(&self) -> Result<()> {
        let some = |rows: &[(String, u64)]| {
            rows.iter().take(5).map(|(member, key)| format!("{key:#x} on {member}")).collect::<Vec<_>>().join(", ")
        };
        ensure!(
            self.missing.is_empty(),
            "{} acknowledged rows are missing, such as {}",
            self.missing.len(),
            some(&self.missing)
        );
        ensure!(
            self.wrong.is_empty(),
            "{} rows are there though they failed, such as {}",
            self.wrong.len(),
            some(&self.wrong)
        );
        ensure!(self.unlike.is_empty(), "the members differ: {}", self.unlike.join("; "));
        Ok(())
    }
}

/// Waits until every member has what the primary has. Says what a member has beyond that.
///
/// # Errors
/// One does not catch up within the limit.
pub async fn caught_up(primary: &Member, members: &[Member], limit: Duration) -> Result<Vec<String>> {
    let mut beyond = Vec::new();
    let executed: String = primary.ask("SELECT @@GLOBAL.gtid_executed").await?;
    let executed = executed.replace(char::is_whitespace, "");
    let wait = format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{executed}', 5)");
    eventually("every member to have what the primary has", limit, || async {
        let answers: Vec<i64> = ask_all(members, &wait).await?;
        Ok(answers.iter().all(|answer| *answer == 0).then_some(()))
    })
    .await?;
    // The primary may have gone on meanwhile; what it has now bounds what the others may have had before.
    let sets: Vec<String> = ask_all(members, "SELECT @@GLOBAL.gtid_executed").await?;
    for (member, set) in members.iter().zip(sets) {
        let set = set.replace(char::is_whitespace, "");
        let more: String = primary.ask(&format!("SELECT GTID_SUBTRACT('{set}', @@GLOBAL.gtid_executed)")).await?;
        if !more.is_empty() {
            beyond.push(format!("{} has {more}, which {} has not", member.name, primary.name));
        }
    }
    Ok(beyond)
}

/// How often the acknowledging server changed at least, given which server committed each row: the longest row of
/// acknowledged entries in which each was sent after the one before was answered, by another server.
fn changes(entries: &[Entry], servers: &BTreeMap<u64, String>) -> u64 {
    // They are sorted by when they were answered, so the first that fits is always the best.
    let mut acknowledged = entries
        .iter()
        .filter(|entry| entry.outcome == Outcome::Acknowledged)
        .filter_map(|entry| Some((entry, servers.get(&entry.key)?)));
    let Some((mut last, mut by)) = acknowledged.next() else { return 0 };
    let mut changes = 0;
    for (entry, server) in acknowledged {
        if server != by && entry.sent > last.answered {
            (last, by) = (entry, server);
            changes += 1;
        }
    }
    changes
}

/// The server that committed each row.
async fn servers(member: &Member, database: &str, table: &str) -> Result<BTreeMap<u64, String>> {
    let mut conn = member.login.connect().await.with_context(|| member.name.clone())?;
    let rows: Vec<(u64, String)> = conn
        .query(format!("SELECT k, server FROM `{database}`.{table}"))
        .await
        .with_context(|| format!("reading {table} on {}", member.name))?;
    let _ = conn.disconnect().await;
    Ok(rows.into_iter().collect())
}

async fn rows(member: &Member, database: &str, table: &str) -> Result<BTreeSet<u64>> {
    let mut conn = member.login.connect().await.with_context(|| member.name.clone())?;
    let rows: Vec<u64> = conn
        .query(format!("SELECT k FROM `{database}`.{table}"))
        .await
        .with_context(|| format!("reading {table} on {}", member.name))?;
    let _ = conn.disconnect().await;
    Ok(rows.into_iter().collect())
}

/// The second column of one row, from every member.
async fn ask_all_rows(members: &[Member], query: &str) -> Result<Vec<(String, Option<u64>)>> {
    let mut all = Vec::new();
    for member in members {
        let mut conn = member.login.connect().await?;
        let row: Option<(String, Option<u64>)> =
            conn.query_first(query).await.with_context(|| format!("{}: {query}", member.name))?;
        let _ = conn.disconnect().await;
        all.push((member.name.clone(), row.and_then(|(_, sum)| sum)));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: u64, outcome: Outcome, answered: u64) -> Entry {
        Entry {
            key,
            outcome,
            sent: Duration::from_millis(answered.saturating_sub(1)),
            answered: Duration::from_millis(answered),
        }
    }

    #[test]
    fn an_outage_is_between_acknowledgements_and_nothing_else_ends_it() {
        let entries = vec![
            entry(1, Outcome::Acknowledged, 10),
            entry(2, Outcome::Acknowledged, 300),
            entry(4, Outcome::Acknowledged, 1_100),
            entry(3, Outcome::Unknown, 700),
            entry(5, Outcome::Failed, 900),
            entry(6, Outcome::Acknowledged, 1_110),
        ];
        let ledger = Ledger::new("t".to_owned(), Duration::from_secs(2), entries);
        let outage = ledger.longest_outage(Duration::from_millis(320)).unwrap();
        assert_eq!(outage.lasted(), Duration::from_millis(800));
        assert_eq!(ledger.longest_outage(Duration::from_millis(1_105)).unwrap().lasted(), Duration::from_millis(10));
        assert_eq!((ledger.acknowledged(), ledger.unknown()), (4, 1));
        assert_eq!(ledger.first_after(Duration::from_millis(299)), Some(Duration::from_millis(300)));
        assert_eq!(ledger.first_after(Duration::from_millis(300)), Some(Duration::from_millis(1_100)));
    }

    #[test]
    fn a_server_that_acknowledges_after_its_successor_is_one_change_too_many() {
        let servers = |by: &[(u64, &str)]| by.iter().map(|(key, server)| (*key, (*server).to_owned())).collect();
        let entries: Vec<_> = (1..=4).map(|key| entry(key, Outcome::Acknowledged, key * 100)).collect();
        assert_eq!(changes(&entries, &servers(&[(1, "a"), (2, "a"), (3, "b"), (4, "b")])), 1);
        assert_eq!(changes(&entries, &servers(&[(1, "a"), (2, "b"), (3, "a"), (4, "b")])), 3);
        // An OK that was read late was not given late.
        let late = Entry { sent: Duration::from_millis(50), ..entries[2] };
        let entries = [entries[0], entries[1], late, entries[3]];
        assert_eq!(changes(&entries, &servers(&[(1, "a"), (2, "b"), (3, "a"), (4, "b")])), 1);
    }

    #[test]
    fn a_row_that_is_missing_or_should_be_is_told() {
        let good = Verdict {
            members: Vec::new(),
            acknowledged: 1,
            unknown: 0,
            missing: Vec::new(),
            wrong: Vec::new(),
            unlike: Vec::new(),
            changes: 0,
        };
        good.hold().unwrap();
        let missing = Verdict { missing: vec![("shop-1".to_owned(), 7)], ..good.clone() };
        assert!(missing.hold().unwrap_err().to_string().contains("0x7 on shop-1"));
        let wrong = Verdict { wrong: vec![("shop-2".to_owned(), 8)], ..good.clone() };
        assert!(wrong.hold().is_err());
        assert!(Verdict { unlike: vec!["x".to_owned()], ..good }.hold().is_err());
    }
}
