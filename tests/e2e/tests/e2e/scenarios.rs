//! Faults that last for a while, or come two at once. `make chaos` has more of them, in any order and for any time.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::world;
use kit::{Load, Operator, Scenario, survive};

/// How long what lasts is left so: longer than detection and failover take together.
const HOLD: Duration = Duration::from_secs(6);

/// Writers of the proof under faults.
const WRITERS: u64 = 8;

/// Who has to lead afterwards.
#[derive(PartialEq, Eq)]
enum Leads {
    Another,
    TheSame,
    Anyone,
}

fn survives(kind: Scenario, leads: Leads) {
    world().run(async move |cluster| -> Result<()> {
        let before = cluster.record().await?;
        let survived = survive(&cluster, kind, HOLD, Load { writers: WRITERS, ..Load::default() }).await?;
        println!("{survived}");
        survived.hold()?;
        let after = cluster.record().await?;
        let replaced = after.epoch > before.epoch;
        ensure!(leads != Leads::Another || replaced, "{} should have been replaced", before.primary);
        ensure!(leads != Leads::TheSame || !replaced, "{} was replaced for nothing", before.primary);
        Ok(())
    });
}

#[test]
fn a_mysqld_that_hangs_is_replaced_and_acknowledges_nothing_when_it_wakes() {
    survives(Scenario::PrimaryHangs, Leads::Another);
}

#[test]
fn a_node_that_hangs_is_replaced_and_acknowledges_nothing_when_it_wakes() {
    survives(Scenario::PrimaryNodeHangs, Leads::Another);
}

#[test]
fn a_primary_that_is_cut_off_is_replaced_and_acknowledges_nothing() {
    survives(Scenario::PrimaryCutOff, Leads::Another);
}

#[test]
fn a_primary_that_is_cut_off_from_its_replicas_is_replaced_though_the_operator_that_acts_is_beside_it() {
    world().run(async |cluster| Operator::of(cluster.env()).place_primary(&cluster, true).await);
    survives(Scenario::PrimaryCutFromReplicas, Leads::Another);
}

#[test]
fn two_primaries_that_die_one_after_the_other_lose_nothing() {
    survives(Scenario::TwoPrimariesKilled, Leads::Another);
}

#[test]
fn all_processes_at_once_lose_nothing() {
    survives(Scenario::AllContainersKilled, Leads::Anyone);
}

#[test]
fn an_operator_that_slept_through_a_failover_changes_nothing_when_it_wakes() {
    survives(Scenario::OperatorSleepsThroughAFailover, Leads::Another);
}

#[test]
fn an_operator_that_is_replaced_moves_no_role() {
    survives(Scenario::OperatorKilled, Leads::TheSame);
}

#[test]
fn an_agent_that_hangs_for_a_moment_is_no_reason_to_replace_its_mysqld() {
    survives(Scenario::PrimaryAgentHangs, Leads::TheSame);
}

#[test]
fn a_replica_that_is_cut_off_perhaps_with_an_operator_beside_it_is_no_reason_to_replace_the_primary() {
    world().run(async |cluster| Operator::of(cluster.env()).place_primary(&cluster, false).await);
    survives(Scenario::ReplicaCutOff, Leads::TheSame);
}

#[test]
fn a_cluster_serves_without_an_api_server() {
    survives(Scenario::ApiServerCutOff, Leads::TheSame);
}
