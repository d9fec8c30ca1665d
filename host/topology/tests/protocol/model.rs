//! The topology protocol as a model: members as real servers were measured to behave, two operators that see little
//! and stop anywhere, and everything that can happen between them. The core that decides is the product's own.
//!
//! For every rule that is built there is a test that switches it off and shows that the model then finds a loss: a check
//! that sees nothing proves nothing.

mod agent;
mod errands;
mod events;
mod history;
mod liveness;
mod member;
mod mysqld;
mod opening;
mod operator;
mod report;
mod rules;
mod transaction;
mod world;

use std::sync::Mutex;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use rstest::rstest;

use self::events::{Event, history, history_about};
use self::history::run;
use self::liveness::{End, PASSES};
use self::operator::Policy::{Hostile, Sensible};
use self::rules::{Rule, Rules};
use self::world::{Counts, World};
use crate::chance;

/// The most events of a history.
const LONGEST: usize = 110;

/// How many histories are tried with a rule switched off before it counts as unseen.
const UNTIL_SEEN: u32 = 4_000;

fn runner(cases: u32, max_shrink_iters: u32, seed: u64) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { cases, failure_persistence: None, ..chance::config(max_shrink_iters) };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

/// How a history ends when everything is mended after it.
fn ending(world: &mut World) -> Result<End, String> {
    let end = if world.broken.is_some() { Ok(End::Whole(0)) } else { world.heal(PASSES) };
    match &world.broken {
        Some(broken) => Err(broken.clone()),
        None => end,
    }
}

/// Tells what happened in a history that broke something.
fn tell(replicas: u32, events: &[Event]) -> String {
    let mut world = run(replicas, events, Rules::default(), true);
    let result = ending(&mut world);
    let log = world.log.unwrap_or_default();
    let healed = log.iter().position(|line| line.ends_with("--- healed")).unwrap_or(log.len());
    format!("{}\n{result:?}", log[..log.len().min(healed + 40)].join("\n"))
}

/// What many histories did, so that it can be seen whether they do much.
#[derive(Debug, Default)]
struct Sums {
    histories: u64,
    counts: Counts,
    waits: u64,
    errant: u64,
    passes: u64,
    longest: usize,
}

impl Sums {
    fn add(&mut self, counts: Counts, end: End) {
        self.histories += 1;
        self.counts.add(counts);
        match end {
            End::Whole(passes) => {
                self.passes += passes as u64;
                self.longest = self.longest.max(passes);
            }
            End::WaitsForAPerson => self.waits += 1,
            End::Errant => self.errant += 1,
        }
    }

    fn print(&self) {
        let each = |sum: u64| sum as f64 / self.histories.max(1) as f64;
        let Counts { acks, failovers, reopenings, trims, copies, overlapping_faults, wipes, breaks, lost_records } =
            self.counts;
        println!(
            "{} histories; on average {:.1} acknowledged writes, {:.2} promotions of another member, {:.2} reopenings, \
             {:.1} faults on top of another, {:.2} tails cut, {:.2} copies, {:.2} volumes and {:.2} records lost, {:.2} appliers \
             broken; \
             whole again after {:.1} passes, at most {}; {} waited for a person, {} of them for a stray transaction",
            self.histories,
            each(acks),
            each(failovers),
            each(reopenings),
            each(overlapping_faults),
            each(trims),
            each(copies),
            each(wipes),
            each(lost_records),
            each(breaks),
            each(self.passes),
            self.longest,
            self.waits + self.errant,
            self.errant,
        );
    }
}

