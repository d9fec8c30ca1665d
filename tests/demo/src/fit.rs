//! What the demo concludes from what it saw: which zones make the point, and whether anything was restarted.

use anyhow::{Context, Result, ensure};
use kit::{Fingerprint, ProcessFacts};
use objects::api::MysqlClusterStatus;

/// Every pod of the cluster and of the operator.
pub struct Before {
    /// The operator's.
    pub operators: Vec<Fingerprint>,
    /// The members.
    pub members: Vec<Fingerprint>,
}

/// The zones to prefer so that the choice is another than the default's: those zones, the default's choice, and the
/// one that has to come. Among equals the default takes the lowest ordinal.
pub fn zones(status: &MysqlClusterStatus, primary: &str) -> Result<(Vec<String>, String, String)> {
    let replicas: Vec<_> = status.members.iter().filter(|member| member.name != primary).collect();
    let (first, last) = replicas.first().zip(replicas.last()).context("the status names no replicas")?;
    let zone = |member: &objects::api::MemberStatus| {
        member.zone.clone().with_context(|| format!("{} is in no known zone", member.name))
    };
    let (wanted, other) = (zone(last)?, zone(first)?);
    ensure!(
        wanted != other,
        "{} and {} are in the same zone, so a zone cannot choose between them",
        first.name,
        last.name
    );
    Ok((vec![wanted, other], first.name.clone(), last.name.clone()))
}

/// That the kill ended one mysqld and nothing else.
pub fn only_one_mysqld_is_new(before: &[Fingerprint], after: &[Fingerprint], killed: &str) -> Result<()> {
    for (old, new) in before.iter().zip(after) {
        let without_mysqld = |one: &Fingerprint| Fingerprint { mysqld: None, ..one.clone() };
        ensure!(
            without_mysqld(old) == without_mysqld(new),
            "pod {} was restarted, though only a mysqld was killed",
            old.pod
        );
        ensure!((old.mysqld == new.mysqld) == (old.pod != killed), "the mysqld of {} is not the one expected", old.pod);
    }
    ensure!(before.len() == after.len(), "there were {} members and now there are {}", before.len(), after.len());
    Ok(())
}

/// The rows of the table that shows it, and whether everything is the same.
pub fn compare(before: &Before, after: &Before) -> (Vec<Vec<String>>, bool) {
    let all = |set: &Before| set.operators.iter().chain(&set.members).cloned().collect::<Vec<_>>();
    let (old, new) = (all(before), all(after));
    let mut same = old.len() == new.len();
    let rows = new
        .iter()
        .map(|now| {
            let unchanged = old.iter().any(|then| then == now);
            same &= unchanged;
            let mark = if unchanged { "same" } else { "CHANGED" };
            vec![
                now.pod.clone(),
                now.uid.chars().take(8).collect(),
                now.container.chars().take(12).collect(),
                now.restarts.to_string(),
                process(Some(now.first)),
                process(now.mysqld),
                mark.to_owned(),
            ]
        })
        .collect();
    (rows, same)
}

fn process(process: Option<ProcessFacts>) -> String {
    process.map_or_else(|| "-".to_owned(), |process| format!("{} @ {}", process.pid, process.started))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, mysqld: i32) -> Fingerprint {
        let process = |pid| ProcessFacts { pid, started: 7 };
        Fingerprint {
            pod: name.to_owned(),
            uid: "u".to_owned(),
            container: "c".to_owned(),
            restarts: 0,
            first: process(1),
            mysqld: Some(process(mysqld)),
        }
    }

    #[test]
    fn a_kill_may_renew_one_mysqld_and_must() {
        let before = [pod("shop-0", 10), pod("shop-1", 11)];
        only_one_mysqld_is_new(&before, &[pod("shop-0", 20), pod("shop-1", 11)], "shop-0").unwrap();
        assert!(only_one_mysqld_is_new(&before, &before, "shop-0").is_err());
        assert!(only_one_mysqld_is_new(&before, &[pod("shop-0", 20), pod("shop-1", 21)], "shop-0").is_err());
        let restarted = Fingerprint { restarts: 1, ..pod("shop-0", 20) };
        assert!(only_one_mysqld_is_new(&before, &[restarted, pod("shop-1", 11)], "shop-0").is_err());
    }

    #[test]
    fn anything_new_shows_in_the_table() {
        let set = |pid| Before { operators: Vec::new(), members: vec![pod("shop-0", pid)] };
        assert!(compare(&set(1), &set(1)).1);
        let (rows, same) = compare(&set(1), &set(2));
        assert!(!same);
        assert_eq!(rows[0].last().map(String::as_str), Some("CHANGED"));
    }
}
