//! Rehearsals: situations a module must survive before it decides anything real.
//!
//! Passing means: it answered within its limits and wanted nothing that it may not have. A hold passes, and so does
//! whoever keeps everything. Rehearsals must never judge taste.

pub mod scaling;
pub mod tuning;
pub mod window;

use topology::decision::{Activity, Candidate, Capacity, CatchUp, Ineligible, NodePressure, Question, Trigger};

use crate::error::LoadError;
use crate::kind::DecisionKind;
use crate::module::Binding;

/// The namespace of every rehearsal's cluster. No real one can have it: it is no valid name in Kubernetes.
pub const REHEARSAL_NAMESPACE: &str = "(rehearsal)";

/// Asks a binding every built-in question.
pub fn rehearse<Q: DecisionKind>(binding: &Binding<Q>) -> Result<(), LoadError> {
    rehearse_on(binding, Q::rehearsals().iter().map(|(name, question)| (*name, question)))
}

/// Asks a binding questions, each with its name, until it fails.
pub fn rehearse_on<'a, Q: DecisionKind>(
    binding: &Binding<Q>,
    questions: impl IntoIterator<Item = (&'a str, &'a Q)>,
) -> Result<(), LoadError> {
    for (name, question) in questions {
        if let Err(failure) = binding.decide(question).result {
            return Err(LoadError::DryRun { question: name.to_owned(), failure });
        }
    }
    Ok(())
}

/// The built-in questions with a name for each: clusters of 0 to 7 members, from plain to hopeless.
pub fn built_in_questions() -> Vec<(&'static str, Question)> {
    let gone = |members: &mut Vec<Candidate>| refuse(&mut members[0], "unreachable", "its agent does not answer");
    let case = |count: u32, change: &dyn Fn(&mut Vec<Candidate>)| {
        let mut members: Vec<Candidate> = (0..count).map(member).collect();
        change(&mut members);
        failover(members)
    };
    let switchover = |question: Question| Question { trigger: Trigger::Switchover, without_primary_ms: 0, ..question };
    let leads = |members: &mut Vec<Candidate>| refuse(&mut members[0], "former-primary", "it led until now");
    vec![
        ("no members at all", case(0, &|_| {})),
        ("one member, the former primary", case(1, &|_| {})),
        ("one member, unreachable", case(1, &gone)),
        ("two members, one left", case(2, &gone)),
        ("three members, two equal", case(3, &gone)),
        (
            "three members, none eligible",
            case(3, &|members| {
                for member in members {
                    refuse(member, "not-frozen", "it has not stored this claim");
                }
            }),
        ),
        ("three members, nothing known of any", case(3, &|members| members.iter_mut().for_each(unknown))),
        (
            "three members, one far behind",
            case(3, &|members| {
                gone(members);
                members[1].missing_transactions = 4_000_000;
                members[2].unapplied_transactions = 12;
            }),
        ),
        (
            "three members, counters at their end",
            case(3, &|members| {
                gone(members);
                members[1].missing_transactions = u64::MAX;
                members[1].unapplied_transactions = u64::MAX;
            }),
        ),
        ("five members in three zones", case(5, &gone)),
        (
            "five members, one errant, one leaving",
            case(5, &|members| {
                gone(members);
                refuse(&mut members[1], "errant", "it holds transactions that no primary committed: 1-7");
                refuse(&mut members[4], "leaving", "it is being removed");
            }),
        ),
        (
            "five members, a zone cordoned and a node down",
            case(5, &|members| {
                gone(members);
                members[1].node_cordoned = true;
                members[4].node_cordoned = true;
                members[2].node_ready = false;
            }),
        ),
        ("five members, everything known of each", case(5, &|members| known(members))),
        ("seven members, all healthy", case(7, &gone)),
        (
            "seven members, a bare majority",
            case(7, &|members| {
                for member in &mut members[..3] {
                    refuse(member, "unreachable", "its agent does not answer");
                }
            }),
        ),
        ("switchover among three", switchover(case(3, &leads))),
        (
            "switchover, nobody to switch to",
            switchover(case(3, &|members| {
                leads(members);
                refuse(&mut members[1], "applier-broken", "its applier stopped: Error 1062");
                refuse(&mut members[2], "unreachable", "its agent does not answer");
            })),
        ),
    ]
}