#[test]
fn no_history_loses_an_acknowledged_write_or_stalls() {
    let sums = Mutex::new(Sums::default());
    let seed = chance::seed();
    let result = runner(chance::histories(), 40_000, seed).run(&history(LONGEST), |(replicas, events)| {
        let mut world = run(replicas, &events, Rules::default(), false);
        let end = ending(&mut world).map_err(TestCaseError::fail)?;
        sums.lock().unwrap().add(world.counts, end);
        Ok(())
    });
    sums.lock().unwrap().print();
    match result {
        Ok(()) => {}
        Err(TestError::Fail(why, (replicas, events))) => {
            panic!("{why}\nSEED={seed} N={replicas} {events:?}\n{}", tell(replicas, &events))
        }
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}

/// The first counter-example that is found with a rule switched off.
fn counter_example(rule: Rule) -> Option<String> {
    // What these two rules prevent is that the cluster never becomes whole again.
    let stalls = matches!(rule, Rule::SeeTails | Rule::SilenceIsNotEmptiness);
    let result = runner(UNTIL_SEEN, 0, 7).run(&history_about(rule, LONGEST), |(replicas, events)| {
        let mut world = run(replicas, &events, Rules::without(rule), false);
        let stalled = if stalls && world.broken.is_none() { world.heal(PASSES).err() } else { None };
        world.broken.or(stalled).map_or(Ok(()), |broken| Err(TestCaseError::fail(broken)))
    });
    match result {
        Err(TestError::Fail(why, _)) => Some(why.to_string()),
        Ok(()) | Err(TestError::Abort(_)) => None,
    }
}

#[rstest]
#[case::one_the_record_changes_by_compare_and_swap(Rule::CompareAndSwap, "opened in epoch")]
#[case::one_agents_refuse_the_past(Rule::RefuseStale, "acknowledged")]
#[case::two_enough_replicas_are_frozen(Rule::FreezeQuorum, "acknowledged")]
#[case::two_a_stopped_primary_is_no_replica(Rule::PrimaryIsNoReplica, "acknowledged")]
#[case::three_more_acknowledgements_come_before_their_promise(Rule::RaiseBeforePromise, "acknowledged")]
#[case::four_who_may_have_forgotten_does_not_count(Rule::Standing, "acknowledged")]
#[case::five_relay_logs_are_kept(Rule::KeepRelayLogs, "acknowledged")]
#[case::six_tails_are_seen(Rule::SeeTails, "holds other data")]
#[case::seven_a_trimmed_member_has_a_new_name(Rule::NewName, "something else")]
#[case::eight_every_server_boots_closed(Rule::BootClosed, "acknowledged")]
#[case::nine_fencing_answers_nobody(Rule::FenceByKill, "acknowledged")]
#[case::nine_only_what_the_primary_lacks_is_cut(Rule::TrimAgainstPrimary, "cuts off")]
#[case::ten_a_drain_waits_for_commits(Rule::DrainWaits, "acknowledged")]
#[case::twelve_silence_is_not_emptiness(Rule::SilenceIsNotEmptiness, "")]
fn without_a_rule_the_model_finds_what_it_prevents(#[case] rule: Rule, #[case] says: &str) {
    let found = counter_example(rule).unwrap_or_else(|| panic!("nothing is lost without {rule:?}: is it seen at all?"));
    assert!(found.contains(says), "{found}");
}

/// Histories that once stalled or lost something, as proptest shortened them.
#[rstest]
#[case::a_member_that_is_to_be_rebuilt_is_needed_meanwhile(2, &[Event::Rebuild(1), Event::LosePower(1, 0)])]
#[case::a_chosen_primary_lacks_what_was_on_a_lost_volume(5, &[
    Event::LosePower(1, 0), Event::Write(0), Event::KillPrimary, Event::Serve(1, Sensible), Event::LosePower(3, 0),
    Event::Serve(1, Sensible), Event::Serve(1, Hostile(7)), Event::Wipe(0),
])]
#[case::a_former_primary_and_a_replica_reboot_after_a_promotion_without_an_opening(3, &[
    Event::Switchover(None), Event::Serve(0, Sensible), Event::Serve(0, Sensible), Event::Serve(1, Sensible),
    Event::Serve(0, Sensible), Event::CutOperator(0, 2), Event::Serve(1, Sensible), Event::Serve(1, Hostile(2)),
    Event::Serve(0, Sensible), Event::Serve(0, Sensible), Event::Sleep(1_200), Event::Serve(0, Sensible),
    Event::LosePower(1, 0), Event::Sleep(500), Event::LosePower(0, 0),
])]
#[case::a_primary_is_started_again_before_its_end_was_seen(5, &[
    Event::KillPrimary, Event::Serve(0, Sensible), Event::Serve(0, Sensible), Event::Serve(0, Sensible),
    Event::CutApi(0), Event::EndAll, Event::Serve(0, Sensible), Event::Serve(0, Sensible), Event::Serve(1, Sensible),
    Event::KillPrimary, Event::Serve(0, Sensible),
])]
#[case::a_tail_is_of_a_primary_that_had_nothing_acknowledged_and_a_wish_names_a_stranger(2, &[
    Event::Kill(0), Event::Serve(1, Sensible), Event::Serve(1, Sensible), Event::Grow, Event::Serve(1, Sensible),
    Event::Serve(0, Sensible), Event::Serve(0, Sensible), Event::Kill(1), Event::Write(0), Event::Serve(0, Sensible),
    Event::LosePower(0, 0), Event::Serve(0, Sensible), Event::Write(0), Event::Serve(0, Sensible), Event::Write(0),
    Event::Serve(0, Sensible), Event::Serve(0, Sensible), Event::Serve(0, Sensible), Event::Load(1),
    Event::KillPrimary, Event::Switchover(Some(2)),
])]
#[case::a_candidate_catches_up_from_a_source_with_a_new_name(5, &[
    Event::Switchover(Some(1)), Event::Serve(0, Sensible), Event::Serve(0, Sensible), Event::Serve(0, Sensible),
    Event::Isolate(1), Event::Serve(0, Sensible), Event::Serve(0, Sensible), Event::Pass(0, Sensible),
    Event::Serve(0, Sensible), Event::Wipe(0), Event::Serve(0, Sensible), Event::Serve(0, Sensible), Event::Load(1),
    Event::Serve(0, Sensible), Event::KillPrimary, Event::Serve(1, Sensible), Event::Serve(0, Sensible),
])]
#[case::a_barrier_is_older_than_what_was_acknowledged_since(3, &[
    Event::Lag(1), Event::LosePower(1, 0), Event::PowerOn(1), Event::Keep(1), Event::Pass(0, Sensible), Event::Drop(0),
    Event::Serve(1, Sensible), Event::Serve(1, Sensible), Event::Sleep(12_000), Event::Lone(1), Event::LosePower(1, 0),
    Event::PowerOn(1), Event::Keep(1), Event::Look(0), Event::Decide(0, Sensible), Event::Act(0), Event::Deliver(0),
    Event::Task(0), Event::Task(0), Event::Task(0), Event::Task(0), Event::KillPrimary, Event::Serve(0, Sensible),
    Event::Serve(0, Sensible), Event::Serve(0, Sensible), Event::Serve(0, Sensible),
])]
#[case::the_last_holder_is_a_former_primary_that_was_cut_off(3, &[
    Event::Isolate(9), Event::Serve(1, Sensible), Event::Load(1), Event::Mend(33), Event::Serve(1, Sensible),
    Event::Serve(1, Sensible), Event::Wipe(53), Event::Load(1),
])]
#[case::a_record_is_adopted_before_whoever_was_chosen_last_is_there(5, &[
    Event::LosePower(7, 0), Event::KillPrimary, Event::Serve(1, Sensible), Event::Serve(1, Sensible),
    Event::Serve(1, Sensible), Event::Load(1), Event::Isolate(96), Event::Serve(1, Sensible), Event::Serve(0, Sensible),
    Event::Serve(0, Sensible), Event::Serve(0, Sensible), Event::Serve(0, Sensible), Event::Serve(0, Sensible),
    Event::Serve(0, Sensible), Event::Load(1), Event::Load(1), Event::Serve(1, Sensible), Event::Serve(1, Sensible),
    Event::LoseRecord, Event::LosePower(35, 0), Event::MendAll, Event::Serve(0, Sensible),
])]
fn what_once_went_wrong_does_not_again(#[case] replicas: u32, #[case] events: &[Event]) {
    let mut world = run(replicas, events, Rules::default(), false);
    let result = ending(&mut world);
    assert!(matches!(result, Ok(End::Whole(_) | End::WaitsForAPerson)), "{}", tell(replicas, events));
}
