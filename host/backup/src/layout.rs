//! The names of objects in a store.
//!
//! `NAMESPACE/CLUSTER/full/ID-MEMBER/` holds one backup: `parts/000000` and so on, `manifest.sha256`, and `manifest.json`,
//! which is written last.
//!
//! `NAMESPACE/CLUSTER/logical/ID-MEMBER/` holds a logical backup in the same way.
//!
//! `NAMESPACE/CLUSTER/log/UID/` holds the archive of the binary log of one cluster: `000000000042.json` is the entry of a
//! segment, `data/000000000042-MEMBER-RANDOM.binlog.zst` its bytes. Pure.

use crate::manifest::Origin;

/// The object that makes a backup exist.
pub const MANIFEST: &str = "manifest.json";

/// The checksum of [`MANIFEST`], as `sha256sum` writes and checks it. It is written before it.
pub const MANIFEST_SUM: &str = "manifest.sha256";

/// The only file in a logical backup.
pub const DUMP: &str = "dump.sql";

/// Where the backup of this identifier lies when it is made from this member, relative to the store's prefix. Two
/// members never write the same object, whatever one of them has not heard of.
pub fn full(namespace: &str, cluster: &str, id: &str, member: &str) -> String {
    format!("{namespace}/{cluster}/full/{id}-{member}")
}

/// Where a logical backup lies. Nothing else is looked for there: no archive goes on from one, and no retention removes it.
pub fn logical(namespace: &str, cluster: &str, id: &str, member: &str) -> String {
    format!("{namespace}/{cluster}/logical/{id}-{member}")
}

/// Whether this path, as far as its looks go, is that of one backup, and not of all that there is of a cluster.
pub fn is_full(path: &str) -> bool {
    matches!(path.rsplit('/').collect::<Vec<_>>()[..], [_, "full", _, ..])
}

/// Where the backups of a cluster lie.
pub fn fulls(cluster: &str) -> String {
    format!("{cluster}/full")
}

/// Where the archive lies that goes on from the backup at `path`, if it is the backup of `origin`: beside it, wherever
/// both were moved to.
pub fn log_beside(path: &str, origin: &Origin) -> String {
    match path.rsplit_once("/full/") {
        Some((cluster, _)) => format!("{cluster}/log/{}", origin.uid),
        None => log(&origin.namespace, &origin.name, &origin.uid),
    }
}

/// The part with this number, from 0.
pub fn part(path: &str, number: usize) -> String {
    format!("{path}/parts/{number:06}")
}

/// The manifest.
pub fn manifest(path: &str) -> String {
    format!("{path}/{MANIFEST}")
}

/// Its checksum.
pub fn manifest_sum(path: &str) -> String {
    format!("{path}/{MANIFEST_SUM}")
}

/// Where the archive of the binary log of this cluster lies: of this one, not of another that had the same name.
pub fn log(namespace: &str, cluster: &str, uid: &str) -> String {
    format!("{namespace}/{cluster}/log/{uid}")
}

/// The entry of the segment with this number, from 1. Names sort as numbers do.
pub fn log_entry(archive: &str, sequence: u64) -> String {
    format!("{archive}/{sequence:012}.json")
}

