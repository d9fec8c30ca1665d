//! Picks the member whose lead is predicted to interrupt writes for the shortest time.
//!
//! The prediction, in milliseconds, is made of what the question has: transactions to fetch and to execute, at the
//! member's own pace where that is known; the next move, where the node is in trouble or the member's lead was lost
//! before; a cold buffer pool, a copy or a backup under way; replicas too few to acknowledge; and the distance from
//! the zone where writes come from. It must never rule anybody out: a dear primary is better than none.

use grampus_policy::SettingsError;
use grampus_policy::primary_selection::{Answer, Candidate, Policy, Question};
use serde::Deserialize;

/// What can be set. Everything has a default; the defaults matter only in relation to each other.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct CostAware {
    /// Transactions a member executes in a second, where its own pace is not known. 1,000 is what the default policy's weights assume, too: there
    /// a cordoned node is worth 1,000 transactions, "about a second of catching up".
    pub execute_per_second: u64,
    /// Transactions a member fetches from another in a second, before it can execute them, where its own pace is not
    /// known.
    pub fetch_per_second: u64,
    /// Milliseconds that a node costs which is not Ready: it may be gone before its member has opened, and then
    /// everything begins anew.
    pub not_ready_ms: u64,
    /// Milliseconds that a cordoned node costs: it is usually drained soon, which is one more switchover.
    pub cordoned_ms: u64,
    /// Milliseconds that a node costs which is short of memory, disk or process identifiers: what runs there is about
    /// to be evicted.
    pub pressure_ms: u64,
    /// Milliseconds that a buffer pool costs which holds nothing: reads go to the volume until it is warm. One that
    /// is half full costs half.
    pub cold_ms: u64,
    /// Milliseconds that a copy or a backup costs which the member is busy with.
    pub busy_ms: u64,
    /// Milliseconds for each time that the member's lead was lost lately: what happened may happen again.
    pub lost_lead_ms: u64,
    /// Milliseconds that it costs where fewer replicas could acknowledge than have to: no commit ends until they can.
    pub no_ackers_ms: u64,
    /// Milliseconds that another zone than home costs: not an interruption, but every later commit pays for the
    /// distance.
    pub other_zone_ms: u64,
    /// The zone where writes come from. The zone of the primary before, if not given.
    pub home_zone: Option<String>,
}

impl Default for CostAware {
    fn default() -> Self {
        Self {
            execute_per_second: 1_000,
            fetch_per_second: 1_000,
            not_ready_ms: 60_000,
            cordoned_ms: 1_000,
            pressure_ms: 10_000,
            cold_ms: 500,
            busy_ms: 500,
            lost_lead_ms: 1_000,
            no_ackers_ms: 60_000,
            other_zone_ms: 100,
            home_zone: None,
        }
    }
}

/// One part of a prediction.
struct Part {
    ms: u64,
    why: String,
}

impl CostAware {
    /// The zone to stay in, if one is known.
    fn home<'a>(&'a self, question: &'a Question) -> Option<&'a str> {
        let before = || {
            let former = question.former_primary.as_deref()?;
            let led = question.candidates.iter().find(|candidate| candidate.name == former)?;
            Some(led.zone.as_str()).filter(|zone| !zone.is_empty())
        };
        self.home_zone.as_deref().or_else(before)
    }

