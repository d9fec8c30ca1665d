use tempfile::TempDir;
use wire::StoreAccess;

use super::*;
use crate::log::FORMAT;
use crate::manifest::sha256;
use crate::store::Patience;

const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

fn range(first: u64, last: u64) -> GtidSet {
    if first > last { GtidSet::new() } else { format!("{UUID}:{first}-{last}").parse().unwrap() }
}

fn store() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let access = StoreAccess::Volume { path: dir.path().display().to_string() };
    let store = Store::open(&access, Patience::default()).unwrap();
    (dir, store)
}

/// Segments of ten transactions each, the first from 11 on, committed one a second.
async fn chain(store: &Store, segments: u64) -> Archive {
    let archive = Archive::at(store.clone(), "store/shop/log/uid").unwrap();
    for sequence in 1..=segments {
        let (first, last) = (10 * sequence + 1, 10 * sequence + 10);
        let entry = serde_json::json!({
            "format": FORMAT, "sequence": sequence, "clusterUid": "uid", "member": "shop-1", "serverUuid": UUID,
            "serverVersion": "9.7.4", "before": range(1, first - 1), "gtids": range(first, last), "transactions": 10,
            "object": layout::log_data(sequence, "shop-1", "4be0643f"), "size": 3, "sha256": sha256(b"log"),
            "bytes": 300, "firstCommitUnixUs": first * 1_000_000, "lastCommitUnixUs": last * 1_000_000,
            "closedAt": "2026-11-27T13:50:00Z",
        });
        let entry: Entry = serde_json::from_value(entry).unwrap();
        archive.append(&entry, bytes::Bytes::from_static(b"log")).await.unwrap();
    }
    archive
}

async fn numbers(archive: &Archive, executed: u64, target: &RecoveryTarget) -> (Option<u64>, Vec<u64>) {
    let found = entries(archive, &range(1, executed), target).await.unwrap();
    (found.before.map(|entry| entry.sequence), found.entries.iter().map(|entry| entry.sequence).collect())
}

#[tokio::test]
async fn entries_are_read_from_where_a_backup_ends_to_where_the_target_lies() {
    let (_dir, store) = store();
    let archive = chain(&store, 40).await;
    for executed in 0..=430_u64 {
        // What is before the first segment is in none; what is covered by the last is nowhere else.
        let first = (executed / 10).clamp(1, 40);
        let (before, found) = numbers(&archive, executed, &RecoveryTarget::End).await;
        assert_eq!(before, (first > 1).then(|| first - 1), "{executed}");
        assert_eq!(found, (first..=40).collect::<Vec<_>>(), "{executed}");
    }
    let time = RecoveryTarget::Time { unix_us: 75_000_000 };
    assert_eq!(numbers(&archive, 45, &time).await, (Some(3), vec![4, 5, 6, 7]));
    let gtid = RecoveryTarget::BeforeGtid { gtid: range(61, 61) };
    assert_eq!(numbers(&archive, 45, &gtid).await, (Some(3), vec![4, 5, 6]));
}

#[tokio::test]
async fn what_was_removed_from_the_beginning_is_not_missed_and_what_is_missing_is_named() {
    let (dir, store) = store();
    let archive = chain(&store, 20).await;
    let remove =
        |number: u64| std::fs::remove_file(dir.path().join(layout::log_entry(archive.path(), number))).unwrap();
    (1..=9).for_each(remove);
    assert_eq!(numbers(&archive, 105, &RecoveryTarget::End).await, (None, (10..=20).collect::<Vec<_>>()));
    // The backup ends before what is left.
    let early = entries(&archive, &range(1, 50), &RecoveryTarget::End).await.unwrap_err().to_string();
    assert!(early.contains("000000000009.json"), "{early}");
    remove(15);
    let hole = entries(&archive, &range(1, 105), &RecoveryTarget::End).await.unwrap_err().to_string();
    assert!(hole.contains("000000000015.json") && hole.contains("not there"), "{hole}");
    let before = RecoveryTarget::BeforeGtid { gtid: range(121, 121) };
    assert_eq!(numbers(&archive, 105, &before).await.1, [10, 11, 12], "the hole is behind the target");
    let (_dir, nothing) = self::store();
    let none = Archive::at(nothing, "store/shop/log/uid").unwrap();
    assert_eq!(numbers(&none, 5, &RecoveryTarget::End).await, (None, Vec::new()));
}

#[tokio::test]
async fn the_newest_backup_before_the_target_is_chosen_and_unfinished_ones_are_none() {
    let (_dir, store) = store();
    let text = include_str!("../manifest/format-1.json");
    let put = async |path: &str, ended_at: &str| {
        let mut value: serde_json::Value = serde_json::from_str(text).unwrap();
        (value["beganAt"], value["endedAt"]) = (ended_at.into(), ended_at.into());
        let manifest: Manifest = serde_json::from_value(value).unwrap();
        let (text, sum) = manifest.text().unwrap();
        store.put(&layout::manifest_sum(path), sum.into()).await.unwrap();
        store.put(&layout::manifest(path), text.into()).await.unwrap();
    };
    let path = |day: u32| format!("store/shop/full/202611{day}T020000Z-4be0643f-shop-2");
    put(&path(21), "2026-11-21T02:00:10Z").await;
    put(&path(22), "2026-11-22T02:00:10Z").await;
    store.put(&layout::part(&path(23), 0), bytes::Bytes::from_static(b"unfinished")).await.unwrap();
    put("store/shop2/full/20261124T020000Z-4be0643f-shop2-2", "2026-11-24T02:00:10Z").await;
    let at = |time: &str| {
        let time: jiff::Timestamp = time.parse().unwrap();
        RecoveryTarget::Time { unix_us: time.as_microsecond().try_into().unwrap() }
    };
    let chosen = async |target: &RecoveryTarget| newest(&store, "store/shop", target).await.map(|(path, _)| path);
    assert_eq!(chosen(&RecoveryTarget::End).await.unwrap(), path(22));
    assert_eq!(chosen(&at("2026-11-22T02:00:10Z")).await.unwrap(), path(22));
    assert_eq!(chosen(&at("2026-11-22T02:00:09Z")).await.unwrap(), path(21));
    let early = chosen(&at("2026-11-21T02:00:09Z")).await.unwrap_err().to_string();
    assert!(early.contains("before every backup of store/shop") && early.contains("2026-11-21T02:00:10Z"), "{early}");
    assert!(matches!(newest(&store, "store/none", &RecoveryTarget::End).await, Err(Error::Missing { .. })));
}
