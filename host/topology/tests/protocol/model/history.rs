//! How things happen: a history is carried out on a cluster that serves, one event after the other.

use std::sync::LazyLock;

use topology::snapshot::Rebuild;

use super::events::Event;
use super::member::name;
use super::operator::Policy;
use super::rules::Rules;
use super::world::{Place, Wish, World};

/// A cluster that serves, made by an operator that nobody disturbs.
pub fn serving(replicas: u32) -> World {
    static MADE: LazyLock<Vec<World>> = LazyLock::new(|| (1..=5).map(make).collect());
    MADE[replicas as usize - 1].clone()
}

fn make(replicas: u32) -> World {
    let mut world = World::new(replicas, None);
    for _ in 0..60 {
        world.serve(0, Policy::Sensible);
    }
    assert!(world.troubles().is_empty(), "a new cluster does not serve: {:?}", world.troubles());
    world.counts = super::world::Counts::default();
    world
}

/// Lets it all happen under rules. Ends at the first broken invariant.
pub fn run(replicas: u32, events: &[Event], rules: Rules, log: bool) -> World {
    let mut world = serving(replicas);
    world.rules = rules;
    world.log = log.then(Vec::new);
    for event in events {
        world.say(|| format!("--- {event:?}"));
        world.now += 50;
        world.happen(*event);
        if world.broken.is_some() {
            break;
        }
    }
    world
}

impl World {
    fn happen(&mut self, event: Event) {
        let members = self.members.len();
        let at = |number: usize| number % members;
        match event {
            Event::Write(number) => self.write_somewhere(number),
            Event::Load(writes) => {
                for number in 0..writes {
                    self.write_somewhere(number);
                }
                self.flow();
            }
            Event::Lone(first) => self.write_lone(first),
            Event::Tail(member) => {
                self.write_somewhere(member);
                self.receive(at(member), usize::MAX);
                self.kill_primary();
            }
            Event::Receive(member) => self.receive(at(member), 1),
            Event::Acknowledge(member) => self.acknowledge(at(member)),
            Event::Apply(member) => self.apply(at(member), 1),
            Event::Sync(member) => self.sync(at(member)),
            Event::Keep(member) => self.keep(at(member)),
            Event::Lag(member) => self.members[at(member)].lags ^= true,
            Event::Race(one, other) => {
                (0..2).for_each(|operator| self.look(operator));
                self.decide(0, one);
                self.decide(1, other);
                (0..2).for_each(|operator| self.act_all(operator));
            }
            Event::Serve(operator, policy) => self.serve(operator, policy),
            Event::Pass(operator, policy) => {
                self.look(operator);
                self.decide(operator, policy);
                self.act_all(operator);
            }
            Event::Look(operator) => self.look(operator),
            Event::LookAt(operator, member) => self.look_at(operator, at(member)),
            Event::Decide(operator, policy) => self.decide(operator, policy),
            Event::Act(operator) => self.act(operator, true),
            Event::ActUnheard(operator) => self.act(operator, false),
            Event::Deliver(number) => self.deliver_one(number, false),
            Event::Double(number) => self.deliver_one(number, true),
            Event::Drop(number) => {
                if !self.messages.is_empty() {
                    self.messages.remove(number % self.messages.len());
                }
            }
            Event::Task(number) => self.run_task(number % self.tasks.len().max(1), true),
            Event::Late(number) => self.run_task(number % self.tasks.len().max(1), false),
            Event::Work(member) => self.work(at(member)),
            Event::RestartOperator(operator) => self.restart_operator(operator),
            Event::Sleep(time) => self.now += time,
            Event::Switchover(_) | Event::Rebuild(_) | Event::Grow => self.wish(event),
            fault => self.suffer(fault),
        }
    }

    fn wish(&mut self, event: Event) {
        let members = self.members.len();
        let Some(record) = self.api.record.clone() else { return };
        match event {
            Event::Switchover(to) => {
                let to = to.map(|to| name(to % members));
                self.switchover = Some(Wish { to, from: record.primary, until: self.now + 3_000 });
            }
            Event::Rebuild(member) => {
                let member = name(member % members);
                self.rebuild = record.incarnation_of(&member).map(|incarnation| Rebuild { member, incarnation });
            }
            Event::Grow if self.desired.replicas == 1 => self.grow(3),
            Event::Grow => self.grow(5),
            _ => {}
        }
    }

