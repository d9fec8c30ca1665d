//! What policies that scale and tune are asked: what is known, what was measured, and nothing that was not.

use std::collections::BTreeSet;
use std::sync::Arc;

use topology::advice::{self, Wanted};
use topology::assess::{assess, without_primary};
use topology::decision::{self, Capacity, CatchUp, NodePressure};
use topology::facts::ServerState;
use topology::leads::{EndedLead, EndedLeads, WINDOW_S};
use topology::measured::{Load, Resources};
use topology::scaling::{Bounds, Question, Role};
use topology::signals::{ContainerCounters, Gauges, ServerCounters, Signals, Window};
use topology::snapshot::{Probe, Snapshot};
use topology::tuning;

use crate::world::{World, choose_first};

fn wanted() -> Wanted {
    Wanted {
        resources: Resources { cpu_millicores: Some(500), memory_bytes: Some(1 << 30) },
        volume_bytes: 10 << 30,
        read_replicas: 1,
        backup_every_s: Some(86_400),
        by_person: BTreeSet::from(["max_connections".to_owned()]),
    }
}

/// Half a minute of a minute, in which a server did something a hundred times a second.
fn busy() -> Signals {
    let server = ServerCounters {
        questions: Some(3_900),
        agent_questions: Some(900),
        reads: Some(3_300),
        agent_reads: Some(900),
        page_requests: Some(10_000),
        page_misses: Some(250),
        semi_sync_waits: Some(10),
        semi_sync_wait_us: Some(4_000),
        tmp_tables: Some(8),
        tmp_disk_tables: Some(2),
        ..ServerCounters::default()
    };
    let container = ContainerCounters {
        cpu_us: Some(15_000_000),
        cpu_periods: Some(600),
        cpu_throttled_periods: Some(150),
        ..ContainerCounters::default()
    };
    let minute = Window { served_ms: 30_000, elapsed_ms: 60_000, server, container, ..Window::default() };
    let hour = Window { served_ms: 3_600_000, elapsed_ms: 3_600_000, volume_growth_bytes: Some(-5), ..minute };
    let now = Gauges {
        max_connections: Some(151),
        buffer_pool_bytes: Some(1_000),
        buffer_pool_data_bytes: Some(250),
        volume_free_bytes: Some(77),
        ..Gauges::default()
    };
    let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let settings = vec![setting("innodb_adaptive_hash_index", "off"), setting("max_connections", "151")];
    Signals { minute: Some(minute), hour: Some(hour), now, settings, problem: None }
}

/// A cluster with a reader, of which only the primary was measured.
fn measured() -> Snapshot {
    let mut world = World::serving(3);
    assert!(world.write());
    world.scale_readers(1);
    world.settle(40, choose_first);
    looked_at(&world)
}

/// The snapshot, with replicas that let applications in, and with what was measured of the first member.
fn looked_at(world: &World) -> Snapshot {
    let mut snapshot = world.snapshot();
    for member in &mut snapshot.members {
        if let Probe::Known { report, .. } = &mut member.probe
            && let ServerState::Running(facts) = &mut report.server
        {
            facts.offline = false;
        }
    }
    snapshot.members[0].signals = Some(Arc::new(busy()));
    snapshot
}

fn scaling(snapshot: &Snapshot) -> Option<Question> {
    advice::scaling(snapshot, &assess(snapshot), &wanted(), Bounds::default())
}

fn tuning(snapshot: &Snapshot) -> Option<tuning::Question> {
    advice::tuning(snapshot, &assess(snapshot), &wanted())
}

