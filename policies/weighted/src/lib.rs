//! Adds up points for labels, zones and nodes, and rules members out that must not lead.
//!
//! Every rule that fits a member adds its weight, which may be negative; the most points win. Work left before a
//! member can open takes points off. Between equals the one with the least work left leads, as in `most-advanced`.
//! It must never choose a member that must not lead: where nobody else is left, it holds and says why.

use grampus_policy::SettingsError;
use grampus_policy::primary_selection::{Answer, Candidate, Policy, Question};
use serde::Deserialize;

/// What can be set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Weighted {
    /// What is worth how much: rules with a weight.
    #[serde(default)]
    pub weights: Vec<Rule>,
    /// Whom to rule out: a member that fits any of these, which have no weight.
    #[serde(default)]
    pub must_not: Vec<Rule>,
    /// So many transactions left to execute (one that is missing counts double) take one point off. Without it,
    /// work only tells equals apart.
    #[serde(default)]
    pub transactions_per_point: Option<u64>,
}

/// Something that a member is or has: exactly one of label, zone and node.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The key of a label of the pod.
    #[serde(default)]
    pub label: Option<String>,
    /// The label's value; any value if not given.
    #[serde(default)]
    pub value: Option<String>,
    /// The zone of the node.
    #[serde(default)]
    pub zone: Option<String>,
    /// The name of the node.
    #[serde(default)]
    pub node: Option<String>,
    /// The points. A 32-bit number, so that no sum of rules comes near the end of what a score can hold.
    #[serde(default)]
    pub weight: Option<i32>,
}

/// What a rule looks for.
#[derive(Debug, Clone, Copy)]
enum Sought<'a> {
    Label(&'a str, Option<&'a str>),
    Zone(&'a str),
    Node(&'a str),
}

impl Rule {
    /// None where it names nothing, too much, or a value without a label.
    fn sought(&self) -> Option<Sought<'_>> {
        match (self.label.as_deref(), self.value.as_deref(), self.zone.as_deref(), self.node.as_deref()) {
            (Some(key), value, None, None) => Some(Sought::Label(key, value)),
            (None, None, Some(zone), None) => Some(Sought::Zone(zone)),
            (None, None, None, Some(node)) => Some(Sought::Node(node)),
            _ => None,
        }
    }

    fn check(&self, path: &str, has_weight: bool) -> Result<(), SettingsError> {
        if !self.sought().is_some_and(Sought::is_named) {
            let message = "expected exactly one of label (with or without value), zone and node";
            return Err(SettingsError::at(path, message));
        }
        match (has_weight, self.weight) {
            (true, None) => Err(SettingsError::at(path, "expected a weight: the points that it is worth")),
            (false, Some(_)) => Err(SettingsError::at(path, "expected no weight: whom this fits does not lead at all")),
            (true, Some(_)) | (false, None) => Ok(()),
        }
    }
}

impl Sought<'_> {
    /// Why the candidate fits, if it does.
    fn fits(self, candidate: &Candidate) -> Option<String> {
        match self {
            Self::Label(key, wanted) => {
                let value = candidate.label(key)?;
                wanted.is_none_or(|wanted| wanted == value).then(|| format!("is labelled {key}={value}"))
            }
            Self::Zone(zone) => (candidate.zone == zone).then(|| format!("is in zone {zone}")),
            Self::Node(node) => (candidate.node == node).then(|| format!("runs on {node}")),
        }
    }

    fn is_named(self) -> bool {
        let (Self::Label(name, _) | Self::Zone(name) | Self::Node(name)) = self;
        !name.is_empty()
    }
}

impl Policy for Weighted {
    fn check(&self) -> Result<(), SettingsError> {
        if self.weights.is_empty() && self.must_not.is_empty() {
            return Err(SettingsError::at("", "give at least one rule in weights or mustNot"));
        }
        if self.transactions_per_point == Some(0) {
            return Err(SettingsError::at("transactionsPerPoint", "expected at least 1; leave it out for none"));
        }
        for (list, rules, has_weight) in [("weights", &self.weights, true), ("mustNot", &self.must_not, false)] {
            for (at, rule) in rules.iter().enumerate() {
                rule.check(&format!("{list}[{at}]"), has_weight)?;
            }
        }
        Ok(())
    }

    fn decide(&self, question: &Question) -> Answer {
        question
            .weigh(|candidate, scales| {
                for ban in &self.must_not {
                    if let Some(why) = ban.sought().and_then(|sought| sought.fits(candidate)) {
                        scales.veto(format!("{why}, which must not lead"));
                    }
                }
                for rule in &self.weights {
                    if let Some(why) = rule.sought().and_then(|sought| sought.fits(candidate)) {
                        scales.add(i64::from(rule.weight.unwrap_or(0)), why);
                    }
                }
                if let Some(most) = self.transactions_per_point {
                    let off = i64::try_from(candidate.work() / most.max(1)).unwrap_or(i64::MAX);
                    scales.add_if(off > 0, -off, "for the work left");
                }
            })
            .into_answer()
    }
}

grampus_policy::primary_selection! {
    summary: "adds up the weights of labels, zones and nodes, and rules out who must not lead",
    settings_schema: include_str!("settings.schema.json"),
    policy: Weighted,
}

#[cfg(test)]
mod tests;
