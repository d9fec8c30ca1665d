//! Whatever happened to a cluster and its clocks: what was promised can be recovered after a sweep as before, judged by
//! what a real recovery goes by.

use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use topology::gtid::GtidSet;
use wire::RecoveryTarget;

use super::*;
use crate::find;
use crate::log::{Entry, FORMAT};
use crate::manifest::{Manifest, sha256};
use crate::recovery;
use crate::retention::{Policy, Verdict, judge};
use crate::survey::survey;

const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
const MINUTE_US: u64 = 60_000_000;

/// How many moments are tried.
const MOMENTS: usize = 12;

/// 2026-01-01T00:00:00Z. What a store in memory holds is of now, which is later: nothing of it is old.
const BEGAN_US: u64 = 1_767_225_600_000_000;

fn own() -> Origin {
    Origin { namespace: "store".to_owned(), name: "shop".to_owned(), uid: "uid".to_owned() }
}

fn first_to(last: u64) -> GtidSet {
    range(1, last)
}

fn range(first: u64, last: u64) -> GtidSet {
    if first > last { GtidSet::new() } else { format!("{UUID}:{first}-{last}").parse().unwrap() }
}

/// What happens, one after the other.
#[derive(Debug, Clone)]
enum Step {
    /// So many minutes pass.
    Pass(u64),
    /// All clocks are set, by so many minutes.
    Set(i64),
    /// So many transactions are committed and archived.
    Write(u64),
    /// So many are committed and purged before they are archived, where there is an archive.
    Lose(u64),
    /// A backup is made that surely lacks the last of so many.
    Full(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..600_u64).prop_map(Step::Pass),
        1 => (-300..300_i64).prop_map(Step::Set),
        6 => (0..9_u64).prop_map(Step::Write),
        1 => (1..4_u64).prop_map(Step::Lose),
        4 => (0..6_u64).prop_map(Step::Full),
    ];
    prop::collection::vec(step, 5..30)
}

/// A cluster with its store.
struct World {
    store: Store,
    archive: Archive,
    now_us: u64,
    executed: u64,
    chain: Option<Entry>,
    lost: GtidSet,
    fulls: Vec<(String, Manifest)>,
    moments: Vec<u64>,
}

impl World {
    async fn after(steps: &[Step], archived_from: usize) -> Self {
        let store = Store::in_memory();
        let archive = Archive::at(store.clone(), &layout::log("store", "shop", "uid")).unwrap();
        let (fulls, moments) = (Vec::new(), Vec::new());
        let now_us = BEGAN_US;
        let mut world = Self { store, archive, now_us, executed: 0, chain: None, lost: GtidSet::new(), fulls, moments };
        for (number, step) in steps.iter().enumerate() {
            if number == archived_from {
                world.segment(GtidSet::new()).await;
            }
            match step {
                Step::Pass(minutes) => world.now_us += minutes * MINUTE_US,
                Step::Set(minutes) => {
                    let by = minutes.unsigned_abs() * MINUTE_US;
                    world.now_us = if *minutes < 0 { world.now_us - by } else { world.now_us + by };
                }
                Step::Write(count) => {
                    let gtids = range(world.executed + 1, world.executed + count);
                    world.executed += count;
                    if world.chain.is_some() {
                        world.segment(gtids).await;
                    }
                }
                Step::Lose(count) => {
                    let lost = range(world.executed + 1, world.executed + count);
                    world.executed += count;
                    if world.chain.is_some() {
                        world.lost = world.lost.union(&lost);
                    }
                }
                Step::Full(lacks) => world.full(number, *lacks).await,
            }
            world.now_us += 1_000_000;
            world.moments.extend([world.now_us - 500_000, world.now_us]);
        }
        let every = world.moments.len().div_ceil(MOMENTS);
        world.moments = world.moments.into_iter().step_by(every).collect();
        world
    }

    async fn segment(&mut self, gtids: GtidSet) {
        let covered = self.chain.as_ref().map_or_else(|| first_to(self.executed), Entry::after);
        let base = self.chain.as_ref().map_or_else(|| covered.clone(), |entry| entry.base.clone());
        let missing = std::mem::take(&mut self.lost);
        let base = if missing.is_empty() { base } else { covered.union(&missing) };
        let sequence = self.chain.as_ref().map_or(1, |entry| entry.sequence + 1);
        let stamp = if gtids.is_empty() { 0 } else { self.now_us };
        let entry = serde_json::json!({
            "format": FORMAT, "sequence": sequence, "clusterUid": "uid", "member": "shop-1", "serverUuid": UUID,
            "serverVersion": "9.7.4", "before": covered, "gtids": gtids, "missing": missing, "base": base,
            "transactions": gtids.count(), "object": layout::log_data(sequence, "shop-1", "4be0643f"), "size": 3,
            "sha256": sha256(b"log"), "bytes": 300, "firstCommitUnixUs": stamp, "lastCommitUnixUs": stamp,
            "closedAt": moment(self.now_us).to_string(),
        });
        let entry: Entry = serde_json::from_value(entry).unwrap();
        self.archive.append(&entry, bytes::Bytes::from_static(b"log")).await.unwrap();
        self.chain = Some(entry);
    }