#[test]
fn whoever_scales_is_told_of_every_server_and_of_no_load_that_was_not_measured() {
    let question = scaling(&measured()).unwrap();
    let servers: Vec<_> =
        question.servers.iter().map(|server| (server.name.as_str(), server.role, server.serving)).collect();
    assert_eq!(
        servers,
        [
            ("shop-0", Role::Primary, true),
            ("shop-1", Role::Replica, true),
            ("shop-2", Role::Replica, true),
            ("shop-read-0", Role::ReadReplica, true),
        ]
    );
    let load = &question.servers[0].load;
    assert_eq!((load.window_s, load.queries_per_second, load.reads_per_second), (30, Some(100), Some(80)));
    assert_eq!((load.cpu_used_millicores, load.cpu_throttled_permille), (Some(250), Some(250)));
    assert_eq!((load.buffer_pool_hit_permille, load.semi_sync_wait_micros), (Some(975), Some(400)));
    assert_eq!((load.volume_growth_bytes_per_hour, load.volume_free_bytes), (Some(-5), Some(77)));
    assert_eq!((load.data_read_micros, load.replication_lag_s), (None, None));
    let replica = &question.servers[1].load;
    assert_eq!(*replica, Load { replication_lag_s: replica.replication_lag_s, ..Load::default() });
    let present = &question.present;
    assert_eq!((present.members, present.acks, present.read_replicas), (3, 1, 1));
    assert_eq!((present.resources, present.unsettled.as_deref()), (wanted().resources, None));
}

#[test]
fn whoever_tunes_is_told_what_is_in_force_and_what_a_person_set() {
    let question = tuning(&measured()).unwrap();
    let settings = question.present.settings.iter();
    let settings: Vec<_> =
        settings.map(|setting| (setting.name.as_str(), setting.value.as_str(), setting.by_person)).collect();
    assert_eq!(settings, [("innodb_adaptive_hash_index", "OFF", false), ("max_connections", "151", true),]);
    let activity = &question.activity;
    assert_eq!((activity.tmp_tables_per_hour, activity.tmp_tables_on_disk_permille), (Some(8), Some(250)));
    assert_eq!((activity.buffer_pool_used_permille, activity.log_waits_per_hour), (Some(250), None));
    assert_eq!(question.load.window_s, 3_600);
    let mut unknown = measured();
    unknown.members[0].signals = None;
    assert_eq!((tuning(&unknown), scaling(&unknown)), (None, None), "nobody is asked about what is not known");
}

#[test]
fn a_cluster_in_trouble_says_so_and_one_that_nobody_leads_is_asked_nothing() {
    let mut world = World::serving(3);
    assert!(world.write());
    world.power_off("shop-2");
    let unsettled = scaling(&looked_at(&world)).unwrap().present.unsettled;
    assert!(unsettled.as_deref().is_some_and(|why| why.contains("shop-2")), "{unsettled:?}");
    world.power_off("shop-0");
    assert_eq!(scaling(&looked_at(&world)), None);
    assert_eq!(scaling(&looked_at(&World::new(3))), None);
}

#[test]
fn a_reader_that_is_not_there_yet_is_no_trouble_and_does_not_serve() {
    let mut world = World::serving(3);
    assert!(world.write());
    world.scale_readers(1);
    let question = scaling(&looked_at(&world)).unwrap();
    let reader = question.servers.last().unwrap();
    assert_eq!((reader.role, reader.serving, question.present.unsettled), (Role::ReadReplica, false, None));
}

#[test]
fn growth_of_a_moment_is_not_told_as_that_of_an_hour() {
    let mut snapshot = measured();
    let mut signals = busy();
    if let Some(hour) = &mut signals.hour {
        (hour.elapsed_ms, hour.volume_growth_bytes) = (30_000, Some(1 << 30));
    }
    snapshot.members[0].signals = Some(Arc::new(signals));
    assert_eq!(scaling(&snapshot).unwrap().servers[0].load.volume_growth_bytes_per_hour, None);
}

