use super::*;
use crate::choose::Part;

const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

fn range(last: u64) -> GtidSet {
    format!("{UUID}:1-{last}").parse().unwrap()
}

fn sums(rows: u64, sum: &str) -> Vec<TableSum> {
    vec![TableSum { table: "shop.orders".to_owned(), rows, sum: sum.to_owned() }]
}

fn done(last: u64, rows: u64, sum: &str) -> CheckJob {
    let state = CheckState::Done { tables_total: 1, rows, tables: sums(rows, sum) };
    CheckJob { id: "one".to_owned(), gtids: Some(range(last)), state }
}

fn state(state: CheckState) -> Option<CheckJob> {
    Some(CheckJob { id: "one".to_owned(), gtids: Some(range(50)), state })
}

fn running() -> CheckState {
    CheckState::Running { tables_done: 1, tables_total: 7, rows: 12 }
}

fn failed(table: Option<&str>) -> CheckState {
    CheckState::Failed { table: table.map(str::to_owned), error: "lost".to_owned() }
}

/// A cluster that is archived as far as 60, with a backup of 40.
fn seen() -> Seen {
    let member = |name: &str, part| {
        let acknowledges = part == Part::Replica;
        (Candidate { name: name.to_owned(), part, unfit: None, acknowledges, lag_s: 0 }, None)
    };
    Seen {
        id: "one".to_owned(),
        is_over: false,
        members: vec![
            member("shop-0", Part::Primary),
            member("shop-1", Part::Replica),
            member("shop-2", Part::Replica),
        ],
        acks: 1,
        newest: Ok(Some(Newest { path: "full/1".to_owned(), at_most: range(40), covered: Some(range(60)) })),
        instance: None,
        was_made: false,
    }
}

fn serving(gtids: Option<GtidSet>, check: Option<CheckJob>) -> Option<Instance> {
    Some(Instance { state: InstanceState::Serving { server_uuid: Uuid::from_u128(7) }, gtids, check })
}

fn told(seen: &Seen) -> String {
    match next(seen) {
        Next::Tell(what) => what,
        other => panic!("{other:?}"),
    }
}

