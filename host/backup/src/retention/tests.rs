use super::*;

const DAY_US: u64 = 86_400_000_000;

/// 2026-11-27T00:00:00Z, where the days of the tests begin.
const BEGAN_US: u64 = 1_795_737_600_000_000;

fn own() -> Origin {
    Origin { namespace: "store".to_owned(), name: "shop".to_owned(), uid: "uid".to_owned() }
}

fn name(day: u64) -> String {
    format!("202611{day:02}T020000Z-4be0643f-shop-2")
}

fn at(day: u64) -> u64 {
    BEGAN_US + day * DAY_US
}

/// A backup of that day, from which a segment of the same number is gone on with, of ten.
fn whole(day: u64) -> Whole {
    let at_least = format!("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-{}", 10 * day).parse().unwrap();
    let lead = Lead { from: Some(day), surely: Some(30), perhaps: Some(30), held_unix_us: at(day) };
    Whole { origin: own(), sum: "sum".to_owned(), ended_unix_us: at(day), at_least, lead }
}

fn sight(days: impl Iterator<Item = u64>) -> Sight {
    let fulls = days.map(|day| (name(day), Seen::Whole(Box::new(whole(day))))).collect();
    Sight { fulls, segments: Some(Segments { first: 1, newest: 30, closed_unix_us: at(30) }) }
}

fn policy(fulls: Option<u32>, days: Option<u64>) -> Policy {
    Policy { fulls, window: days.map(|days| Duration::from_secs(days * 86_400)) }
}

/// The days of the backups that are kept, and the segment from which on.
fn kept(policy: &Policy, sight: &Sight, now: u64) -> (Vec<u64>, u64) {
    let plan = judge(policy, &own(), sight, now);
    let kept = plan.fulls.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Keep(_)));
    let mut days: Vec<_> = kept.map(|(name, _)| name[6..8].parse().unwrap()).collect();
    days.sort_unstable();
    (days, plan.archive.unwrap().from)
}

#[test]
fn so_many_are_kept_or_what_a_window_needs_whatever_is_more() {
    let nightly = sight(1..=20);
    let now = at(20);
    assert_eq!(kept(&policy(Some(7), None), &nightly, now), ((14..=20).collect(), 13));
    // The one before the window as well, for its first moments.
    assert_eq!(kept(&policy(None, Some(3)), &nightly, now), ((17..=20).collect(), 16));
    assert_eq!(kept(&policy(None, Some(3)), &nightly, now - 1), ((16..=20).collect(), 15));
    assert_eq!(kept(&policy(Some(2), Some(3)), &nightly, now).0, (17..=20).collect::<Vec<_>>());
    assert_eq!(kept(&policy(Some(7), Some(3)), &nightly, now).0, (14..=20).collect::<Vec<_>>());
    assert_eq!(kept(&policy(Some(1), None), &nightly, now), (vec![20], 19));
    assert_eq!(kept(&policy(None, None), &nightly, now).0.len(), 20);
}

#[test]
fn the_oldest_go_first_and_every_verdict_has_its_reason() {
    let plan = judge(&policy(Some(2), None), &own(), &sight(1..=4), at(4));
    assert_eq!(plan.removals().collect::<Vec<_>>(), [name(1), name(2)]);
    let said: Vec<_> = plan.fulls.into_iter().map(|(_, verdict)| verdict).collect();
    let keep = |why: &str| Verdict::Keep(why.to_owned());
    let remove = |why: &str| Verdict::Remove(why.to_owned());
    assert_eq!(said[..2], [keep("it is the newest"), keep("it is one of the newest 2")]);
    assert_eq!(said[2..], [remove("2 newer ones are kept"), remove("2 newer ones are kept")]);
    assert_eq!(plan.oldest_unix_us, Some(at(3)));
    assert_eq!(plan.archive.unwrap().removed, 1);
}

#[test]
fn the_newest_is_kept_however_old_it_is() {
    assert_eq!(kept(&policy(Some(1), Some(1)), &sight([3].into_iter()), at(3) + 365 * DAY_US).0, [3]);
    // Nothing has been backed up for a year: the window ends with the newest thing there is.
    let mut idle = sight(1..=9);
    idle.segments.as_mut().unwrap().closed_unix_us = at(9);
    assert_eq!(kept(&policy(None, Some(3)), &idle, at(9) + 365 * DAY_US).0, [6, 7, 8, 9]);
}