    fn suffer(&mut self, fault: Event) {
        let members = self.members.len();
        let at = |number: usize| number % members;
        if self.is_hurt() {
            self.counts.overlapping_faults += 1;
        }
        match fault {
            Event::Kill(member) => self.kill(at(member)),
            Event::KillPrimary => self.kill_primary(),
            Event::EndAgent(member) => self.end_agent(at(member)),
            Event::LosePower(member, kept) => self.lose_power(at(member), kept),
            Event::PowerOn(member) => self.members[at(member)].powered = true,
            Event::EndAll => (0..members).for_each(|member| self.end_agent(member)),
            Event::Wipe(member) => self.wipe_within_promise(at(member)),
            Event::Break(member) => self.break_within_promise(at(member)),
            Event::DeletePod(member) => self.members[at(member)].terminating = true,
            Event::ReplacePod(member) => self.replace_pod(at(member)),
            Event::CutMembers(one, other) => self.cut(Place::Member(at(one)), Place::Member(at(other))),
            Event::CutOperator(operator, member) => self.cut(Place::Operator(operator), Place::Member(at(member))),
            Event::CutApi(operator) => self.cut(Place::Operator(operator), Place::Api),
            Event::Isolate(member) => {
                for other in 0..members {
                    self.cut(Place::Member(at(member)), Place::Member(other));
                }
                (0..2).for_each(|operator| self.cut(Place::Operator(operator), Place::Member(at(member))));
            }
            Event::Mend(number) => {
                let cut = self.cut.iter().nth(number % self.cut.len().max(1)).copied();
                cut.into_iter().for_each(|(one, other)| self.mend(one, other));
            }
            Event::MendAll => self.cut.clear(),
            Event::EndAtOpening(member) => self.end_at_opening(at(member)),
            Event::LoseRecord => self.lose_record(),
            _ => {}
        }
    }

    /// Whether something is broken already.
    fn is_hurt(&self) -> bool {
        !self.cut.is_empty() || self.members.iter().any(|member| member.mysqld.is_none() || !member.powered)
    }

    /// At most k members lose their data for good, or can execute no more of it: more is promised to nobody.
    fn wipe_within_promise(&mut self, member: usize) {
        if self.may_lose(member) {
            self.counts.wipes += 1;
            self.wipe(member);
        }
    }

    /// Who leads, or may, applies nothing that could go wrong. Where no replica can be spared a person has to ask for the
    /// copy, and there is none here.
    fn break_within_promise(&mut self, member: usize) {
        let leads = self.members[member].was_opened || self.members[member].led_last();
        let spare = self.api.record.as_ref().is_some_and(|record| record.members.len() > record.acks as usize + 1);
        if self.may_lose(member)
            && !leads
            && spare
            && let Some(data) = &mut self.members[member].data
        {
            data.broken = true;
            self.counts.breaks += 1;
        }
    }

    fn may_lose(&self, member: usize) -> bool {
        let Some(record) = &self.api.record else { return false };
        let votes = |index: usize| record.incarnation_of(&name(index)) == self.members[index].incarnation();
        let broken = |index: &usize| self.members[*index].data.as_ref().is_some_and(|data| data.broken);
        let broken = (0..self.members.len()).filter(|index| *index != member && votes(*index)).filter(broken);
        self.wiped() + broken.count() + usize::from(votes(member)) <= record.acks as usize
    }

    fn replace_pod(&mut self, member: usize) {
        if self.members[member].waiting() == 0 {
            if let Some(mysqld) = &mut self.members[member].mysqld {
                (mysqld.offline, mysqld.read_only) = (true, true);
            }
            self.terminate(member);
        }
        self.end_agent(member);
        self.members[member].terminating = false;
    }

