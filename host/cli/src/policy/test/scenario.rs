//! The file format of scenarios, and the question that a scenario stands for.
//!
//! What is not said has the value of a healthy cluster, the same as in the SDK's own scenarios. A field that is
//! misspelt must be refused: it would silently ask something else.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use engine::LoadError;
use serde::Deserialize;
use serde_json::Value;
use topology::decision::{Activity, Candidate, Capacity, CatchUp, Ineligible, NodePressure, Question, Trigger};

use super::compare::{Difference, compare};
use super::situation::exactly;
use super::{Answered, File, Scene};

/// A situation and what is expected in it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Scenario {
    /// What it shows, as a sentence.
    pub name: String,
    /// Settings instead of the file's.
    pub settings: Option<Value>,
    /// Why somebody has to be chosen. A failover if not given.
    #[serde(default = "failover")]
    trigger: Trigger,
    /// The primary before. The first member if not given.
    former_primary: Option<String>,
    /// How many replicas acknowledge a commit. (N − 1) / 2 if not given, at least 1.
    acks: Option<u32>,
    /// The epoch whose primary is chosen.
    #[serde(default = "epoch")]
    epoch: u64,
    /// Milliseconds without a primary. 800 in a failover if not given.
    without_primary_ms: Option<u64>,
    /// Milliseconds since 1970.
    #[serde(default = "now_unix_ms")]
    now_unix_ms: u64,
    /// The number to choose at random with.
    #[serde(default = "seed")]
    seed: u64,
    /// Every voting member. May be left out where only settings are checked.
    #[serde(default)]
    members: Vec<Member>,
    /// What the module shall say.
    pub expect: Expect,
}

/// A voting member: healthy, on a node of its own in zone `a`, with every transaction, unless something else is
/// said.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Member {
    name: String,
    #[serde(default = "zone")]
    zone: String,
    /// `node-` and the member's number if not given.
    node: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// Why it cannot be chosen: codes with sentences.
    #[serde(default)]
    ineligible: BTreeMap<String, String>,
    #[serde(default)]
    missing: u64,
    #[serde(default)]
    unapplied: u64,
    #[serde(default = "yes")]
    node_ready: bool,
    #[serde(default)]
    cordoned: bool,
    #[serde(default = "version")]
    version: String,
    /// From here on fields are named as in the question, as the journal writes it.
    #[serde(default, deserialize_with = "exactly")]
    node_pressure: NodePressure,
    #[serde(default, deserialize_with = "exactly")]
    catch_up: CatchUp,
    #[serde(default, deserialize_with = "exactly")]
    capacity: Capacity,
    #[serde(default, deserialize_with = "exactly")]
    activity: Activity,
    #[serde(default)]
    facts: BTreeMap<String, String>,
}

/// What a module shall say: exactly one of `chosen`, `hold` and `refused`, with what else matters.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Expect {
    /// Who shall lead.
    pub chosen: Option<String>,
    /// That nobody shall, and texts that the reason contains.
    pub hold: Option<Texts>,
    /// That the settings are refused.
    pub refused: Option<Refused>,
    /// Texts that the choice's reason contains.
    #[serde(default)]
    pub reason: Texts,
    /// Names of members in the order of the ranking, those that are ruled out left out.
    pub order: Option<Vec<String>>,
    /// Everybody who is ruled out, with texts that the reason contains.
    pub vetoes: Option<BTreeMap<String, Texts>>,
}

/// What is wrong with settings.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// The path that is told; any if not given.
    pub path: Option<String>,
    /// Texts that the message contains.
    #[serde(default)]
    pub message: Texts,
}

/// One text or several.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(from = "OneOrMany")]
pub struct Texts(pub Vec<String>);

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text or a list of texts")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl From<OneOrMany> for Texts {
    fn from(texts: OneOrMany) -> Self {
        match texts {
            OneOrMany::One(text) => Self(vec![text]),
            OneOrMany::Many(texts) => Self(texts),
        }
    }
}

fn failover() -> Trigger {
    Trigger::Failover
}

fn epoch() -> u64 {
    2
}

fn now_unix_ms() -> u64 {
    1_700_000_000_000
}

fn seed() -> u64 {
    42
}

fn zone() -> String {
    "a".to_owned()
}

fn yes() -> bool {
    true
}

fn version() -> String {
    "8.4.6".to_owned()
}

/// Reads a file of scenarios.
///
/// # Errors
/// The line that does not fit, or the scenario that expects nothing, or two things at once.
pub fn read(text: &str) -> anyhow::Result<File<Scenario>> {
    let file: File<Scenario> = serde_saphyr::from_str(text).context("these are no scenarios")?;
    for (at, Scenario { name, expect, members, .. }) in file.scenarios.iter().enumerate() {
        let told = [expect.chosen.is_some(), expect.hold.is_some(), expect.refused.is_some()];
        let told = told.into_iter().filter(|told| *told).count();
        ensure!(told == 1, "scenarios[{at}] (\"{name}\"): expect: expected exactly one of chosen, hold and refused");
        let about_a_choice = !expect.reason.0.is_empty() || expect.order.is_some() || expect.vetoes.is_some();
        ensure!(
            expect.chosen.is_some() || !about_a_choice,
            "scenarios[{at}] (\"{name}\"): expect: reason, order and vetoes go with chosen; put what a hold says under hold"
        );
        for (member, Member { name: twice, .. }) in members.iter().enumerate() {
            let known = members[..member].iter().any(|other| other.name == *twice);
            ensure!(!known, "scenarios[{at}] (\"{name}\"): members[{member}].name: {twice} is there twice");
        }
    }
    Ok(file)
}

