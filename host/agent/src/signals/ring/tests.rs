use proptest::prelude::*;

use super::*;

/// What one server does that works at the same pace for ever, and what happens to whoever watches it.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// Time passes, and it answers.
    Looked { after_ms: u64, running: u64 },
    /// Time passes, and it does not.
    Silent { after_ms: u64 },
    /// mysqld is started anew, and counts from nothing.
    Restarted,
    /// The clock is set back, further than anything that follows takes: a clock that is set back by less than that cannot
    /// be told from one that is slow.
    SetBack { by_ms: u64 },
    /// The clock is set forward.
    SetForward { by_ms: u64 },
}

const PER_MS: u64 = 3;

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        20 => (1..20_000_u64, 0..50_u64).prop_map(|(after_ms, running)| Event::Looked { after_ms, running }),
        2 => (1..900_000_u64, 0..50_u64).prop_map(|(after_ms, running)| Event::Looked { after_ms, running }),
        2 => (1..90_000_u64).prop_map(|after_ms| Event::Silent { after_ms }),
        2 => Just(Event::Restarted),
        1 => (900_000..1_000_000_u64).prop_map(|by_ms| Event::SetBack { by_ms }),
        1 => (0..100_000_u64).prop_map(|by_ms| Event::SetForward { by_ms }),
    ]
}

/// The ring after everything, and whether the clock was ever set forward.
fn lived(events: &[Event]) -> (Ring, bool) {
    let (mut ring, mut forward) = (Ring::default(), false);
    let (mut now, mut clock, mut started) = (0_u64, 1_000_000_000_u64, 0_u64);
    for event in events {
        let (passed, running) = match *event {
            Event::Looked { after_ms, running } => (after_ms, Some(running)),
            Event::Silent { after_ms } => (after_ms, None),
            Event::Restarted => {
                started = now;
                continue;
            }
            Event::SetBack { by_ms } => {
                clock = clock.saturating_sub(by_ms);
                continue;
            }
            Event::SetForward { by_ms } => {
                (clock, forward) = (clock + by_ms, true);
                continue;
            }
        };
        (now, clock) = (now + passed, clock + passed);
        let server = running.map(|running| ServerSample {
            process: Running { pid: 7, started_unix_ms: started },
            counters: ServerCounters { questions: Some((now - started) * PER_MS), ..ServerCounters::default() },
            transactions: Some(Transactions { incarnation: Uuid::nil(), executed: now, known: now + running % 2 }),
            running,
            connected: running * 2,
        });
        let container = ContainerCounters { cpu_us: Some(now * 250), ..ContainerCounters::default() };
        ring.take(Sample { at_ms: clock, server, container, volume_used: Some(now) });
    }
    (ring, forward)
}