    async fn full(&mut self, number: usize, lacks: u64) {
        let text = include_str!("../manifest/format-1.json");
        let mut value: serde_json::Value = serde_json::from_str(text).unwrap();
        value["cluster"] = serde_json::json!({ "namespace": "store", "name": "shop", "uid": "uid" });
        value["gtids"]["atLeast"] = serde_json::json!(first_to(self.executed.saturating_sub(lacks)));
        value["gtids"]["atMost"] = serde_json::json!(first_to(self.executed));
        value["beganAt"] = moment(self.now_us).to_string().into();
        value["endedAt"] = moment(self.now_us + 400_000).to_string().into();
        let manifest: Manifest = serde_json::from_value(value).unwrap();
        let id = format!("{}-{number:08x}", moment(self.now_us).strftime("%Y%m%dT%H%M%SZ"));
        let path = layout::full("store", "shop", &id, "shop-2");
        put(&self.store, &path, &manifest).await;
        self.fulls.push((path, manifest));
    }

    /// The numbers of the segments over which a backup, whatever it holds exactly, leads to a moment.
    async fn way(&self, manifest: &Manifest, executed: &GtidSet, moment_us: u64) -> Option<Vec<u64>> {
        let target = RecoveryTarget::Time { unix_us: moment_us };
        let found = find::entries(&self.archive, executed, &target).await.ok()?;
        let way = recovery::way("archive", manifest, executed, found.before.as_ref(), &found.entries, &target).ok()?;
        Some(way.replay.iter().map(|entry| entry.sequence).collect())
    }

    /// The ways of every backup to every moment, whether it holds as little or as much as it may.
    async fn ways(&self) -> Vec<(usize, u64, [Option<Vec<u64>>; 2])> {
        let mut ways = Vec::new();
        for (number, (path, manifest)) in self.fulls.iter().enumerate() {
            let there = self.store.manifest(path).await.unwrap().is_some();
            for moment_us in &self.moments {
                let gtids = &manifest.gtids;
                let both = if there {
                    [
                        self.way(manifest, &gtids.at_least, *moment_us).await,
                        self.way(manifest, &gtids.at_most, *moment_us).await,
                    ]
                } else {
                    [None, None]
                };
                ways.push((number, *moment_us, both));
            }
        }
        ways
    }

    async fn objects(&self) -> Vec<String> {
        let mut names: Vec<_> =
            self.store.listed("store").await.unwrap().into_iter().map(|object| object.name).collect();
        names.sort_unstable();
        names
    }
}

async fn put(store: &Store, path: &str, manifest: &Manifest) {
    let (text, sum) = manifest.text().unwrap();
    store.put(&layout::part(path, 0), bytes::Bytes::from_static(b"data")).await.unwrap();
    store.put(&layout::manifest_sum(path), sum.into()).await.unwrap();
    store.put(&layout::manifest(path), text.into()).await.unwrap();
}

fn moment(unix_us: u64) -> Timestamp {
    Timestamp::from_microsecond(unix_us.cast_signed()).unwrap()
}

/// What nobody but a person may remove.
async fn strangers(world: &World, unreadable: bool) -> Vec<String> {
    let mut value: serde_json::Value = serde_json::from_str(include_str!("../manifest/format-1.json")).unwrap();
    value["cluster"] = serde_json::json!({ "namespace": "store", "name": "shop", "uid": "another" });
    let other: Manifest = serde_json::from_value(value).unwrap();
    put(&world.store, "store/shop/full/20200101T000000Z-0000000a-shop-0", &other).await;
    let mut strange = vec![
        "store/shop/full/20200101T000000Z-0000000b-shop-0/parts/000000",
        "store/shop/full/notes/today.txt",
        "store/shop/log/uid/notes.json",
        "store/shop/log/another/000000000001.json",
    ];
    if unreadable {
        strange.push("store/shop/full/20200101T000000Z-0000000c-shop-0/manifest.json");
    }
    for object in &strange {
        world.store.put(object, bytes::Bytes::from_static(b"?")).await.unwrap();
    }
    let all = world.objects().await;
    let ours = |name: &String| {
        name.contains("20200101T000000Z-0000000a") || strange.iter().any(|other| other.ends_with(name.as_str()))
    };
    all.into_iter().filter(ours).collect()
}

