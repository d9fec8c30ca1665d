//! What can happen to a cluster, and how often. A history is a list of numbers, so that proptest makes it quickly and
//! shortens it well: the events at the head of each table are the simplest.
//!
//! Some events are whole scenes (a load, a pass of an operator with everything that it starts), because acknowledged
//! writes and promotions are what is being tested, and steps chosen one by one would rarely come to either.

use proptest::prelude::*;

use super::operator::Policy;
use super::rules::Rule;

/// Something that happens. Numbers are taken modulo what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Clients commit on an open member, and nothing is sent yet.
    Write(usize),
    /// Clients commit, and everybody who is connected receives, acknowledges and applies.
    Load(usize),
    /// A client commits, and only as many replicas as are waited for receive and acknowledge it: the last to hold it.
    Lone(usize),
    /// A client commits, one replica receives it, and the primary dies before it hears so.
    Tail(usize),
    Receive(usize),
    Acknowledge(usize),
    Apply(usize),
    Sync(usize),
    /// A whole pass of an operator, and everything that it starts.
    Serve(usize, Policy),
    /// A pass of an operator, of which nothing has arrived yet.
    Pass(usize, Policy),
    Look(usize),
    LookAt(usize, usize),
    Decide(usize, Policy),
    Act(usize),
    /// A step whose answer by the API server is lost.
    ActUnheard(usize),
    Deliver(usize),
    Drop(usize),
    Double(usize),
    Task(usize),
    /// A wait of an agent is over by its clock.
    Late(usize),
    Work(usize),
    RestartOperator(usize),
    Kill(usize),
    /// Whoever is open is killed.
    KillPrimary,
    EndAgent(usize),
    /// The machine loses power, and so many transactions beyond the fsynced ones reach the disk.
    LosePower(usize, usize),
    PowerOn(usize),
    /// Every mysqld and agent ends.
    EndAll,
    Wipe(usize),
    /// A row of a replica is not what the next transactions expect: its applier ends on them.
    Break(usize),
    /// A pod is replaced on its volume: mysqld ends in an orderly way where no commit waits.
    ReplacePod(usize),
    DeletePod(usize),
    CutMembers(usize, usize),
    CutOperator(usize, usize),
    CutApi(usize),
    /// A machine is cut off from everybody but the clients on it.
    Isolate(usize),
    /// An applier is slow from now on, or no longer.
    Lag(usize),
    /// Both operators see the same and act at the same time.
    Race(Policy, Policy),
    Mend(usize),
    MendAll,
    /// The agent ends between the mark on its disk and the opening.
    EndAtOpening(usize),
    Keep(usize),
    Switchover(Option<usize>),
    Rebuild(usize),
    Grow,
    LoseRecord,
    Sleep(u64),
}

/// How an event is made of two numbers.
type Make = fn(usize, u8) -> Event;

/// Events and their weights.
type Table = &'static [(u32, Make)];

/// What goes on in a healthy cluster.
const ORDINARY: Table = &[
    (24, |one, two| Event::Serve(one % 2, policy(two))),
    (10, |one, _| Event::Load(1 + one % 2)),
    (6, |one, _| Event::Write(one)),
    (5, |one, _| Event::Lone(one)),
    (3, |one, _| Event::Receive(one)),
    (3, |one, _| Event::Acknowledge(one)),
    (1, |one, _| Event::Apply(one)),
    (1, |one, _| Event::Lag(one)),
    (1, |one, _| Event::Sync(one)),
    (1, |one, _| Event::Keep(one)),
    (2, |one, _| Event::Sleep([100, 1_200, 12_000][one % 3])),
];

/// Operators, agents and the network between them, one step at a time.
const INTERRUPTED: Table = &[
    (3, |one, two| Event::Pass(one % 2, policy(two))),
    (3, |one, two| Event::Race(policy(one as u8), policy(two))),
    (2, |one, _| Event::Look(one % 2)),
    (2, |one, two| Event::LookAt(one % 2, two.into())),
    (3, |one, two| Event::Decide(one % 2, policy(two))),
    (4, |one, _| Event::Act(one % 2)),
    (1, |one, _| Event::ActUnheard(one % 2)),
    (5, |one, _| Event::Deliver(one)),
    (1, |one, _| Event::Drop(one)),
    (1, |one, _| Event::Double(one)),
    (4, |one, _| Event::Task(one)),
    (1, |one, _| Event::Late(one)),
    (1, |one, _| Event::Work(one)),
    (1, |one, _| Event::RestartOperator(one % 2)),
];

/// What ends, and what comes back.
const ENDS: Table = &[
    (8, |_, _| Event::KillPrimary),
    (3, |one, _| Event::Tail(one)),
    (6, |one, _| Event::PowerOn(one)),
    (3, |one, _| Event::Kill(one)),
    (4, |one, two| Event::LosePower(one, usize::from(two) % 3)),
    (2, |one, _| Event::EndAgent(one)),
    (2, |one, _| Event::Wipe(one)),
    (2, |one, _| Event::Break(one)),
    (1, |_, _| Event::EndAll),
    (1, |one, _| Event::ReplacePod(one)),
    (1, |one, _| Event::DeletePod(one)),
    (1, |one, _| Event::EndAtOpening(one)),
];

/// Who cannot talk to whom.
const CUTS: Table = &[
    (3, |_, _| Event::MendAll),
    (6, |one, _| Event::Mend(one)),
    (3, |one, two| Event::CutMembers(one, two.into())),
    (2, |one, two| Event::CutOperator(one % 2, two.into())),
    (1, |one, _| Event::CutApi(one % 2)),
    (2, |one, _| Event::Isolate(one)),
];