fn last_running(events: &[Event]) -> Option<u64> {
    events.iter().rev().find_map(|event| match event {
        Event::Looked { running, .. } => Some(Some(*running)),
        Event::Silent { .. } => Some(None),
        _ => None,
    })?
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, rng_seed: proptest::test_runner::RngSeed::Fixed(1), ..ProptestConfig::default() })]

    /// Restarts, silences and a clock that goes back leave the pace as it is; a clock that jumps ahead can only show less.
    #[test]
    fn a_steady_load_is_told_as_what_it_is(events in proptest::collection::vec(event(), 0..200)) {
        let (ring, forward) = lived(&events);
        for (window, longest) in [(ring.minute(), MINUTE_MS + SLACK_MS), (ring.hour(), HOUR_MS + SLACK_MS + COARSE_MS)] {
            let Some(window) = window else { continue };
            prop_assert!(window.served_ms <= window.elapsed_ms && window.elapsed_ms <= longest);
            let counted = window.server.questions.unwrap_or(0);
            let moved = window.server.transactions.unwrap_or(0);
            prop_assert!(counted <= window.served_ms * PER_MS && moved <= window.served_ms);
            if !forward {
                prop_assert_eq!((counted, moved), (window.served_ms * PER_MS, window.served_ms));
                prop_assert_eq!(window.container.cpu_us.unwrap_or(0), window.elapsed_ms * 250);
            }
            let (behind, behind_ms) = (window.server.behind_transactions.unwrap_or(0), window.server.behind_ms.unwrap_or(0));
            prop_assert!(behind <= moved && behind_ms <= window.served_ms && (forward || behind == behind_ms));
            prop_assert!(window.running_threads_peak >= last_running(&events));
            let average = window.running_threads_milli.unwrap_or(0);
            prop_assert!(average <= window.running_threads_peak.unwrap_or(0) * 1_000);
            prop_assert_eq!(window.connections_peak, window.running_threads_peak.map(|most| most * 2));
        }
    }

    #[test]
    fn however_long_it_runs_it_stays_as_small(events in proptest::collection::vec(event(), 0..400)) {
        let (ring, _) = lived(&events);
        prop_assert!(ring.fine.len() <= FINE && ring.coarse.len() <= COARSE);
    }

    #[test]
    fn nonsense_is_survived(samples in proptest::collection::vec((any::<u64>(), any::<u64>(), any::<bool>()), 0..20)) {
        let mut ring = Ring::default();
        for (at_ms, number, answers) in samples {
            let container = ContainerCounters { oom_kills: Some(number), ..ContainerCounters::default() };
            let server = answers.then(|| ServerSample {
                process: Running { pid: 1, started_unix_ms: 1 },
                counters: ServerCounters { reads: Some(number), ..ServerCounters::default() },
                transactions: Some(Transactions { incarnation: Uuid::nil(), executed: number, known: at_ms }),
                running: number,
                connected: number,
            });
            ring.take(Sample { at_ms, server, container, volume_used: Some(number) });
            let told = [ring.minute(), ring.hour()];
            prop_assert!(told.iter().flatten().all(|window| window.served_ms <= window.elapsed_ms));
        }
    }
}

fn looked(ring: &mut Ring, at_s: u64, questions: u64, executed: (u128, u64)) {
    let server = ServerSample {
        process: Running { pid: 1, started_unix_ms: 1 },
        counters: ServerCounters { questions: Some(questions), ..ServerCounters::default() },
        transactions: Some(Transactions {
            incarnation: Uuid::from_u128(executed.0),
            executed: executed.1,
            known: executed.1,
        }),
        running: 0,
        connected: 1,
    };
    ring.take(Sample { at_ms: at_s * 1_000, server: Some(server), ..Sample::default() });
}

#[test]
fn counters_that_somebody_reset_have_counted_what_they_show_and_another_copys_transactions_are_no_work() {
    let mut ring = Ring::default();
    looked(&mut ring, 10, 1_000, (1, 500));
    assert_eq!(ring.minute(), None, "one look is no rate");
    looked(&mut ring, 20, 40, (1, 520));
    looked(&mut ring, 30, 50, (2, 90_000));
    looked(&mut ring, 40, 50, (2, 90_001));
    let minute = ring.minute().unwrap();
    assert_eq!((minute.server.questions, minute.server.transactions), (Some(50), Some(21)));
    assert_eq!(minute.per_minute(minute.server.questions), Some(100));
}

#[test]
fn after_a_pause_the_minute_is_what_came_after_it_and_the_hour_holds_both() {
    let mut ring = Ring::default();
    for at in 1..=12 {
        looked(&mut ring, at * 10, at * 100, (1, 0));
    }
    looked(&mut ring, 1_000, 50_000, (1, 0));
    assert_eq!(ring.minute(), None, "nothing is known of the last minute");
    looked(&mut ring, 1_010, 50_100, (1, 0));
    let (minute, hour) = (ring.minute().unwrap(), ring.hour().unwrap());
    assert_eq!((minute.elapsed_ms, minute.server.questions), (10_000, Some(100)));
    assert_eq!((hour.elapsed_ms, hour.server.questions), (1_000_000, Some(50_000)));
}