#[test]
fn a_candidate_is_weighed_with_what_was_measured_of_it_and_of_the_primary() {
    let mut snapshot = measured();
    let limited = |cpu: u64| Gauges { cpu_limit_millicores: Some(cpu), pending_bytes: Some(9), ..busy().now };
    let server = ServerCounters {
        behind_transactions: Some(500),
        behind_ms: Some(10_000),
        received_transactions: Some(600),
        ..ServerCounters::default()
    };
    let minute = Window { served_ms: 60_000, elapsed_ms: 60_000, server, ..Window::default() };
    snapshot.members[0].signals = Some(Arc::new(Signals { now: limited(2_000), ..busy() }));
    snapshot.members[1].signals = Some(Arc::new(Signals { minute: Some(minute), now: limited(500), ..busy() }));
    let question = without_primary(&snapshot).unwrap().unwrap();
    let (known, unknown) = (&question.candidates[1], &question.candidates[2]);
    assert_eq!(known.catch_up.applied_transactions_per_second, Some(50));
    assert_eq!(known.catch_up.received_transactions_per_second, Some(10));
    assert_eq!((known.catch_up.unapplied_bytes, known.catch_up.predicted_drain_ms), (Some(9), Some(0)));
    assert_eq!((known.capacity.cpu_to_primary_permille, known.capacity.memory_to_primary_permille), (Some(250), None));
    assert_eq!((known.capacity.buffer_pool_warm_permille, known.capacity.volume_free_bytes), (Some(250), Some(77)));
    assert_eq!(unknown.capacity, Capacity::default());
    let lag = unknown.catch_up.replication_lag_s;
    assert_eq!(unknown.catch_up, CatchUp { replication_lag_s: lag, ..CatchUp::default() });
}

#[test]
fn what_a_node_and_a_volume_are_is_told_of_whoever_was_not_measured() {
    let mut snapshot = measured();
    let pod = snapshot.members[1].pod.as_mut().unwrap();
    pod.node_pressure = NodePressure { memory: Some(true), disk: Some(false), pid: None };
    pod.storage_class = Some("fast".to_owned());
    let question = without_primary(&snapshot).unwrap().unwrap();
    let (known, unknown) = (&question.candidates[1], &question.candidates[2]);
    assert_eq!(known.node_pressure, NodePressure { memory: Some(true), disk: Some(false), pid: None });
    assert_eq!(known.capacity, Capacity { storage_class: Some("fast".to_owned()), ..Capacity::default() });
    assert_eq!((&unknown.node_pressure, &unknown.capacity), (&NodePressure::default(), &Capacity::default()));
}

/// What would be asked, where these leads ended while somebody watched for so long.
fn with_leads(watched_ms: u64, ended: &[EndedLead]) -> decision::Question {
    let mut snapshot = measured();
    snapshot.record.as_mut().unwrap().primary_since_epoch = 7;
    snapshot.ended_leads = EndedLeads { watched_ms, ended: ended.to_vec() };
    without_primary(&snapshot).unwrap().unwrap()
}

/// Of each member how often its lead was lost, and how many seconds ago one ended.
fn each_led(question: &decision::Question) -> Vec<(Option<u32>, Option<u64>)> {
    let each = question.candidates.iter().map(|one| &one.activity);
    each.map(|activity| (activity.failovers_in_window, activity.since_led_s)).collect()
}

#[test]
fn leads_that_ended_are_counted_over_the_time_that_somebody_watched_and_no_longer() {
    let ended = |member: &str, epoch, ago_ms, lost| EndedLead { member: member.to_owned(), epoch, ago_ms, lost };
    let history = [
        ended("shop-1", 2, 4_000_000, true),
        ended("shop-1", 3, 3_000_000, true),
        ended("shop-2", 4, 2_000_000, false),
        ended("shop-1", 5, 900_000, true),
        ended("shop-0", 8, 10, true),
    ];
    let hour = with_leads(9_000_000, &history);
    let counted = (hour.failover_window_s, hour.failovers_in_window);
    assert_eq!(counted, (Some(WINDOW_S), Some(2)), "not what is older, and not what is being decided about");
    assert_eq!(each_led(&hour), [(Some(0), Some(0)), (Some(2), Some(900)), (Some(0), Some(2_000))]);
    assert_eq!(with_leads(100_000, &history).failovers_in_window, Some(0));
    let unwatched = with_leads(999, &[]);
    let counted = (unwatched.failover_window_s, unwatched.failovers_in_window);
    assert_eq!(counted, (None, None), "nothing is known, which is not nothing");
    assert_eq!(each_led(&unwatched)[1], (None, None));
}