async fn check(steps: Vec<Step>, archived_from: usize, policy: Policy, most: usize, unreadable: bool) {
    let mut world = World::after(&steps, archived_from).await;
    let strange = strangers(&world, unreadable).await;
    let window_us = policy.window.map(|window| u64::try_from(window.as_micros()).unwrap());
    world.moments.extend(window_us.map(|window| world.now_us - window));
    let before = world.ways().await;
    let promised = |moment_us: u64| window_us.is_some_and(|window| moment_us >= world.now_us - window);
    let mut chosen = Vec::new();
    for moment_us in &world.moments {
        chosen.push(find::newest(&world.store, "store/shop", &time(*moment_us)).await.ok().map(|(path, _)| path));
    }
    loop {
        let seen = survey(&world.store, &own()).await.unwrap();
        let plan = judge(&policy, &own(), &seen.sight, world.now_us);
        let swept = sweep(&world.store, &own(), &seen, &plan, most).await;
        assert!(swept.problem.is_none(), "{:?}", swept.problem);
        let after = world.ways().await;
        for ((number, moment_us, was), (_, _, is)) in before.iter().zip(&after) {
            let (path, _) = &world.fulls[*number];
            if world.store.manifest(path).await.unwrap().is_some() {
                assert_eq!(was, is, "{path} is kept, and its way to {} is another", moment(*moment_us));
            } else if was.iter().any(Option::is_some) && promised(*moment_us) {
                let same = |(_, other, ways): &&(usize, u64, [Option<Vec<u64>>; 2])| {
                    other == moment_us && ways.iter().all(Option::is_some)
                };
                assert!(after.iter().find(same).is_some(), "{} is not reached without {path}", moment(*moment_us));
            }
        }
        if !swept.more {
            break;
        }
    }
    if !unreadable {
        for (moment_us, path) in world.moments.iter().zip(chosen).filter(|(moment_us, _)| promised(**moment_us)) {
            let now = find::newest(&world.store, "store/shop", &time(*moment_us)).await.ok().map(|(path, _)| path);
            assert_eq!(now, path, "for {}", moment(*moment_us));
        }
    }
    let objects = world.objects().await;
    for object in strange {
        assert!(objects.contains(&object), "{object} was removed");
    }
    if let Some((_, newest)) = world.fulls.last() {
        let mut left = Vec::new();
        for (path, _) in &world.fulls {
            left.extend(world.store.manifest(path).await.unwrap().map(|(manifest, _)| manifest));
        }
        let holds = |manifest: &Manifest| newest.gtids.at_least.is_subset_of(&manifest.gtids.at_least);
        assert!(left.iter().any(holds), "what the newest backup holds is in none any more");
        let wanted = policy.fulls.unwrap_or(1) as usize;
        assert!(left.len() >= wanted.min(world.fulls.len()), "{} are left of {}", left.len(), world.fulls.len());
    }
    let seen = survey(&world.store, &own()).await.unwrap();
    let again = judge(&policy, &own(), &seen.sight, world.now_us);
    assert!(again.fulls.iter().all(|(_, verdict)| !matches!(verdict, Verdict::Remove(_))), "{:?}", again.fulls);
    let swept = sweep(&world.store, &own(), &seen, &again, most).await;
    assert_eq!((swept.objects, world.objects().await), (0, objects), "the second time nothing is removed");
}

fn time(unix_us: u64) -> RecoveryTarget {
    RecoveryTarget::Time { unix_us }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn whatever_happened_what_was_promised_can_be_recovered_after_a_sweep(
        steps in steps(),
        archived_from in 0..9_usize,
        fulls in prop::option::of(1..4_u32),
        window in prop::option::of(1..3_000_u64),
        most in prop::sample::select(vec![3, 20, 1_000]),
        unreadable in prop::bool::weighted(0.1),
    ) {
        let policy = Policy { fulls, window: window.map(|minutes| Duration::from_secs(60 * minutes)) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(steps, archived_from, policy, most, unreadable));
    }
}

/// A backup a day for ten days, and a segment an hour.
async fn ten_days() -> World {
    let hour = [Step::Pass(60), Step::Write(3)];
    let day = [Step::Full(1)].into_iter().chain(hour.into_iter().cycle().take(48));
    let steps: Vec<_> = day.collect::<Vec<_>>().into_iter().cycle().take(49 * 10).collect();
    World::after(&steps, 0).await
}