/// What people do.
const WISHES: Table = &[
    (3, |one, two| Event::Switchover((two % 2 == 0).then_some(one))),
    (1, |one, _| Event::Rebuild(one)),
    (1, |_, _| Event::Grow),
    (1, |_, _| Event::LoseRecord),
];

/// Two operators at once, on a cluster that has just lost its primary.
const RACES: Table = &[(2, |_, _| Event::KillPrimary), (5, |one, two| Event::Race(policy(one as u8), policy(two)))];

/// Writes that are on few members, machines that stop, and primaries that die.
const REBOOTS: Table = &[
    (3, |one, _| Event::Lone(one)),
    (3, |one, _| Event::LosePower(one, 0)),
    (3, |one, _| Event::PowerOn(one)),
    (2, |_, _| Event::KillPrimary),
];

/// Servers whose appliers lag, and machines that stop.
const LAGS: Table = &[
    (3, |one, _| Event::Lag(one)),
    (3, |one, _| Event::Lone(one)),
    (2, |_, _| Event::Sleep(12_000)),
    (3, |one, _| Event::LosePower(one, 2)),
    (2, |one, _| Event::PowerOn(one)),
];

/// Tails that a replica holds while it is away.
const TAILS: Table = &[
    (3, |one, _| Event::Tail(one)),
    (3, |one, _| Event::LosePower(one, 2)),
    (2, |one, _| Event::PowerOn(one)),
    (2, |_, _| Event::KillPrimary),
];

/// Clusters that become larger.
const GROWTH: Table =
    &[(2, |_, _| Event::Grow), (2, |_, _| Event::KillPrimary), (1, |one, _| Event::CutMembers(one, 0))];

/// Drains with commits under way.
const DRAINS: Table = &[
    (3, |_, _| Event::Switchover(None)),
    (3, |one, two| Event::CutMembers(one, two.into())),
    (2, |one, _| Event::Write(one)),
    (2, |_, _| Event::MendAll),
];

/// Tables, and how often an event comes from each.
type Mix = &'static [(u32, Table)];

/// Everything.
const ALL: Mix = &[(45, ORDINARY), (26, INTERRUPTED), (20, ENDS), (11, CUTS), (4, WISHES)];

/// A cluster's size and what happens to it.
pub fn history(longest: usize) -> impl Strategy<Value = (u32, Vec<Event>)> {
    made_of(&[3, 3, 3, 3, 3, 5, 5, 5, 5, 2, 1], ALL, longest)
}

/// Histories in which a broken rule soon matters: of the sizes, and with many of the events, that it is about.
pub fn history_about(rule: Rule, longest: usize) -> impl Strategy<Value = (u32, Vec<Event>)> {
    let (replicas, mix): (&[u32], Mix) = match rule {
        Rule::CompareAndSwap => (&[3, 5], &[(2, ORDINARY), (1, RACES)]),
        Rule::RefuseStale => (&[3, 5], &[(3, ORDINARY), (2, INTERRUPTED), (1, ENDS), (1, CUTS)]),
        Rule::RaiseBeforePromise => (&[1, 2, 3], &[(3, ORDINARY), (1, GROWTH)]),
        Rule::FreezeQuorum | Rule::PrimaryIsNoReplica | Rule::Standing => (&[3], &[(2, ORDINARY), (1, REBOOTS)]),
        Rule::BootClosed => (&[3, 5], &[(3, ORDINARY), (1, ENDS), (1, CUTS)]),
        Rule::KeepRelayLogs => (&[3], &[(3, ORDINARY), (1, LAGS)]),
        Rule::NewName | Rule::SeeTails | Rule::TrimAgainstPrimary => (&[5], &[(3, ORDINARY), (1, TAILS)]),
        Rule::FenceByKill => (&[3, 5], &[(3, ORDINARY), (2, CUTS)]),
        Rule::DrainWaits => (&[3, 5], &[(3, ORDINARY), (1, DRAINS)]),
        Rule::SilenceIsNotEmptiness => (&[3], &[(3, ORDINARY), (1, WISHES), (1, ENDS), (1, CUTS)]),
    };
    made_of(replicas, mix, longest)
}

fn made_of(replicas: &'static [u32], mix: Mix, longest: usize) -> impl Strategy<Value = (u32, Vec<Event>)> {
    let numbers = proptest::collection::vec(any::<(u16, u16, u8, u8)>(), 1..longest);
    (proptest::sample::select(replicas), numbers).prop_map(move |(replicas, numbers)| {
        (replicas, numbers.into_iter().map(|numbers| event(mix, numbers)).collect())
    })
}

fn event(mix: Mix, (table, row, one, two): (u16, u16, u8, u8)) -> Event {
    let make = weighed(weighed(mix, table), row);
    make(one.into(), two)
}

fn weighed<T: Copy>(rows: &[(u32, T)], number: u16) -> T {
    let total: u32 = rows.iter().map(|(weight, _)| weight).sum();
    let mut left = u32::from(number) * total / (u32::from(u16::MAX) + 1);
    for (weight, row) in rows {
        match left.checked_sub(*weight) {
            None => return *row,
            Some(rest) => left = rest,
        }
    }
    rows[0].1
}

/// How a number becomes a policy: somewhat more often a sensible one.
fn policy(number: u8) -> Policy {
    if number < 150 { Policy::Sensible } else { Policy::Hostile(number % 10) }
}