/// The number in the name of a segment's entry, without what is before the last slash.
pub fn log_sequence(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".json")?;
    (digits.len() == 12 && digits.bytes().all(|digit| digit.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// The bytes of a segment, below the archive: `nonce` differs in every attempt, so that nobody ever writes over the bytes
/// that an entry names.
pub fn log_data(sequence: u64, member: &str, nonce: &str) -> String {
    format!("data/{sequence:012}-{member}-{nonce}.binlog.zst")
}

/// The same where they are encrypted.
pub fn encrypted(data: &str) -> String {
    format!("{data}.age")
}

/// Whether a directory below the backups of a cluster has a name that [`full`] gives: a time, eight characters of a uid,
/// and a member.
pub fn is_full_name(name: &str) -> bool {
    let mut parts = name.splitn(3, '-');
    let (Some(time), Some(uid), Some(member)) = (parts.next(), parts.next(), parts.next()) else { return false };
    let digits = |text: Option<&str>| text.is_some_and(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let timed = time.len() == 16 && time.as_bytes()[8] == b'T' && time.ends_with('Z');
    let timed = timed && digits(time.get(..8)) && digits(time.get(9..15));
    timed && uid.len() == 8 && uid.bytes().all(|byte| byte.is_ascii_hexdigit()) && !member.is_empty()
}

/// Whether an object with this name below a backup is of those that make one up.
pub fn is_of_full(name: &str) -> bool {
    let number = name.strip_prefix("parts/");
    let part = number.is_some_and(|number| number.len() >= 6 && number.bytes().all(|byte| byte.is_ascii_digit()));
    part || name == MANIFEST || name == MANIFEST_SUM
}

/// The number of the segment whose bytes these are, by their name below the archive.
pub fn log_data_sequence(name: &str) -> Option<u64> {
    let (digits, rest) = name.strip_prefix("data/")?.split_once('-')?;
    let known = digits.len() == 12 && digits.bytes().all(|digit| digit.is_ascii_digit());
    (known && rest.contains(".binlog.")).then(|| digits.parse().ok())?
}

/// What a path of a backup must look like, whoever wrote it.
///
/// # Errors
/// What is wrong with it.
pub fn check_path(path: &str) -> Result<(), String> {
    let plain = |part: &str| {
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        !part.is_empty() && part != "." && part != ".." && part.chars().all(known)
    };
    if path.split('/').all(plain) {
        return Ok(());
    }
    Err(format!(
        "`{path}` is no path of a backup: expected names of letters, digits, '-', '_' and '.' with '/' between them, \
         such as shop/shop/full/20261127T135000Z-4be0643f"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_sort_in_the_order_in_which_they_follow() {
        let path = full("store", "shop", "20261127T135000Z-4be0643f", "shop-2");
        assert_eq!(part(&path, 7), "store/shop/full/20261127T135000Z-4be0643f-shop-2/parts/000007");
        assert!(part(&path, 99_999) < part(&path, 100_000));
        assert!(check_path(&path).is_ok());
    }

    #[test]
    fn segments_sort_in_the_order_in_which_they_follow_and_only_entries_have_a_number() {
        let archive = log("store", "shop", "0b7f4f0e");
        assert_eq!(log_entry(&archive, 42), "store/shop/log/0b7f4f0e/000000000042.json");
        assert!(log_entry(&archive, 99) < log_entry(&archive, 100));
        assert_eq!(log_sequence("000000000042.json"), Some(42));
        for other in ["42.json", "00000000004x.json", "+00000000042.json", "000000000042.json.tmp", "data"] {
            assert_eq!(log_sequence(other), None, "{other}");
        }
        assert!(check_path(&log_data(42, "shop-1", "4be0643f")).is_ok());
    }

    #[test]
    fn an_archive_lies_beside_the_backups_that_it_goes_on_from() {
        let origin = Origin { namespace: "store".to_owned(), name: "shop".to_owned(), uid: "0b7f".to_owned() };
        let path = full("store", "shop", "20261127T135000Z-4be0643f", "shop-2");
        assert_eq!(log_beside(&path, &origin), log("store", "shop", "0b7f"));
        assert_eq!(log_beside(&format!("moved/to/{path}"), &origin), "moved/to/store/shop/log/0b7f");
        assert_eq!(log_beside("anywhere", &origin), log("store", "shop", "0b7f"));
        assert!(is_full(&path) && !is_full("store/shop") && !is_full("full/shop") && !is_full("full"));
    }

    #[test]
    fn what_this_crate_writes_is_known_by_its_name_and_nothing_else_is() {
        let path = full("store", "shop", "20261127T135000Z-4be0643f", "shop-2");
        let name = path.rsplit('/').next().unwrap();
        assert!(is_full_name(name), "{name}");
        for other in
            ["", "archive", "20261127T135000Z", "20261127T135000Z-4be0643f", "20261127T135000Z-4be0643g-shop-2"]
        {
            assert!(!is_full_name(other), "{other}");
        }
        for ours in [part("x", 7), part("x", 1_234_567), manifest("x"), manifest_sum("x")] {
            assert!(is_of_full(&ours[2..]), "{ours}");
        }
        for other in ["notes.txt", "parts/7", "parts/00000x", "parts/000001.bak", "manifest.json.old"] {
            assert!(!is_of_full(other), "{other}");
        }
        assert_eq!(log_data_sequence(&log_data(42, "shop-1", "4be0643f")), Some(42));
        for other in
            ["data/42-shop-1-x.binlog.zst", "000000000042-shop.binlog.zst", "data/000000000042-shop.sql", "data/x"]
        {
            assert_eq!(log_data_sequence(other), None, "{other}");
        }
    }

    #[test]
    fn no_path_leads_out_of_the_store() {
        for wrong in ["", "/shop", "shop/", "a//b", "../shop", "a/./b", "a b", "a%2f"] {
            assert!(check_path(wrong).is_err(), "{wrong:?}");
        }
    }
}
