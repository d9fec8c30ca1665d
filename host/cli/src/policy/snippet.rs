//! What a spec has to say of a module, to be pasted.

use std::fmt::Write as _;

use serde_json::Value;

/// What is known of a module; the rest is left for whoever pastes it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Snippet<'a> {
    /// The ConfigMap and the key.
    pub config_map: Option<(&'a str, &'a str)>,
    /// The digest to pin.
    pub digest: Option<&'a str>,
    /// The signature.
    pub signature: Option<&'a str>,
    /// Whether it decides or is only asked, where that has to be said.
    pub mode: Option<&'a str>,
    /// The settings, where they go along.
    pub settings: Option<&'a Value>,
}

impl Snippet<'_> {
    /// As YAML, below a line that says whose.
    pub fn in_words(&self, decision: &str) -> String {
        let mut text =
            format!("In the spec of a MysqlCluster:\n  policies:\n    {}:\n      module:\n", field(decision));
        if let Some((name, key)) = self.config_map {
            let _ = writeln!(text, "        configMap: {{name: {name}, key: {key}}}");
        }
        for (name, value) in [("digest", self.digest), ("signature", self.signature)] {
            if let Some(value) = value {
                let _ = writeln!(text, "        {name}: {value}");
            }
        }
        if let Some(mode) = self.mode {
            let _ = writeln!(text, "      mode: {mode}");
        }
        if let Some(settings) = self.settings {
            // JSON is YAML.
            let _ = writeln!(text, "      settings: {settings}");
        }
        text
    }
}

/// Where a spec names the module for a decision, below `spec.policies`.
pub fn field(decision: &str) -> String {
    let mut words = decision.split('-');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (head, tail) = word.split_at(word.len().min(1));
        name + &head.to_uppercase() + tail
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snippet_can_be_pasted() {
        let settings = serde_json::json!({"zones": ["a"]});
        let snippet = Snippet {
            config_map: Some(("zones", "policy.wasm.zst")),
            digest: Some("sha256:01"),
            signature: Some("c2ln"),
            mode: Some("Shadow"),
            settings: Some(&settings),
        };
        insta::assert_snapshot!(snippet.in_words("primary-selection"), @r#"
        In the spec of a MysqlCluster:
          policies:
            primarySelection:
              module:
                configMap: {name: zones, key: policy.wasm.zst}
                digest: sha256:01
                signature: c2ln
              mode: Shadow
              settings: {"zones":["a"]}
        "#);
        assert_eq!((field("scaling"), field("config-tuning")), ("scaling".to_owned(), "configTuning".to_owned()));
    }
}
