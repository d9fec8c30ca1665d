//! What an operator is told about policies of all clusters: whose signatures count, whether they are needed, and which
//! module decides where a cluster names none.

use std::path::PathBuf;
use std::str::FromStr;

use objects::api::{ConfigMapKey, policy};

/// What an operator is told about policies.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct PolicyOptions {
    /// A file with Ed25519 public keys in PEM, or a directory of such files, as a mounted ConfigMap or Secret is. Read
    /// whenever a module is loaded. May be given several times.
    #[arg(long = "policy-key", env = "GRAMPUS_POLICY_KEYS", value_name = "PATH", value_delimiter = ',')]
    pub keys: Vec<PathBuf>,
    /// Takes only modules that one of these keys has signed. A Namespace can ask for the same by the label
    /// `grampus.dev/require-signed-policies: "true"`.
    #[arg(long = "require-signed-policies", env = "GRAMPUS_REQUIRE_SIGNED_POLICIES")]
    pub require_signed: bool,
    /// The module for clusters that name none, as in `primary-selection=prefer-zone` or, with the key,
    /// `primary-selection=prefer-zone/policy.wasm.zst`: a labelled ConfigMap in the operator's namespace, with settings
    /// in `settings.json` of its data. May be given once for each decision.
    #[arg(
        long = "default-policy",
        env = "GRAMPUS_DEFAULT_POLICIES",
        value_name = "DECISION=CONFIGMAP",
        value_delimiter = ','
    )]
    pub defaults: Vec<ForAll>,
}

/// A module for every cluster that names none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForAll {
    /// What it decides.
    pub decision: String,
    /// Where it is.
    pub config_map: ConfigMapKey,
}

impl FromStr for ForAll {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            format!(
                "expected DECISION=CONFIGMAP or DECISION=CONFIGMAP/KEY, with one of: {}",
                policy::DECISIONS.join(", ")
            )
        };
        let (decision, map) = text.split_once('=').ok_or_else(expected)?;
        if !policy::DECISIONS.contains(&decision) || map.is_empty() {
            return Err(expected());
        }
        let (name, key) = match map.split_once('/') {
            Some((name, key)) => (name, Some(key.to_owned())),
            None => (map, None),
        };
        Ok(Self { decision: decision.to_owned(), config_map: ConfigMapKey { name: name.to_owned(), key } })
    }
}

impl PolicyOptions {
    /// The module for clusters that name none for a decision.
    pub fn default_of(&self, decision: &str) -> Option<&ConfigMapKey> {
        self.defaults.iter().find(|default| default.decision == decision).map(|default| &default.config_map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As an operator is started.
    #[derive(clap::Parser)]
    struct Arguments {
        #[command(flatten)]
        options: PolicyOptions,
    }

    #[test]
    fn a_default_for_each_decision_can_be_given_at_once_as_the_chart_does() {
        let defaults = |text: &str| {
            let given = <Arguments as clap::Parser>::try_parse_from(["operator", "--default-policy", text]);
            given.map(|given| given.options.defaults.len()).map_err(|error| error.to_string())
        };
        assert_eq!(
            defaults("primary-selection=zones,scaling=reads/policy.wasm.zst,config-tuning=budget,backup-window=quiet"),
            Ok(4)
        );
        assert!(defaults("primary-selection=zones,").is_err(), "the chart must not end the list with a comma");
    }

    #[test]
    fn a_default_names_its_decision() {
        let default: ForAll = "primary-selection=zones/policy.wasm.zst".parse().unwrap();
        assert_eq!(
            (default.config_map.name.as_str(), default.config_map.key.as_deref()),
            ("zones", Some("policy.wasm.zst"))
        );
        let options = PolicyOptions { defaults: vec![default], ..PolicyOptions::default() };
        assert!(options.default_of(policy::PRIMARY_SELECTION).is_some());
        assert!(options.default_of(policy::SCALING).is_none());
        for wrong in ["zones", "lunch=zones", "primary-selection="] {
            assert!(wrong.parse::<ForAll>().unwrap_err().contains("primary-selection"), "{wrong}");
        }
    }

    #[test]
    fn every_decision_that_a_module_makes_can_have_a_default() {
        assert_eq!(engine::Kind::ALL.map(engine::Kind::name), policy::DECISIONS);
    }
}