#[tokio::test]
async fn what_is_not_wanted_any_more_goes_and_nothing_of_it_is_left() {
    let world = ten_days().await;
    let before = world.objects().await.len();
    let seen = survey(&world.store, &own()).await.unwrap();
    let policy = Policy { fulls: Some(2), window: Some(Duration::from_secs(3 * 86_400)) };
    let plan = judge(&policy, &own(), &seen.sight, world.now_us);
    let swept = sweep(&world.store, &own(), &seen, &plan, 1_000_000).await;
    let cut = plan.archive.unwrap();
    assert_eq!((swept.fulls.len(), swept.segments, swept.more), (7, cut.removed, false));
    assert!((160..=170).contains(&cut.removed), "{}", cut.removed);
    assert_eq!(before - world.objects().await.len(), 7 * 3 + 2 * usize::try_from(cut.removed).unwrap());
    let first = world.archive.entry(cut.from).await.unwrap().unwrap();
    let (_, oldest) = &world.fulls[7];
    assert!(first.after().is_subset_of(&oldest.gtids.at_least), "one more than is needed");
    let newest = world.archive.newest(None).await.unwrap().unwrap();
    assert_eq!(newest.sequence, world.chain.as_ref().unwrap().sequence);
    // Whoever lists from the end backwards finds the way as well, and whoever is told how far it was.
    let back = world.archive.back_to(&oldest.gtids.at_least).await.unwrap();
    assert_eq!(back.first().map(|entry| entry.sequence), Some(cut.from + 1));
    assert!(crate::log::plan("archive", &back, &oldest.gtids.at_least).is_ok());
    let early = world.archive.back_to(&GtidSet::new()).await.unwrap_err().to_string();
    assert!(early.contains("it is not there"), "{early}");
    assert_eq!(world.archive.newest(Some(newest.sequence)).await.unwrap(), Some(newest.clone()));
    // The archive goes on as if nothing had been.
    let mut world = world;
    world.segment(range(world.executed + 1, world.executed + 3)).await;
    assert_eq!(world.archive.newest(None).await.unwrap().unwrap().sequence, newest.sequence + 1);
}

#[tokio::test]
async fn what_an_end_in_the_middle_leaves_is_no_backup_and_goes_the_next_time() {
    let world = ten_days().await;
    let (path, _) = &world.fulls[0];
    // As if somebody had ended after the manifest, or after an entry.
    world.store.remove(&[layout::manifest(path), layout::log_entry(world.archive.path(), 1)]).await.unwrap();
    let seen = survey(&world.store, &own()).await.unwrap();
    assert!(matches!(seen.sight.fulls[0].1, Seen::Unfinished { .. }));
    let found = find::newest(&world.store, "store/shop", &time(BEGAN_US + 2 * MINUTE_US)).await.unwrap_err();
    assert!(found.to_string().contains("before every backup"), "{found}");
    // What lies in a store of memory was written now, and is not touched for a week.
    let in_a_week = u64::try_from(Timestamp::now().as_microsecond()).unwrap() + 8 * 86_400 * 1_000_000;
    let plan = judge(&Policy { fulls: Some(9), window: None }, &own(), &seen.sight, in_a_week);
    let swept = sweep(&world.store, &own(), &seen, &plan, 1_000).await;
    assert_eq!((swept.fulls.len(), swept.unfinished), (0, 1));
    let objects = world.objects().await;
    let name = path.trim_start_matches("store/");
    assert!(!objects.iter().any(|object| object.starts_with(name)), "{name}");
    assert!(!objects.iter().any(|object| object.contains("/data/000000000001-")));
}

#[tokio::test]
async fn a_hole_in_the_numbers_or_another_s_archive_is_an_error_and_nothing_is_removed() {
    let world = ten_days().await;
    let entry = layout::log_entry(world.archive.path(), 100);
    world.store.remove(std::slice::from_ref(&entry)).await.unwrap();
    let refused = survey(&world.store, &own()).await.unwrap_err().to_string();
    assert!(refused.contains(&entry) && refused.contains("not there"), "{refused}");
}

#[tokio::test]
async fn a_manifest_that_was_changed_since_it_was_judged_stays() {
    let world = ten_days().await;
    let (path, manifest) = &world.fulls[0];
    let mut other = manifest.clone();
    other.policies.push("another".to_owned());
    put(&world.store, path, &other).await;
    let (_, sum) = manifest.text().unwrap();
    let refused = world.store.remove_full(path, &sum).await.unwrap_err();
    assert!(matches!(&refused, Error::Damaged { object, .. } if object.ends_with("manifest.json")), "{refused}");
    assert!(world.store.manifest(path).await.unwrap().is_some());
}