    /// What the prediction for a candidate is made of, without the parts that are nothing.
    fn parts(&self, question: &Question, candidate: &Candidate, home: Option<&str>) -> Vec<Part> {
        let mut parts = vec![self.fetching(candidate), self.executing(candidate)];
        let mut cost = |so: bool, ms: u64, why: &str| {
            if so {
                parts.push(Part { ms, why: why.to_owned() });
            }
        };
        cost(!candidate.node_ready, self.not_ready_ms, "for a node that is not Ready");
        cost(candidate.node_cordoned, self.cordoned_ms, "for a cordoned node");
        let pressure = &candidate.node_pressure;
        let pressed = [pressure.memory, pressure.disk, pressure.pid].contains(&Some(true));
        cost(pressed, self.pressure_ms, "for a node under pressure");
        let activity = &candidate.activity;
        cost(activity.copying == Some(true), self.busy_ms, "for a copy that is under way");
        cost(activity.backing_up == Some(true), self.busy_ms, "for a backup that is under way");
        let alone = activity.ackers_afterwards.is_some_and(|ackers| ackers < question.acks);
        cost(alone, self.no_ackers_ms, "for too few replicas to acknowledge");
        if let Some(lost) = activity.failovers_in_window.filter(|lost| *lost > 0) {
            let ms = self.lost_lead_ms.saturating_mul(u64::from(lost));
            cost(true, ms, &format!("for a lead that was lost {lost} times lately"));
        }
        if let Some(warm) = candidate.capacity.buffer_pool_warm_permille {
            let cold = 1_000_u64.saturating_sub(warm);
            cost(true, self.cold_ms.saturating_mul(cold) / 1_000, &format!("for a buffer pool that is {warm} ‰ warm"));
        }
        if let Some(home) = home.filter(|home| *home != candidate.zone) {
            let there = if candidate.zone.is_empty() { "no known zone" } else { &candidate.zone };
            cost(true, self.other_zone_ms, &format!("for being in {there} instead of {home}"));
        }
        parts.retain(|part| part.ms > 0);
        parts
    }

    fn fetching(&self, candidate: &Candidate) -> Part {
        let pace = candidate.catch_up.received_transactions_per_second.filter(|pace| *pace > 0);
        let ms = time_ms(candidate.missing_transactions, pace.unwrap_or(self.fetch_per_second));
        Part { ms, why: format!("to fetch {}", transactions(candidate.missing_transactions)) }
    }

    /// Whatever is fetched has to be executed as well.
    fn executing(&self, candidate: &Candidate) -> Part {
        let (missing, unapplied) = (candidate.missing_transactions, candidate.unapplied_transactions);
        let pace = candidate.catch_up.applied_transactions_per_second.filter(|pace| *pace > 0);
        let pace = pace.unwrap_or(self.execute_per_second);
        let to_execute = missing.saturating_add(unapplied);
        let ms = match candidate.catch_up.predicted_drain_ms {
            Some(drain) => drain.saturating_add(time_ms(missing, pace)),
            None => time_ms(to_execute, pace),
        };
        Part { ms, why: format!("to execute {}", transactions(to_execute)) }
    }
}

/// How long so many transactions take, rounded up.
fn time_ms(transactions: u64, per_second: u64) -> u64 {
    transactions.saturating_mul(1_000).div_ceil(per_second.max(1))
}

fn transactions(number: u64) -> String {
    if number == 1 { "1 transaction".to_owned() } else { format!("{number} transactions") }
}

fn in_words(total: u64, parts: &[Part]) -> String {
    if parts.is_empty() {
        return "costs nothing beyond the move itself".to_owned();
    }
    let parts: Vec<String> = parts.iter().map(|part| format!("{} ms {}", part.ms, part.why)).collect();
    format!("costs about {total} ms: {}", parts.join(", "))
}

impl Policy for CostAware {
    fn check(&self) -> Result<(), SettingsError> {
        for (path, rate) in [("executePerSecond", self.execute_per_second), ("fetchPerSecond", self.fetch_per_second)] {
            if rate == 0 {
                return Err(SettingsError::at(path, "expected at least 1 transaction in a second"));
            }
        }
        if self.home_zone.as_deref() == Some("") {
            return Err(SettingsError::at("homeZone", "a zone needs a name; leave it out for the former primary's"));
        }
        Ok(())
    }

    fn decide(&self, question: &Question) -> Answer {
        let home = self.home(question);
        question
            .rank_by(|candidate| {
                let parts = self.parts(question, candidate, home);
                let total = parts.iter().fold(0, |sum: u64, part| sum.saturating_add(part.ms));
                let score = i64::try_from(total).map_or(-i64::MAX, |total| -total);
                (total, score, in_words(total, &parts))
            })
            .into_answer()
    }
}

grampus_policy::primary_selection! {
    summary: "picks the member whose lead is predicted to interrupt writes for the shortest time",
    settings_schema: include_str!("settings.schema.json"),
    policy: CostAware,
}

#[cfg(test)]
mod tests;