#[test]
fn a_clock_that_was_wrong_keeps_more_and_never_less() {
    let change = |day: u64, change: &dyn Fn(&mut Whole)| {
        let mut sight = sight(1..=5);
        let Seen::Whole(whole) = &mut sight.fulls[usize::try_from(day - 1).unwrap()].1 else { panic!() };
        change(whole);
        sight
    };
    let one = policy(Some(1), None);
    // The newest by name ended before all others, or in the future: it takes nobody's place.
    assert_eq!(kept(&one, &change(5, &|whole| whole.ended_unix_us = at(0)), at(5)).0, [4, 5]);
    assert_eq!(kept(&one, &change(5, &|whole| whole.ended_unix_us = at(400)), at(5)).0, [4, 5]);
    assert_eq!(kept(&one, &change(2, &|whole| whole.ended_unix_us = at(400)), at(5)).0, [2, 5]);
    // It looks the newest, and holds less than another.
    let less = change(5, &|whole| whole.at_least = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-35".parse().unwrap());
    assert_eq!(kept(&one, &less, at(5)).0, [4, 5]);
    // After a loss of data that was accepted, it holds other things.
    let other = change(5, &|whole| whole.at_least = "4be0643f-1d98-573b-97cd-ca98a65347dd:1".parse().unwrap());
    assert_eq!(kept(&one, &other, at(5)).0, [5]);
    // This operator's own clock is behind.
    assert_eq!(kept(&one, &sight(1..=5), at(0)).0, [1, 2, 3, 4, 5]);
}

#[test]
fn what_alone_leads_on_is_kept() {
    let mut sight = sight(1..=5);
    for (_, seen) in &mut sight.fulls[2..] {
        let Seen::Whole(whole) = seen else { panic!() };
        whole.lead = Lead::default();
    }
    assert_eq!(kept(&policy(Some(1), Some(1)), &sight, at(30)), (vec![2, 5], 1));
    // It may hold commits from within the window by the clock of a primary, though it ended before it.
    let mut late = self::sight(1..=5);
    let Seen::Whole(whole) = &mut late.fulls[3].1 else { panic!() };
    whole.lead.held_unix_us = at(29) + 1;
    assert_eq!(kept(&policy(None, Some(1)), &late, at(30)).0, [5], "the newest began before the window");
    let Seen::Whole(whole) = &mut late.fulls[4].1 else { panic!() };
    whole.lead.held_unix_us = at(29) + 1;
    assert_eq!(kept(&policy(None, Some(1)), &late, at(30)).0, [3, 4, 5]);
}

#[test]
fn what_is_not_of_this_cluster_or_cannot_be_read_stays_and_is_told_of() {
    let mut sight = sight(1..=3);
    let Seen::Whole(whole) = &mut sight.fulls[0].1 else { panic!() };
    whole.origin.uid = "another".to_owned();
    let age = |days: u64| Seen::Unfinished { modified_unix_us: at(30) - days * DAY_US };
    let odd = [
        ("20261101T020000Z-4be0643f-shop-0", age(6)),
        ("20261101T020000Z-4be0643f-shop-1", age(7)),
        ("20261101T020000Z-4be0643f-shop-9", Seen::Unfinished { modified_unix_us: at(99) }),
        ("my-own-notes", age(400)),
    ];
    sight.fulls.extend(odd.map(|(name, seen)| (name.to_owned(), seen)));
    let plan = judge(&policy(Some(1), None), &own(), &sight, at(30));
    assert_eq!(plan.removals().collect::<Vec<_>>(), ["20261101T020000Z-4be0643f-shop-1", &name(2)]);
    let said = |of: &str| {
        let verdict = plan.fulls.iter().find(|(name, _)| name == of).map(|(_, verdict)| verdict.clone());
        let Some(Verdict::Leave(why)) = verdict else { panic!("{of}: {verdict:?}") };
        why
    };
    assert!(said(&name(1)).contains("store/shop with the uid another"));
    assert!(said("20261101T020000Z-4be0643f-shop-0").contains("7 days"));
    assert!(said("20261101T020000Z-4be0643f-shop-9").contains("7 days"));
    assert!(said("my-own-notes").contains("nothing that Grampus writes"));
    assert_eq!(plan.archive.unwrap().from, 2);
    sight.fulls.push((name(9), Seen::Unreadable("of format 9".to_owned())));
    let plan = judge(&policy(Some(1), None), &own(), &sight, at(30));
    assert!(matches!(&plan.fulls.iter().find(|(of, _)| *of == name(9)).unwrap().1, Verdict::Leave(_)));
    let cut = plan.archive.unwrap();
    assert_eq!((cut.from, cut.removed), (1, 0), "{}", cut.because);
}

#[test]
fn an_archive_that_no_backup_leads_into_is_kept() {
    let mut sight = sight(1..=2);
    for (_, seen) in &mut sight.fulls {
        let Seen::Whole(whole) = seen else { panic!() };
        whole.lead = Lead::default();
    }
    assert_eq!(kept(&policy(Some(1), None), &sight, at(30)), (vec![2], 1));
    sight.fulls.clear();
    assert_eq!(kept(&policy(Some(1), Some(1)), &sight, at(30)), (vec![], 1));
    sight.segments = None;
    assert_eq!(judge(&policy(Some(1), None), &own(), &sight, at(30)).archive, None);
}

#[test]
fn windows_are_for_people() {
    let told = [14 * 86_400, 36 * 3_600, 86_400 + 60, 90].map(|seconds| days(Duration::from_secs(seconds)));
    assert_eq!(told, ["14 d", "36 h", "1441 min", "90 s"]);
}
