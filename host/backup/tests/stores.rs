//! Backups in real stores: an S3 server, and a directory.
//!
//! The S3 server is a process of its own over plain files, so that a test can kill it and spoil what it holds.

#![allow(clippy::unwrap_used, reason = "clippy takes the helpers of a test for something else")]

#[path = "stores/encrypted.rs"]
mod encrypted;

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use backup::archive::{Appended, Archive};
use backup::log::{self, Entry};
use backup::manifest::{self, Content, Gtids, Manifest, Method, Origin, Server};
use backup::retention::{Policy, judge};
use backup::store::Patience;
use backup::survey::survey;
use backup::sweep::sweep;
use backup::write::Manner;
use backup::{Error, Keys, Progress, Store, find, layout, read};
use bytes::Bytes;
use lab::s3::{ACCESS_KEY, S3Server, SECRET_KEY};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use wire::{RecoveryTarget, Sensitive, StoreAccess};

const BUCKET: &str = "shop";
const PATH: &str = "store/shop/full/20261127T135000Z-4be0643f-shop-2";

/// Small parts, so that little data makes many of them.
const MANNER: Manner = Manner { part: 64 << 10, bytes_per_second: None, recipients: None };

/// A store that is gone is to be noticed while a test runs.
const PATIENCE: Patience = Patience { retry: Duration::from_secs(2), request: Duration::from_secs(2) };

/// A store, and the directory in which it keeps its objects.
struct Place {
    access: StoreAccess,
    objects: PathBuf,
    server: Option<S3Server>,
    dir: TempDir,
}

impl Place {
    fn directory() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let objects = dir.path().to_owned();
        Self { access: StoreAccess::Volume { path: objects.display().to_string() }, objects, server: None, dir }
    }

    fn s3() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let server = S3Server::start(dir.path(), BUCKET, SocketAddr::from((Ipv4Addr::LOCALHOST, port))).unwrap();
        let access = StoreAccess::S3 {
            bucket: BUCKET.to_owned(),
            prefix: "backups".to_owned(),
            endpoint: Some(server.endpoint()),
            region: "us-east-1".to_owned(),
            path_style: true,
            access_key_id: ACCESS_KEY.to_owned(),
            secret_access_key: Sensitive(SECRET_KEY.to_owned()),
        };
        Self { access, objects: dir.path().join(BUCKET).join("backups"), server: Some(server), dir }
    }

    fn both() -> [Self; 2] {
        [Self::directory(), Self::s3()]
    }

    fn open(&self) -> Store {
        Store::open(&self.access, PATIENCE).unwrap()
    }

    fn file(&self, object: &str) -> PathBuf {
        self.objects.join(object)
    }

    /// Every object below the backup.
    fn left(&self) -> usize {
        fn count(dir: &Path) -> usize {
            let Ok(entries) = fs::read_dir(dir) else { return 0 };
            entries.flatten().map(|entry| if entry.path().is_dir() { count(&entry.path()) } else { 1 }).sum()
        }
        count(&self.file(PATH))
    }
}

/// A directory like mysqld's, in the small: `size` bytes that compress badly beside some that compress well.
fn data(size: usize) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut state = 88_172_645_463_325_252_u64;
    let noise: Vec<u8> = (0..size)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect();
    fs::create_dir_all(dir.path().join("shop/empty")).unwrap();
    fs::write(dir.path().join("ibdata1"), &noise).unwrap();
    fs::write(dir.path().join("shop/orders.ibd"), vec![7_u8; size]).unwrap();
    fs::write(dir.path().join("shop/nothing.ibd"), b"").unwrap();
    dir
}

