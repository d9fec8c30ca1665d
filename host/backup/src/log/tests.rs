use proptest::prelude::*;

use super::*;

/// As the first release wrote it. It must be readable for ever: never change this file, add another.
const STORED: &str = include_str!("format-1.json");

/// As the first release that encrypts wrote it.
const ENCRYPTED: &str = include_str!("format-2.json");

const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
const ARCHIVE: &str = "store/shop/log/0b7f4f0e-9d0c-4a55-9b0c-3a3c4f9f2f11";

fn range(first: u64, last: u64) -> GtidSet {
    if first > last {
        return GtidSet::new();
    }
    format!("{UUID}:{first}-{last}").parse().unwrap()
}

fn entry(sequence: u64, before: GtidSet, gtids: GtidSet, missing: GtidSet) -> Entry {
    Entry {
        format: FORMAT,
        sequence,
        cluster_uid: "0b7f4f0e-9d0c-4a55-9b0c-3a3c4f9f2f11".to_owned(),
        member: "shop-1".to_owned(),
        server_uuid: "4be0643f-1d98-573b-97cd-ca98a65347dd".parse().unwrap(),
        server_version: "9.7.4".to_owned(),
        before,
        transactions: gtids.count(),
        gtids,
        missing,
        base: GtidSet::new(),
        object: layout::log_data(sequence, "shop-1", "4be0643f"),
        size: 3,
        sha256: sha256(b"log"),
        encryption: None,
        bytes: 300,
        first_commit_unix_us: 1_795_772_800_000_000,
        last_commit_unix_us: 1_795_772_809_000_000,
        closed_at: "2026-11-27T13:50:00Z".parse().unwrap(),
    }
}

fn stored() -> Entry {
    entry(42, range(1, 40), range(41, 50), GtidSet::new())
}

#[test]
fn an_entry_of_the_first_format_is_read_and_written_as_it_was() {
    assert_eq!(Entry::read(ARCHIVE, 42, STORED.as_bytes()).unwrap(), stored());
    assert_eq!(stored().text().unwrap(), STORED);
}

#[test]
fn one_flipped_bit_anywhere_in_an_entry_or_in_its_bytes_is_found() {
    for bit in 0..STORED.len() * 8 {
        let mut text = STORED.as_bytes().to_vec();
        text[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(Entry::read(ARCHIVE, 42, &text), Err(Error::Damaged { .. })), "bit {bit}");
    }
    assert!(stored().holds(ARCHIVE, b"log").is_ok());
    for wrong in [&b"lof"[..], b"lo", b"logs", b""] {
        let refused = stored().holds(ARCHIVE, wrong).unwrap_err().to_string();
        assert!(refused.contains("data/000000000042-shop-1-4be0643f.binlog.zst"), "{refused}");
    }
}

#[test]
fn an_entry_of_what_is_encrypted_is_of_a_format_that_those_without_keys_refuse() {
    let recipients = ["age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj".to_owned()].to_vec();
    let encryption = Some(Encryption { method: encryption::Method::Age, recipients });
    let format = encryption::format(FORMAT, encryption.as_ref());
    let encrypted = Entry { format, encryption, object: layout::encrypted(&stored().object), ..stored() };
    assert_eq!(encrypted.text().unwrap(), ENCRYPTED);
    assert_eq!(Entry::read(ARCHIVE, 42, ENCRYPTED.as_bytes()).unwrap(), encrypted);
}

fn sealed(value: &serde_json::Value) -> String {
    let line = value.to_string();
    format!("{line}\n{{\"sha256\":\"{}\"}}\n", sha256(line.as_bytes()))
}

#[test]
fn what_a_later_release_adds_to_an_entry_is_ignored_and_what_it_changes_is_refused() {
    let mut value = serde_json::to_value(stored()).unwrap();
    value["verification"] = serde_json::json!({ "kind": "none" });
    assert_eq!(Entry::read(ARCHIVE, 42, sealed(&value).as_bytes()).unwrap(), stored());
    value["format"] = 3.into();
    let refused = Entry::read(ARCHIVE, 42, sealed(&value).as_bytes());
    assert!(matches!(refused, Err(Error::Format { found: 3, .. })), "{refused:?}");
}

#[test]
fn an_entry_that_cannot_be_true_is_refused_whoever_sealed_it() {
    let renamed = Entry { sequence: 43, ..stored() };
    let twice = Entry { before: range(1, 41), ..stored() };
    let uncounted = Entry { transactions: 9, ..stored() };
    let missing = Entry { missing: range(50, 51), ..stored() };
    let demanding = Entry { base: range(1, 41), ..stored() };
    let elsewhere = Entry { object: "../full/manifest.json".to_owned(), ..stored() };
    for wrong in [renamed, twice, uncounted, missing, demanding, elsewhere] {
        let text = wrong.text().unwrap();
        assert!(matches!(Entry::read(ARCHIVE, 42, text.as_bytes()), Err(Error::Damaged { .. })), "{wrong:?}");
    }
}