fn end(seen: &Seen) -> End {
    match next(seen) {
        Next::End(end) => end,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_replica_is_checked_once_it_has_what_is_in_the_backup_and_then_all_of_that_is_recovered() {
    let mut seen = seen();
    let Next::CheckSource { choice, at_least } = next(&seen) else { panic!("{:?}", next(&seen)) };
    assert_eq!((choice.member.as_str(), at_least), ("shop-2", range(40)));
    seen.members[2].1 = Some(CheckJob { id: "one".to_owned(), gtids: None, state: running() });
    assert!(told(&seen).contains("quiet moment on shop-2"));
    seen.members[2].1 = Some(CheckJob { id: "one".to_owned(), gtids: Some(range(61)), state: running() });
    assert!(told(&seen).contains(":61 are archived"), "{}", told(&seen));
    seen.members[2].1 = Some(CheckJob { id: "one".to_owned(), gtids: Some(range(60)), state: running() });
    assert_eq!(next(&seen), Next::Make { path: "full/1".to_owned(), gtids: Some(range(60)) });
}

#[test]
fn without_an_archive_nobody_is_checked_and_every_row_of_the_backup_is_read() {
    let mut seen = seen();
    seen.newest = Ok(Some(Newest { path: "full/1".to_owned(), at_most: range(40), covered: None }));
    assert_eq!(next(&seen), Next::Make { path: "full/1".to_owned(), gtids: None });
    seen.instance = serving(None, None);
    assert_eq!(next(&seen), Next::CheckInstance);
    seen.instance = serving(None, Some(done(40, 9, "a")));
    assert_eq!(end(&seen), End::Succeeded(Proof { with: None, tables: 1, rows: 9 }));
}

#[test]
fn what_was_restored_is_what_it_was_or_the_table_is_named_with_both_values() {
    let mut seen = seen();
    seen.members[2].1 = Some(done(60, 9, "a"));
    seen.instance = serving(Some(range(60)), Some(done(60, 9, "a")));
    assert_eq!(end(&seen), End::Succeeded(Proof { with: Some("shop-2".to_owned()), tables: 1, rows: 9 }));
    for (rows, sum, says) in [(9, "b", "9 rows with checksum b restored"), (8, "a", "8 rows with checksum a restored")]
    {
        seen.instance = serving(Some(range(60)), Some(done(60, rows, sum)));
        let End::Failed(why) = end(&seen) else { panic!("{:?}", end(&seen)) };
        assert!(why.contains("shop.orders: 9 rows with checksum a on shop-2") && why.contains(says), "{why}");
    }
    let other = [TableSum { table: "shop.more".to_owned(), rows: 1, sum: "c".to_owned() }];
    let why = compare("shop-2", &sums(9, "a"), &other).unwrap_err();
    assert!(why.contains("shop.orders") && why.contains("shop.more: no such table on shop-2, 1 rows"), "{why}");
}

#[test]
fn what_says_nothing_about_the_backup_is_no_failure_of_it() {
    let mut seen = seen();
    seen.members[2].1 = state(failed(None));
    assert!(matches!(end(&seen), End::Inconclusive(why) if why == "shop-2: lost"));
    // Its agent was restarted.
    seen.members[2].1 = None;
    seen.instance = serving(Some(range(60)), Some(done(60, 9, "a")));
    assert!(matches!(end(&seen), End::Inconclusive(why) if why.contains("restarted")));
    // Another set than was meant.
    seen.members[2].1 = Some(done(60, 9, "a"));
    seen.instance = serving(Some(range(60)), Some(done(59, 9, "b")));
    assert!(matches!(end(&seen), End::Inconclusive(why) if why.contains(":60 lack")));
    seen.instance = serving(Some(range(60)), state(failed(None)));
    assert!(matches!(end(&seen), End::Inconclusive(_)));
    // Nobody else touches what was restored.
    seen.instance = serving(Some(range(60)), state(failed(Some("shop.orders"))));
    assert!(matches!(end(&seen), End::Failed(why) if why.contains("shop.orders cannot be read")));
}

#[test]
fn what_the_restored_server_committed_for_itself_is_no_difference() {
    let mut seen = seen();
    seen.members[2].1 = Some(done(60, 9, "a"));
    let own: GtidSet = format!("{}:1-2", Uuid::from_u128(7)).parse().unwrap();
    let check = CheckJob { gtids: Some(range(60).union(&own)), ..done(60, 9, "a") };
    seen.instance = serving(Some(range(60)), Some(check));
    assert!(matches!(end(&seen), End::Succeeded(_)));
}

#[test]
fn a_recovery_that_fails_is_a_drill_that_fails_and_so_is_one_that_somebody_removed() {
    let mut seen = seen();
    let instance = |state| Some(Instance { state, gtids: Some(range(60)), check: None });
    seen.instance = instance(InstanceState::Making("downloading 7 %".to_owned()));
    assert_eq!(told(&seen), "recovering: downloading 7 %");
    seen.is_over = true;
    assert!(matches!(end(&seen), End::Failed(why) if why.contains("downloading 7 %")));
    seen.instance = instance(InstanceState::Failed("parts/000000 is damaged".to_owned()));
    assert_eq!(end(&seen), End::Failed("parts/000000 is damaged".to_owned()));
    (seen.instance, seen.was_made) = (None, true);
    assert!(matches!(end(&seen), End::Failed(why) if why.contains("somebody removed")));
}

#[test]
fn time_that_is_over_says_nothing_of_a_backup_that_nobody_could_look_at() {
    let mut seen = seen();
    for (candidate, _) in &mut seen.members {
        candidate.unfit = Some("its agent cannot check its tables".to_owned());
    }
    assert!(told(&seen).contains("cannot check its tables"));
    seen.is_over = true;
    assert!(matches!(end(&seen), End::Inconclusive(why) if why.contains("cannot check its tables")));
    seen.newest = Ok(None);
    assert!(matches!(end(&seen), End::Failed(why) if why.contains("no backup")));
    seen.newest = Err("refused".to_owned());
    assert!(matches!(end(&seen), End::Failed(why) if why.contains("the store: refused")));
    seen.instance = serving(Some(range(60)), state(running()));
    assert!(matches!(end(&seen), End::Inconclusive(_)));
}

#[test]
fn one_check_of_a_cluster_after_the_other() {
    let mut seen = seen();
    seen.members[1].1 = Some(CheckJob { id: "other".to_owned(), gtids: None, state: running() });
    assert!(told(&seen).contains("shop-1 is being checked for another drill"));
    seen.members[1].1 = Some(CheckJob { id: "other".to_owned(), gtids: None, state: failed(None) });
    assert!(matches!(next(&seen), Next::CheckSource { .. }));
}
