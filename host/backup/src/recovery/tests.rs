use super::*;
use crate::layout;
use crate::manifest::sha256;

const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
const ARCHIVE: &str = "store/shop/log/uid";

/// 2026-11-27T13:50:00Z, at which the backup of the tests was begun; it ended seven seconds later.
const BEGAN_S: u64 = 1_795_787_400;

fn range(first: u64, last: u64) -> GtidSet {
    format!("{UUID}:{first}-{last}").parse().unwrap()
}

/// A backup that holds 1 to 40 for sure, and 41 and 42 perhaps.
fn backup() -> Manifest {
    let text = include_str!("../manifest/format-1.json");
    Manifest::read("shop", text.as_bytes(), &sha256(text.as_bytes())).unwrap()
}

fn entry(sequence: u64, first: u64, last: u64, from_s: u64, to_s: u64) -> Entry {
    let entry = serde_json::json!({
        "format": log::FORMAT, "sequence": sequence, "clusterUid": "uid", "member": "shop-1", "serverUuid": UUID,
        "serverVersion": "9.7.4", "before": range(1, first - 1), "gtids": range(first, last),
        "transactions": last + 1 - first, "object": layout::log_data(sequence, "shop-1", "4be0643f"), "size": 3,
        "sha256": sha256(b"log"), "bytes": 300, "firstCommitUnixUs": (BEGAN_S + from_s) * 1_000_000,
        "lastCommitUnixUs": (BEGAN_S + to_s) * 1_000_000, "closedAt": "2026-11-27T14:50:00Z",
    });
    serde_json::from_value(entry).unwrap()
}

/// 31 to 45 until 20 s after the backup was begun, 46 to 60 until 40 s, 61 to 70 until 60 s.
fn chain() -> Vec<Entry> {
    vec![entry(5, 31, 45, 0, 20), entry(6, 46, 60, 20, 40), entry(7, 61, 70, 41, 60)]
}

fn at(seconds: u64) -> RecoveryTarget {
    RecoveryTarget::Time { unix_us: (BEGAN_S + seconds) * 1_000_000 }
}

fn before(number: u64) -> RecoveryTarget {
    RecoveryTarget::BeforeGtid { gtid: range(number, number) }
}

fn numbers(target: &RecoveryTarget) -> Result<Vec<u64>, String> {
    let chain = chain();
    let until = chain.iter().position(|entry| ends_in(entry, target)).map_or(chain.len(), |last| last + 1);
    let way = way(ARCHIVE, &backup(), &range(1, 41), None, &chain[..until], target);
    way.map(|way| way.replay.iter().map(|entry| entry.sequence).collect()).map_err(|why| why.to_string())
}

#[test]
fn what_is_replayed_ends_with_the_segment_in_which_the_target_lies() {
    assert_eq!(numbers(&RecoveryTarget::End), Ok(vec![5, 6, 7]));
    assert_eq!(numbers(&at(10)), Ok(vec![5]));
    assert_eq!(numbers(&at(20)), Ok(vec![5, 6]), "what was committed at that moment is wanted");
    assert_eq!(numbers(&at(59)), Ok(vec![5, 6, 7]));
    assert_eq!(numbers(&before(46)), Ok(vec![5, 6]));
    assert_eq!(numbers(&before(42)), Ok(vec![5]));
}

#[test]
fn what_is_behind_the_archive_is_refused_with_what_can_be_reached() {
    for target in [at(60), at(1_000), before(71)] {
        let why = numbers(&target).unwrap_err();
        assert!(why.contains("ends at 2026-11-27T13:51:00Z, with segment 7"), "{why}");
        assert!(why.contains("from 2026-11-27T13:50:07Z") && why.contains("end: true"), "{why}");
    }
    let none = way(ARCHIVE, &backup(), &range(1, 41), None, &[], &RecoveryTarget::End).unwrap_err().to_string();
    assert!(none.contains("no archive of the binary log at store/shop/log/uid"), "{none}");
}

#[test]
fn what_is_before_the_backup_is_refused() {
    let earlier = RecoveryTarget::Time { unix_us: BEGAN_S * 1_000_000 - 1 };
    for target in [earlier, before(41), before(1)] {
        let why = numbers(&target).unwrap_err();
        assert!(why.contains("use an earlier backup") && why.contains("2026-11-27T13:50:07Z"), "{why}");
    }
    // Ended later than the target, and nothing that it holds shows that: the archive does.
    let (chain, held) = (chain(), entry(4, 21, 30, 0, 5));
    let late = way(ARCHIVE, &backup(), &range(1, 30), Some(&held), &chain, &at(4)).unwrap_err().to_string();
    assert!(late.contains("before the backup"), "{late}");
    assert!(way(ARCHIVE, &backup(), &range(1, 30), Some(&held), &chain, &at(5)).is_ok());
}

#[test]
fn what_cannot_be_whatever_the_backup_holds_is_said_before_it_is_fetched() {
    let chain = chain();
    let said = |target: &RecoveryTarget, entries: &[Entry]| {
        check(ARCHIVE, &backup(), entries, target).map_err(|why| why.to_string())
    };
    for right in [RecoveryTarget::End, at(59), before(70)] {
        assert_eq!(said(&right, &chain), Ok(()), "{right:?}");
    }
    assert!(said(&before(42), &[entry(6, 43, 60, 20, 40)]).is_ok(), "that may be in the backup or not");
    assert!(said(&before(40), &chain[..1]).unwrap_err().contains("earlier backup"));
    assert!(said(&at(60), &chain).unwrap_err().contains("end: true"));
    assert!(said(&RecoveryTarget::End, &[]).unwrap_err().contains("no archive"));
    assert!(said(&RecoveryTarget::End, &chain[1..]).unwrap_err().contains("000000000006.json"));
}

