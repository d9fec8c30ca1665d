//! What must never be cut, on logs made by hand; that mysqld rolls back what is, is shown on a real one.

use mysql_async::binlog::EventType;

use super::*;
use crate::binlog::tests::{Log, SERVER};

/// One log in a directory of its own, with ten transactions in files before it.
struct Case {
    dir: tempfile::TempDir,
    log: Log,
}

impl Case {
    fn in_use(in_use: bool) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), log: Log::described(in_use) }
    }

    fn excess(&self, keep: &str) -> Excess {
        std::fs::write(self.dir.path().join("binlog.000002"), &self.log.0).unwrap();
        excess(self.dir.path(), "binlog", &set(keep), &[SERVER.parse().unwrap()]).unwrap()
    }

    fn why_not(&self, keep: &str) -> String {
        match self.excess(keep) {
            Excess::Unfit(why) => why,
            other => panic!("it would be cut: {other:?}"),
        }
    }
}

fn set(numbers: &str) -> GtidSet {
    format!("{SERVER}:{numbers}").parse().unwrap()
}

#[test]
fn a_tail_is_saved_as_a_log_and_cut_at_its_first_transaction() {
    let mut case = Case::in_use(true);
    let beginning = case.log.0.len();
    case.log.row(11);
    let position = case.log.0.len();
    case.log.row(12);
    case.log.row(13);
    let Excess::Tail(tail) = case.excess("1-11") else { panic!("nothing to cut") };
    assert_eq!((tail.position, &tail.transactions), (position as u64, &set("12-13")));

    let saved = cut(&tail, &case.dir.path().join("trimmed")).unwrap();
    assert_eq!(std::fs::read(&tail.file).unwrap(), case.log.0[..position], "the log ends before the tail");
    let saved = std::fs::read(saved).unwrap();
    let described = binlog::beginning(&tail.file).unwrap() as usize;
    assert!(described < beginning);
    assert_eq!(saved, [&case.log.0[..described], &case.log.0[position..]].concat());
    case.log.0.truncate(position);
    assert_eq!(case.excess("1-11"), Excess::None, "and there is nothing left to cut");
}

#[test]
fn a_torn_end_goes_with_the_tail_before_it_and_alone_is_left_to_mysqld() {
    let mut case = Case::in_use(true);
    case.log.row(11);
    let position = case.log.0.len() as u64;
    case.log.row(12);
    case.log.0.pop();
    assert_eq!(case.excess("1-11"), Excess::None);
    let Excess::Tail(tail) = case.excess("1-10") else { panic!("nothing to cut") };
    assert!(tail.position < position);
    assert_eq!(tail.transactions, set("11"));
}

#[test]
fn what_is_to_be_kept_after_a_tail_protects_it() {
    let mut case = Case::in_use(true);
    for number in [11, 12, 13] {
        case.log.row(number);
    }
    assert!(case.why_not("1-11:13").contains("is to be kept"));
}

#[test]
fn what_an_older_log_holds_is_not_cut() {
    let mut case = Case::in_use(true);
    case.log.row(11);
    assert!(case.why_not("1-9").contains("older binary log"));
    std::fs::write(case.dir.path().join("binlog.000003"), []).unwrap();
    assert!(case.why_not("1-10").contains("older binary log"), "a newer file has been begun");
}

#[test]
fn what_mysqld_has_committed_in_an_orderly_way_is_not_cut() {
    let mut case = Case::in_use(false);
    case.log.row(11);
    assert!(case.why_not("1-10").contains("orderly"));
}

#[test]
fn only_rows_that_this_server_changed_are_cut() {
    let mut case = Case::in_use(true);
    case.log.row(11);
    std::fs::write(case.dir.path().join("binlog.000002"), &case.log.0).unwrap();
    let strange = excess(case.dir.path(), "binlog", &set("1-10"), &[]).unwrap();
    assert!(matches!(strange, Excess::Unfit(why) if why.contains("did not come from this server")));

    for (statement, end) in [("CREATE TABLE t (a INT)", EventType::XID_EVENT), ("BEGIN", EventType::QUERY_EVENT)] {
        let mut case = Case::in_use(true);
        case.log.row(11);
        case.log.statement(12, statement, end);
        assert!(case.why_not("1-10").contains("no plain change of rows"), "{statement}");
    }
}

#[test]
fn the_oldest_saved_tails_go_first() {
    let mut case = Case::in_use(true);
    let mut positions = Vec::new();
    for number in 11..11 + KEPT as u64 + 3 {
        positions.push(case.log.0.len() as u64);
        case.log.row(number);
    }
    case.excess("1-10");
    let saved = case.dir.path().join("trimmed");
    for position in positions {
        let file = case.dir.path().join("binlog.000002");
        save(&Tail { file, position, transactions: GtidSet::new() }, &saved).unwrap();
    }
    assert_eq!(std::fs::read_dir(&saved).unwrap().count(), KEPT);
}
