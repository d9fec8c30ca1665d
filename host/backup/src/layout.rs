//! The names of objects in a store.
//!
//! `NAMESPACE/CLUSTER/full/ID-MEMBER/` holds one backup: `parts/000000` and so on, `manifest.sha256`, and `manifest.json`,
//! which is written last. Pure.

/// The object that makes a backup exist.
pub const MANIFEST: &str = "manifest.json";

/// The checksum of [`MANIFEST`], as `sha256sum` writes and checks it. It is written before it.
pub const MANIFEST_SUM: &str = "manifest.sha256";

/// Where the backup of this identifier lies when it is made from this member, relative to the store's prefix. Two
/// members never write the same object, whatever one of them has not heard of.
pub fn full(namespace: &str, cluster: &str, id: &str, member: &str) -> String {
    format!("{namespace}/{cluster}/full/{id}-{member}")
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
    fn no_path_leads_out_of_the_store() {
        for wrong in ["", "/shop", "shop/", "a//b", "../shop", "a/./b", "a b", "a%2f"] {
            assert!(check_path(wrong).is_err(), "{wrong:?}");
        }
    }
}