#[test]
fn a_backup_that_holds_what_stands_behind_the_end_is_not_taken() {
    assert!(holds_nothing_later(&range(1, 41), &range(1, 41)).is_ok());
    let why = holds_nothing_later(&range(1, 42), &range(1, 40)).unwrap_err().to_string();
    assert!(why.contains(&format!("{UUID}:41-42")) && why.contains("earlier backup"), "{why}");
}

#[test]
fn a_recovery_ends_before_the_first_transaction_that_is_later_or_named() {
    let us = |seconds: u64| (BEGAN_S + seconds) * 1_000_000;
    assert!(!ends_before(&at(10), "", us(10)));
    assert!(ends_before(&at(10), "", us(10) + 1));
    assert!(ends_before(&before(7), &format!("{UUID}:7"), 0));
    assert!(!ends_before(&before(7), &format!("{UUID}:70"), u64::MAX));
    let tagged = RecoveryTarget::BeforeGtid { gtid: format!("{UUID}:Nightly:7").parse().unwrap() };
    assert!(ends_before(&tagged, &format!("{UUID}:nightly:7"), 0) && !ends_before(&tagged, &format!("{UUID}:7"), 0));
    assert!(!ends_before(&RecoveryTarget::End, &format!("{UUID}:7"), u64::MAX));
}

#[test]
fn the_backup_is_the_newest_that_holds_nothing_from_behind_the_target() {
    assert!(may_begin_with(&backup(), &RecoveryTarget::End));
    assert!(may_begin_with(&backup(), &at(7)) && !may_begin_with(&backup(), &at(6)));
    // 41 and 42 may be in it.
    assert!(may_begin_with(&backup(), &before(43)) && !may_begin_with(&backup(), &before(42)));
    let names =
        ["20261127T135000Z-4be0643f-shop-2", "20261128T135000Z-0000000a-shop-0", "20261127T134959Z-ffff0000-shop-1"];
    let sorted = newest_first(names.map(str::to_owned).to_vec());
    assert_eq!(sorted, [names[1], names[0], names[2]]);
}

#[test]
fn a_segment_that_no_key_opens_is_told_before_anything_is_fetched_and_each_says_for_itself() {
    use age::secrecy::ExposeSecret as _;
    use age::x25519::Identity;

    use crate::encryption::Recipients;
    use crate::keys::Identities;

    let identity = Identity::generate();
    let encryption = Recipients::parse(&identity.to_public().to_string()).unwrap().encryption();
    let identities = Identities::parse(identity.to_string().expose_secret()).unwrap();
    let keys = Keys { secret: Some("keys".to_owned()), identities };
    let mut chain = chain();
    assert!(opened(ARCHIVE, &backup(), &chain, &Keys::default()).is_ok());
    // Since the second segment, the archive is encrypted.
    chain[1..].iter_mut().for_each(|entry| entry.encryption = Some(encryption.clone()));
    assert!(opened(ARCHIVE, &backup(), &chain, &keys).is_ok());
    let locked = opened(ARCHIVE, &backup(), &chain, &Keys::default()).unwrap_err().to_string();
    assert!(locked.contains("data/000000000006-") && locked.contains(&encryption.recipients[0]), "{locked}");
    assert!(opened(ARCHIVE, &backup(), &chain[..1], &Keys::default()).is_ok());
    // What the backup holds already is not needed.
    chain[0].encryption = Some(Recipients::parse(&Identity::generate().to_public().to_string()).unwrap().encryption());
    let mut holding = backup();
    assert!(opened(ARCHIVE, &holding, &chain, &keys).is_err());
    holding.gtids.at_most = range(1, 45);
    assert!(opened(ARCHIVE, &holding, &chain, &keys).is_ok());
}

#[test]
fn a_set_of_transactions_ends_before_the_first_that_is_not_in_it() {
    let within = |last| RecoveryTarget::WithinGtids { gtids: range(1, last) };
    assert_eq!(numbers(&within(41)), Ok(vec![5]));
    assert_eq!(numbers(&within(45)), Ok(vec![5, 6]), "the first that is not in it is the first of the next segment");
    assert_eq!(numbers(&within(50)), Ok(vec![5, 6]));
    assert_eq!(numbers(&within(70)), Ok(vec![5, 6, 7]), "it may be all there is");
    let why = numbers(&within(71)).unwrap_err();
    assert!(why.contains(":71 are in no segment") && why.contains("with segment 7"), "{why}");
    let why = numbers(&within(40)).unwrap_err();
    assert!(why.contains("already holds") && why.contains(":41"), "{why}");
    let chain = chain();
    let all = way(ARCHIVE, &backup(), &range(1, 70), None, &chain, &within(70)).unwrap();
    assert_eq!(all.replay, Vec::<&Entry>::new(), "nothing is left to do");
    assert!(may_begin_with(&backup(), &within(42)) && !may_begin_with(&backup(), &within(41)));
    let ends = |number: u64| ends_before(&within(45), &format!("{UUID}:{number}"), 0);
    assert!(ends(46) && !ends(45));
}