/// Three segments: what was before, 11 to 20, 21 to 30, 31 to 40.
fn three() -> Vec<Entry> {
    (0..3).map(|n| entry(n + 1, range(1, 10 + 10 * n), range(11 + 10 * n, 20 + 10 * n), GtidSet::new())).collect()
}

#[test]
fn a_backup_is_led_to_the_end_from_wherever_it_was_made() {
    let chain = three();
    for (executed, replayed) in
        [(10, vec![1, 2, 3]), (15, vec![1, 2, 3]), (20, vec![2, 3]), (39, vec![3]), (40, vec![])]
    {
        let found = plan(ARCHIVE, &chain, &range(1, executed)).unwrap();
        let numbers: Vec<_> = found.replay.iter().map(|entry| entry.sequence).collect();
        assert_eq!((numbers, found.end), (replayed, range(1, 40)), "{executed}");
    }
    assert_eq!(plan(ARCHIVE, &chain, &range(1, 50)).unwrap().end, range(1, 50), "a backup may be ahead of the archive");
    assert_eq!(plan(ARCHIVE, &[], &range(1, 5)).unwrap(), Plan { replay: Vec::new(), end: range(1, 5) });
}

#[test]
fn a_chain_that_does_not_hold_is_refused_with_the_entry() {
    let refused = |chain: &[Entry], executed| plan(ARCHIVE, chain, &range(1, executed)).unwrap_err().to_string();
    let early = refused(&three(), 9);
    assert!(early.contains("000000000001.json") && early.contains(&format!("{UUID}:10")), "{early}");
    let late = refused(&three()[1..], 10);
    assert!(late.contains("000000000002.json") && late.contains("not there"), "{late}");
    let mut gone = three();
    gone.remove(1);
    assert!(refused(&gone, 10).contains("000000000002.json: it is not there"), "{}", refused(&gone, 10));
    let mut forked = three();
    forked[2].before = range(1, 29);
    assert!(refused(&forked, 10).contains("000000000003.json"), "{}", refused(&forked, 10));
    let mut other = three();
    other[1].cluster_uid = "other".to_owned();
    assert!(refused(&other, 10).contains("000000000002.json: it is of the cluster other"));
}

#[test]
fn a_hole_is_passed_only_by_a_backup_that_holds_it() {
    let chain =
        [entry(1, range(1, 10), range(11, 20), GtidSet::new()), entry(2, range(1, 20), range(26, 30), range(21, 25))];
    for executed in [10, 20, 24] {
        let refused = plan(ARCHIVE, &chain, &range(1, executed)).unwrap_err().to_string();
        assert!(refused.contains("000000000002.json") && refused.contains("purged"), "{refused}");
    }
    for executed in [25, 28] {
        assert_eq!(plan(ARCHIVE, &chain, &range(1, executed)).unwrap().end, range(1, 30), "{executed}");
    }
}

proptest! {
    /// Whatever the chain is cut into, whatever holes it has and wherever the backup was made: what is replayed is exactly
    /// what the backup lacks, or it is refused because something that it lacks is nowhere.
    #[test]
    fn what_is_replayed_and_what_was_there_is_everything_or_it_is_refused(
        cuts in prop::collection::vec((0..5_u64, 0..3_u64), 1..12),
        executed in 0..60_u64,
        cut_off in 0..3_usize,
    ) {
        let mut covered = 5;
        let mut chain = Vec::new();
        for (number, (transactions, lost)) in cuts.iter().enumerate() {
            let lost = if *lost == 2 { 1 } else { 0 };
            let (from, to) = (covered + lost, covered + lost + transactions);
            chain.push(entry(number as u64 + 1, range(1, covered), range(from + 1, to), range(covered + 1, from)));
            covered = to;
        }
        let have = range(1, executed);
        let reached = chain.iter().rposition(|entry| entry.begins_within(&have)).unwrap_or(0);
        let seen = &chain[reached.saturating_sub(cut_off)..];
        let holes = seen.iter().fold(GtidSet::new(), |all, entry| all.union(&entry.missing));
        let whole = executed >= 5 && seen[0].begins_within(&have) && holes.is_subset_of(&have);
        match plan(ARCHIVE, seen, &have) {
            Err(_) => prop_assert!(!whole),
            Ok(found) => {
                prop_assert!(whole);
                let replayed = found.replay.iter().fold(have.clone(), |all, entry| all.union(&entry.gtids));
                prop_assert_eq!(&replayed, &range(1, covered.max(executed)));
                prop_assert_eq!(&found.end, &replayed);
                prop_assert!(found.replay.iter().all(|entry| !entry.gtids.is_subset_of(&have)));
            }
        }
    }
}