fn failover(candidates: Vec<Candidate>) -> Question {
    Question {
        namespace: REHEARSAL_NAMESPACE.to_owned(),
        cluster: "shop".to_owned(),
        epoch: 7,
        trigger: Trigger::Failover,
        now_unix_ms: 1_767_225_600_000,
        seed: 0x5eed_5eed_5eed_5eed,
        without_primary_ms: 850,
        former_primary: candidates.first().map(|first| first.name.clone()),
        acks: u32::try_from(candidates.len().saturating_sub(1) / 2).unwrap_or(u32::MAX).max(1),
        failover_window_s: None,
        failovers_in_window: None,
        candidates,
        facts: Vec::new(),
    }
}

fn member(ordinal: u32) -> Candidate {
    let zones = ["a", "b", "c"];
    Candidate {
        name: format!("shop-{ordinal}"),
        ordinal,
        zone: zones[ordinal as usize % zones.len()].to_owned(),
        node: format!("node-{ordinal}"),
        labels: vec![
            ("app.kubernetes.io/instance".to_owned(), "shop".to_owned()),
            ("app.kubernetes.io/name".to_owned(), "mysql".to_owned()),
        ],
        ineligible: Vec::new(),
        missing_transactions: 0,
        unapplied_transactions: u64::from(ordinal % 2),
        node_ready: true,
        node_cordoned: false,
        node_pressure: NodePressure::default(),
        version: "8.4.6".to_owned(),
        catch_up: CatchUp::default(),
        capacity: Capacity::default(),
        activity: Activity::default(),
        facts: Vec::new(),
    }
}

fn refuse(member: &mut Candidate, code: &str, message: &str) {
    member.ineligible.push(Ineligible { code: code.to_owned(), message: message.to_owned() });
}

/// Five members of which everything is known that can be, from small to the ends of the numbers.
fn known(members: &mut [Candidate]) {
    refuse(&mut members[0], "unreachable", "its agent does not answer");
    for (member, number) in members.iter_mut().zip([7, 0, 40, 1_000, u64::MAX]) {
        let small = u32::try_from(number).unwrap_or(u32::MAX);
        let so = number % 2 == 0;
        member.node_pressure = NodePressure { memory: Some(so), disk: Some(!so), pid: Some(false) };
        member.catch_up = CatchUp {
            missing_bytes: Some(number),
            unapplied_bytes: Some(number),
            received_transactions_per_second: Some(number),
            applied_transactions_per_second: Some(number),
            predicted_drain_ms: Some(number),
            replication_lag_s: Some(number),
        };
        member.capacity = Capacity {
            cpu_limit_millicores: Some(number),
            memory_limit_bytes: Some(number),
            cpu_to_primary_permille: Some(number),
            memory_to_primary_permille: Some(number),
            buffer_pool_bytes: Some(number),
            buffer_pool_warm_permille: Some(number.min(1_000)),
            volume_bytes: Some(number),
            volume_free_bytes: Some(number),
            storage_class: Some("fast".to_owned()),
        };
        member.activity = Activity {
            ackers_afterwards: Some(small),
            copying: Some(so),
            backing_up: Some(!so),
            since_led_s: Some(number),
            failovers_in_window: Some(small),
        };
    }
}

/// What is left of a member nobody has heard of: its name.
fn unknown(member: &mut Candidate) {
    refuse(member, "unreachable", "its agent has not been reached yet");
    member.zone.clear();
    member.node.clear();
    member.version.clear();
    member.labels.clear();
    member.node_ready = false;
}