fn contents(dir: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    fn walk(root: &Path, dir: &Path, found: &mut BTreeMap<PathBuf, Option<Vec<u8>>>) {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(root).unwrap().to_owned();
            if path.is_dir() {
                found.insert(name, None);
                walk(root, &path, found);
            } else {
                found.insert(name, Some(fs::read(&path).unwrap()));
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(dir, dir, &mut found);
    found
}

fn manifest(content: Content) -> Manifest {
    let set = |text: &str| text.parse().unwrap();
    Manifest {
        format: manifest::format(Method::Clone, None),
        id: "20261127T135000Z-4be0643f".to_owned(),
        method: Method::Clone,
        cluster: Origin { namespace: "store".to_owned(), name: "shop".to_owned(), uid: "uid".to_owned() },
        member: "shop-2".to_owned(),
        server_uuid: "4be0643f-1d98-573b-97cd-ca98a65347dd".parse().unwrap(),
        members: vec!["shop-2".to_owned()],
        policies: Vec::new(),
        server: Server { version: "9.7.4".to_owned(), settings: BTreeMap::new() },
        gtids: Gtids {
            at_least: set("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-40"),
            at_most: set("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-42"),
        },
        began_at: "2026-11-27T13:50:00Z".parse().unwrap(),
        ended_at: "2026-11-27T13:50:07Z".parse().unwrap(),
        encryption: None,
        content,
    }
}

async fn write(store: &Store, dir: &Path) -> Result<(Manifest, String), Error> {
    backup::write::write(store, PATH, dir, MANNER, &Arc::default(), &CancellationToken::new(), manifest).await
}

/// Reads the backup into a directory that did not exist.
async fn restore(store: &Store, into: &Path) -> Result<Manifest, Error> {
    let manifest = read::manifest(store, PATH, None).await?;
    read::read(store, PATH, &manifest, &Keys::default(), into, &Arc::<Progress>::default(), &CancellationToken::new())
        .await?;
    Ok(manifest)
}

#[tokio::test]
async fn what_went_in_comes_out() {
    for place in Place::both() {
        let (store, source, target) = (place.open(), data(300_000), tempfile::tempdir().unwrap());
        let (written, sum) = write(&store, source.path()).await.unwrap();
        assert!(written.content.parts.len() > 3, "{:?}", written.content.parts.len());
        assert_eq!((written.content.files, written.content.bytes), (3, 600_000));
        let into = target.path().join("new");
        assert_eq!(restore(&store, &into).await.unwrap(), written);
        assert_eq!(contents(&into), contents(source.path()));
        assert!(read::manifest(&store, PATH, Some(&sum)).await.is_ok());
        let other = read::manifest(&store, PATH, Some("00")).await;
        assert!(matches!(other, Err(Error::Damaged { .. })), "{other:?}");
    }
}

#[tokio::test]
async fn one_flipped_bit_in_any_object_is_found_and_the_object_is_named() {
    for place in Place::both() {
        let (store, source) = (place.open(), data(200_000));
        let (written, _) = write(&store, source.path()).await.unwrap();
        let parts = (0..written.content.parts.len()).map(|number| layout::part(PATH, number));
        let all = parts.chain([layout::manifest(PATH), layout::manifest_sum(PATH)]);
        for object in all.collect::<Vec<_>>() {
            let file = place.file(&object);
            let whole = fs::read(&file).unwrap();
            // In the checksum's file only the checksum counts; its first bit is as good as any.
            for at in [0, whole.len() / 2, whole.len() - 1] {
                if object.ends_with("sha256") && at != 0 {
                    continue;
                }
                let mut spoiled = whole.clone();
                spoiled[at] ^= 1;
                rewrite(&file, &spoiled);
                let target = tempfile::tempdir().unwrap();
                let refused = restore(&store, &target.path().join("new")).await.unwrap_err();
                let Error::Damaged { object: named, .. } = &refused else { panic!("{object}, byte {at}: {refused}") };
                assert!(*named == object || object.ends_with("sha256"), "{named}, not {object}");
            }
            rewrite(&file, &whole);
        }
        let target = tempfile::tempdir().unwrap();
        restore(&store, &target.path().join("new")).await.unwrap();
    }
}

/// In place, so that whatever the server keeps beside a file stays.
fn rewrite(file: &Path, contents: &[u8]) {
    use std::io::Write as _;
    let mut file = fs::OpenOptions::new().write(true).truncate(true).open(file).unwrap();
    file.write_all(contents).unwrap();
}

#[tokio::test]
async fn an_object_that_is_truncated_or_missing_is_found() {
    for place in Place::both() {
        let (store, source) = (place.open(), data(200_000));
        write(&store, source.path()).await.unwrap();
        let file = place.file(&layout::part(PATH, 1));
        let whole = fs::read(&file).unwrap();
        rewrite(&file, &whole[..whole.len() - 1]);
        let target = tempfile::tempdir().unwrap();
        let refused = restore(&store, &target.path().join("new")).await.unwrap_err();
        assert!(matches!(&refused, Error::Damaged { object, .. } if object.ends_with("parts/000001")), "{refused}");
        fs::remove_file(&file).unwrap();
        let refused = restore(&store, &target.path().join("other")).await.unwrap_err();
        assert!(refused.to_string().contains("parts/000001 is damaged: it is not there"), "{refused}");
    }
}

#[tokio::test]
async fn without_a_manifest_there_is_no_backup_and_an_abort_leaves_nothing() {
    for place in Place::both() {
        let (store, source) = (place.open(), data(2_000_000));
        let missing = read::manifest(&store, PATH, None).await;
        assert!(matches!(missing, Err(Error::Missing { .. })), "{missing:?}");
        let (progress, abort) = (Arc::<Progress>::default(), CancellationToken::new());
        let slow = Manner { bytes_per_second: Some(200_000), ..MANNER };
        let writing = backup::write::write(&store, PATH, source.path(), slow, &progress, &abort, manifest);
        let aborting = async {
            while place.left() == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            abort.cancel();
        };
        let (written, ()) = tokio::join!(writing, aborting);
        assert!(matches!(written, Err(Error::Aborted)), "{written:?}");
        assert_eq!(place.left(), 0);
        write(&store, source.path()).await.unwrap();
        // What is finished is never taken for something to be cleaned away.
        assert_eq!(store.remove_unfinished(PATH).await.unwrap(), 0);
        let target = tempfile::tempdir().unwrap();
        restore(&store, &target.path().join("new")).await.unwrap();
    }
}

#[tokio::test]
async fn a_store_that_goes_in_the_middle_ends_it_and_one_that_comes_back_is_cleaned_by_the_next_attempt() {
    let mut place = Place::s3();
    let (store, source) = (place.open(), data(2_000_000));
    let server = place.server.take().unwrap();
    let address: SocketAddr = server.endpoint().trim_start_matches("http://").parse().unwrap();
    let slow = Manner { bytes_per_second: Some(200_000), ..MANNER };
    let (progress, abort) = (Arc::<Progress>::default(), CancellationToken::new());
    let writing = backup::write::write(&store, PATH, source.path(), slow, &progress, &abort, manifest);
    let killing = async {
        while place.left() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        drop(server);
    };
    let (written, ()) = tokio::join!(writing, killing);
    let error = written.unwrap_err();
    assert!(matches!(error, Error::Store { .. } | Error::Late { .. }), "{error}");
    assert!(place.left() > 0, "nobody was there to remove it");
    place.server = Some(S3Server::start(place.dir.path(), BUCKET, address).unwrap());
    let (written, _) = write(&store, source.path()).await.unwrap();
    assert_eq!(place.left(), written.content.parts.len() + 2);
    let target = tempfile::tempdir().unwrap();
    restore(&store, &target.path().join("new")).await.unwrap();
}

#[tokio::test]
async fn a_store_that_is_away_for_a_moment_is_waited_for() {
    let mut place = Place::s3();
    let store = Store::open(&place.access, Patience { retry: Duration::from_secs(30), ..PATIENCE }).unwrap();
    let source = data(500_000);
    let server = place.server.take().unwrap();
    let address: SocketAddr = server.endpoint().trim_start_matches("http://").parse().unwrap();
    drop(server);
    let restarting = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        S3Server::start(place.dir.path(), BUCKET, address).unwrap()
    };
    let (written, _server) = tokio::join!(write(&store, source.path()), restarting);
    written.unwrap();
}

/// How much memory this process holds, in bytes.
fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[tokio::test]
async fn memory_does_not_grow_with_the_data() {
    let place = Place::directory();
    let store = place.open();
    let source = tempfile::tempdir().unwrap();
    let noise = fs::read(data(8 << 20).path().join("ibdata1")).unwrap();
    for number in 0..30 {
        let mut noise = noise.clone();
        noise.rotate_left(number * 1009);
        fs::write(source.path().join(format!("{number}.ibd")), noise).unwrap();
    }
    drop(noise);
    // What is encrypted takes what is not, and one layer more.
    let (recipients, keys) = encrypted::pair();
    let before = resident();
    let most = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let watching = {
        let most = Arc::clone(&most);
        tokio::spawn(async move {
            loop {
                most.fetch_max(resident(), std::sync::atomic::Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    };
    let work = async {
        let manner = Manner { recipients: Some(&recipients), ..Manner::default() };
        encrypted::write(&store, source.path(), manner).await?;
        let target = tempfile::tempdir().unwrap();
        encrypted::restore(&store, &keys, &target.path().join("new")).await
    };
    work.await.unwrap();
    watching.abort();
    let grown = most.load(std::sync::atomic::Ordering::Relaxed).saturating_sub(before);
    println!("240 MiB took {} MiB of memory", grown >> 20);
    assert!(grown < 64 << 20, "{} MiB", grown >> 20);
}

const ARCHIVE: &str = "store/shop/log/0b7f4f0e";

fn segment(sequence: u64, member: &str, stored: &[u8]) -> Entry {
    let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    let (before, gtids) = (10 * sequence, 10 * sequence + 10);
    Entry {
        format: log::FORMAT,
        sequence,
        cluster_uid: "0b7f4f0e".to_owned(),
        member: member.to_owned(),
        server_uuid: uuid.parse().unwrap(),
        server_version: "9.7.4".to_owned(),
        before: format!("{uuid}:1-{before}").parse().unwrap(),
        gtids: format!("{uuid}:{}-{gtids}", before + 1).parse().unwrap(),
        missing: topology::gtid::GtidSet::new(),
        base: topology::gtid::GtidSet::new(),
        object: layout::log_data(sequence, member, "4be0643f"),
        size: stored.len() as u64,
        sha256: backup::manifest::sha256(stored),
        encryption: None,
        bytes: 300,
        transactions: gtids - before,
        first_commit_unix_us: 1,
        last_commit_unix_us: 2,
        closed_at: jiff::Timestamp::UNIX_EPOCH,
    }
}

#[tokio::test]
async fn two_who_write_one_segment_cannot_fork_the_chain() {
    for place in Place::both() {
        let archive = Archive::at(place.open(), ARCHIVE).unwrap();
        assert_eq!(archive.newest(None).await.unwrap(), None);
        let (ours, theirs) = (segment(1, "shop-1", b"ours"), segment(1, "shop-2", b"theirs"));
        let (one, other) = tokio::join!(
            archive.append(&ours, Bytes::from_static(b"ours")),
            archive.append(&theirs, Bytes::from_static(b"theirs"))
        );
        let won = match (one.unwrap(), other.unwrap()) {
            (Appended::Yes, Appended::Taken(there)) => {
                assert_eq!(*there, ours);
                ours
            }
            (Appended::Taken(there), Appended::Yes) => {
                assert_eq!(*there, theirs);
                theirs
            }
            both => panic!("{both:?}"),
        };
        assert_eq!(archive.newest(None).await.unwrap().as_ref(), Some(&won));
        let stored = archive.data(&won).await.unwrap();
        // Whoever's answer got lost asks again, and is not told that somebody else was there.
        assert_eq!(archive.append(&won, stored).await.unwrap(), Appended::Yes);
        for sequence in 2..=12 {
            let next = segment(sequence, "shop-1", b"next");
            assert_eq!(archive.append(&next, Bytes::from_static(b"next")).await.unwrap(), Appended::Yes);
        }
        assert_eq!(archive.newest(Some(7)).await.unwrap().map(|entry| entry.sequence), Some(12));
        assert_eq!(archive.newest(Some(12)).await.unwrap().map(|entry| entry.sequence), Some(12));
        let executed = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-105".parse().unwrap();
        let found: Vec<_> = archive.back_to(&executed).await.unwrap().iter().map(|entry| entry.sequence).collect();
        assert_eq!(found, [10, 11, 12]);
        fs::remove_file(place.file(&layout::log_entry(ARCHIVE, 11))).unwrap();
        let broken = archive.back_to(&executed).await.unwrap_err().to_string();
        assert!(broken.contains("000000000011.json: it is not there"), "{broken}");
    }
}

#[tokio::test]
async fn an_object_of_any_size_is_written_as_it_grows() {
    for place in Place::both() {
        let store = place.open();
        for size in [0, 1, 100, 9 << 20] {
            let bytes: Vec<u8> = (0..size).map(|number: usize| (number % 251) as u8).collect();
            let mut upload = store.begin("store/shop/log/data/one").unwrap();
            for chunk in bytes.chunks(1 << 20) {
                upload.write(Bytes::copy_from_slice(chunk)).await.unwrap();
            }
            let (told, sum) = upload.finish().await.unwrap();
            assert_eq!((told, sum), (size as u64, backup::manifest::sha256(&bytes)));
            assert_eq!(fs::read(place.file("store/shop/log/data/one")).unwrap(), bytes);
        }
        let mut given_up = store.begin("store/shop/log/data/other").unwrap();
        given_up.write(Bytes::from(vec![0; 9 << 20])).await.unwrap();
        given_up.abort().await;
        assert!(!place.file("store/shop/log/data/other").exists());
    }
}

/// A backup of that day that holds so many transactions for sure, and perhaps two more.
async fn write_of(store: &Store, dir: &Path, day: u32, last: u64) -> String {
    let (uuid, id) = ("3e11fa47-71ca-11e1-9e33-c80aa9429562", format!("202611{day:02}T135000Z-4be0643f"));
    let path = layout::full("store", "shop", &id, "shop-2");
    let of_that_day = |content| {
        let mut manifest = manifest(content);
        manifest.cluster.uid = "0b7f4f0e".to_owned();
        manifest.gtids.at_least = format!("{uuid}:1-{last}").parse().unwrap();
        manifest.gtids.at_most = format!("{uuid}:1-{}", last + 2).parse().unwrap();
        manifest.began_at = format!("2026-11-{day:02}T13:50:00Z").parse().unwrap();
        manifest.ended_at = format!("2026-11-{day:02}T13:50:07Z").parse().unwrap();
        manifest
    };
    backup::write::write(store, &path, dir, MANNER, &Arc::default(), &CancellationToken::new(), of_that_day)
        .await
        .unwrap();
    path
}

#[tokio::test]
async fn what_is_kept_is_whole_after_a_sweep_and_a_store_that_is_gone_loses_nothing() {
    let own = Origin { namespace: "store".to_owned(), name: "shop".to_owned(), uid: "0b7f4f0e".to_owned() };
    let now_us = "2026-11-27T20:00:00Z".parse::<jiff::Timestamp>().unwrap().as_microsecond().unsigned_abs();
    let policy = Policy { fulls: Some(2), window: None };
    for mut place in Place::both() {
        let (store, source) = (place.open(), data(200_000));
        let archive = Archive::at(store.clone(), ARCHIVE).unwrap();
        for sequence in 1..=12 {
            archive.append(&segment(sequence, "shop-1", b"next"), Bytes::from_static(b"next")).await.unwrap();
        }
        let mut paths = Vec::new();
        for (day, last) in [(23, 35), (24, 65), (25, 85), (26, 105)] {
            paths.push(write_of(&store, source.path(), day, last).await);
        }
        // Of the cluster that had this name before, and a note that somebody left beside a backup.
        write(&store, source.path()).await.unwrap();
        store.put(&format!("{}/notes.txt", paths[0]), Bytes::from_static(b"mine")).await.unwrap();
        let seen = survey(&store, &own).await.unwrap();
        let plan = judge(&policy, &own, &seen.sight, now_us);
        let removed: Vec<_> = plan.removals().map(|name| format!("store/shop/full/{name}")).collect();
        assert_eq!((removed.as_slice(), plan.archive.as_ref().map(|cut| cut.from)), (&paths[..2], Some(7)));
        if let Some(server) = place.server.take() {
            let address: SocketAddr = server.endpoint().trim_start_matches("http://").parse().unwrap();
            drop(server);
            let swept = sweep(&store, &own, &seen, &plan, 1_000).await;
            assert!(swept.problem.is_some() && swept.fulls.is_empty() && swept.objects == 0, "{swept:?}");
            assert!(survey(&store, &own).await.is_err(), "a store that is gone is not an empty one");
            place.server = Some(S3Server::start(place.dir.path(), BUCKET, address).unwrap());
        }
        let swept = sweep(&store, &own, &seen, &plan, 1_000).await;
        assert!(swept.problem.is_none() && !swept.more, "{swept:?}");
        assert_eq!((swept.fulls.len(), swept.segments), (2, 6));
        let left = |object: &str| place.file(object).exists();
        assert!(left(&format!("{}/notes.txt", paths[0])) && !left(&layout::part(&paths[0], 0)));
        assert!(!left(&layout::manifest(&paths[1])) && left(&layout::manifest(PATH)));
        let data = |sequence| format!("{ARCHIVE}/{}", layout::log_data(sequence, "shop-1", "4be0643f"));
        assert!(!left(&layout::log_entry(ARCHIVE, 6)) && !left(&data(6)));
        assert!(left(&layout::log_entry(ARCHIVE, 7)) && left(&data(7)));
        for path in &paths[2..] {
            let manifest = read::manifest(&store, path, None).await.unwrap();
            let (target, abort) = (tempfile::tempdir().unwrap(), CancellationToken::new());
            let into = target.path().join("new");
            read::read(&store, path, &manifest, &Keys::default(), &into, &Arc::<Progress>::default(), &abort)
                .await
                .unwrap();
            assert_eq!(contents(&into), contents(source.path()));
            let found = find::entries(&archive, &manifest.gtids.at_least, &RecoveryTarget::End).await.unwrap();
            assert_eq!(log::plan(ARCHIVE, &found.entries, &manifest.gtids.at_least).unwrap().end.count(), 130);
        }
        let seen = survey(&store, &own).await.unwrap();
        let plan = judge(&policy, &own, &seen.sight, now_us);
        assert_eq!((plan.removals().count(), plan.archive.map(|cut| cut.removed)), (0, Some(0)));
    }
}