    fn end_at_opening(&mut self, member: usize) {
        let promoted = self.tasks.iter().position(|task| {
            matches!(task, super::agent::Task::Obey(message)
                if message.member == member && matches!(message.command, super::agent::Command::Promote { .. }))
        });
        let Some(place) = promoted else { return };
        let super::agent::Task::Obey(message) = self.tasks.remove(place) else { return };
        let super::agent::Command::Promote { required, .. } = &message.command else { return };
        let ready = self.members[member]
            .running()
            .is_some_and(|(_, data)| required.is_subset_of(&data.executed()) && data.relay.is_empty());
        let current = self.members[member].claim() == Some(message.record.claim());
        let voter = message.record.incarnation_of(&name(member)) == self.members[member].incarnation();
        if ready && current && voter && !self.members[member].is_open() {
            self.mark_open(member, &message.record);
        }
        self.end_agent(member);
    }

    /// The record is lost with everybody who knew it but the members, as when a cluster is made again over its volumes.
    /// An operator that goes on under a record which others have adopted anew is left out: the members then refuse
    /// one of the two, and that waits for a person.
    /// Nor is it lost together with a volume: where only that one remembered the last epoch, its number is given again.
    fn lose_record(&mut self) {
        if self.wiped() == 0 && self.api.record.take().is_some() {
            self.counts.lost_records += 1;
            self.api.lost = true;
            self.api.version += 1;
            self.messages.clear();
            (0..2).for_each(|operator| self.restart_operator(operator));
        }
    }

    fn kill_primary(&mut self) {
        let newest = self.truth.openings.values().next_back().copied().filter(|last| self.members[*last].is_open());
        let open = newest.or_else(|| self.members.iter().position(super::member::Member::is_open));
        open.into_iter().for_each(|open| self.kill(open));
    }

    fn write_lone(&mut self, first: usize) {
        let members = self.members.len();
        let open = self.truth.openings.values().next_back().copied().filter(|last| self.members[*last].is_open());
        let Some(open) = open.filter(|open| self.write(*open).is_some()) else { return };
        let acks = self.members[open].mysqld.as_ref().map_or(0, |mysqld| mysqld.wait_count as usize);
        let others = (0..members).map(|step| (first + step) % members).filter(|other| *other != open);
        for other in others.take(acks) {
            self.receive(other, usize::MAX);
            self.acknowledge(other);
        }
    }

    fn write_somewhere(&mut self, number: usize) {
        let open: Vec<_> = self.members.iter().filter(|member| member.is_open()).map(|member| member.index).collect();
        if let Some(member) = open.get(number % open.len().max(1)) {
            self.write(*member);
        }
    }

    /// Everybody who can receives, acknowledges and applies.
    pub fn flow(&mut self) {
        for member in 0..self.members.len() {
            self.receive(member, usize::MAX);
            self.acknowledge(member);
            if !self.members[member].lags {
                self.apply(member, usize::MAX);
            }
        }
    }

    fn act_all(&mut self, operator: usize) {
        while self.operators[operator].is_acting() {
            self.act(operator, true);
        }
    }

    fn deliver_one(&mut self, number: usize, twice: bool) {
        if self.messages.is_empty() {
            return;
        }
        let place = number % self.messages.len();
        let message = if twice { self.messages[place].clone() } else { self.messages.remove(place) };
        if self.linked(Place::Operator(message.operator), Place::Member(message.member)) {
            self.deliver(message);
        }
    }

    /// A pass of an operator and everything that follows from it, without a disturbance.
    pub fn serve(&mut self, operator: usize, policy: Policy) {
        self.now += 200;
        self.flow();
        self.look(operator);
        self.decide(operator, policy);
        self.act_all(operator);
        let (ours, others) = std::mem::take(&mut self.messages)
            .into_iter()
            .partition(|message: &super::agent::Message| message.operator == operator);
        self.messages = others;
        let ours: Vec<super::agent::Message> = ours;
        for message in ours {
            if self.linked(Place::Operator(operator), Place::Member(message.member)) {
                self.deliver(message);
            }
        }
        let in_time = !(self.now / 200).is_multiple_of(8);
        for _ in 0..self.tasks.len() {
            self.run_task(0, in_time);
        }
        for member in 0..self.members.len() {
            self.keep(member);
            self.work(member);
        }
        self.flow();
    }
}