impl Scene for Scenario {
    type Question = Question;

    fn name(&self) -> &str {
        &self.name
    }

    fn settings(&self) -> Option<&Value> {
        self.settings.as_ref()
    }

    fn compare(&self, answer: Result<&Answered<Question>, &LoadError>) -> Vec<Difference> {
        compare(&self.expect, answer)
    }

    fn question(&self) -> Question {
        let mut candidates: Vec<Candidate> = self.members.iter().map(Member::candidate).collect();
        let first = candidates.first().map(|first| first.name.clone());
        candidates.sort_by(|a, b| a.name.cmp(&b.name));
        let acks = u32::try_from(candidates.len().saturating_sub(1) / 2).unwrap_or(u32::MAX).max(1);
        let waited = if self.trigger == Trigger::Failover { 800 } else { 0 };
        Question {
            namespace: "default".to_owned(),
            cluster: "shop".to_owned(),
            epoch: self.epoch,
            trigger: self.trigger,
            now_unix_ms: self.now_unix_ms,
            seed: self.seed,
            without_primary_ms: self.without_primary_ms.unwrap_or(waited),
            former_primary: self.former_primary.clone().or(first),
            acks: self.acks.unwrap_or(acks),
            failover_window_s: None,
            failovers_in_window: None,
            candidates,
            facts: Vec::new(),
        }
    }
}

impl Member {
    fn candidate(&self) -> Candidate {
        let ordinal = self.name.rsplit('-').next().and_then(|end| end.parse().ok()).unwrap_or(0);
        let pairs =
            |map: &BTreeMap<String, String>| map.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let ineligible = self.ineligible.iter();
        Candidate {
            name: self.name.clone(),
            ordinal,
            zone: self.zone.clone(),
            node: self.node.clone().unwrap_or_else(|| format!("node-{ordinal}")),
            labels: pairs(&self.labels),
            ineligible: ineligible
                .map(|(code, message)| Ineligible { code: code.clone(), message: message.clone() })
                .collect(),
            missing_transactions: self.missing,
            unapplied_transactions: self.unapplied,
            node_ready: self.node_ready,
            node_cordoned: self.cordoned,
            node_pressure: self.node_pressure.clone(),
            version: self.version.clone(),
            catch_up: self.catch_up.clone(),
            capacity: self.capacity.clone(),
            activity: self.activity.clone(),
            facts: pairs(&self.facts),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_healthy() {
        let file =
            read("scenarios: [{name: plain, members: [{name: shop-2}, {name: shop-1}], expect: {chosen: shop-1}}]");
        let question = file.unwrap().scenarios[0].question();
        assert_eq!(question.former_primary.as_deref(), Some("shop-2"));
        let names: Vec<&str> = question.candidates.iter().map(|candidate| candidate.name.as_str()).collect();
        assert_eq!(names, ["shop-1", "shop-2"]);
        let first = &question.candidates[0];
        assert!(first.is_eligible() && first.node_ready && !first.node_cordoned);
        assert_eq!((first.ordinal, first.node.as_str(), question.without_primary_ms), (1, "node-1", 800));
    }

    #[test]
    fn what_is_misspelt_or_contradicts_itself_is_refused() {
        for (scenario, told) in [
            ("{name: x, member: [], expect: {chosen: a}}", "member"),
            ("{name: x, members: [{name: a, zones: b}], expect: {chosen: a}}", "zones"),
            ("{name: x, members: [{name: a, capacity: {bufferPoolWarm: 3}}], expect: {chosen: a}}", "bufferPoolWarm"),
            ("{name: x, members: [{name: a, catchUp: {missingBytes: -3}}], expect: {chosen: a}}", "-3"),
            ("{name: x, expect: {}}", "exactly one of"),
            ("{name: x, expect: {chosen: a, hold: b}}", "exactly one of"),
            ("{name: x, expect: {hold: b, vetoes: {}}}", "go with chosen"),
            ("{name: x, members: [{name: a}, {name: a}], expect: {chosen: a}}", "members[1].name: a is there twice"),
            ("{name: x, expect: {chosen: a, reason: {b: c}}}", "a text or a list of texts"),
            ("{name: x, trigger: boredom, expect: {chosen: a}}", "boredom"),
        ] {
            let error = format!("{:#}", read(&format!("scenarios: [{scenario}]")).unwrap_err());
            assert!(error.contains(told), "{scenario}: {error}");
        }
    }
}
