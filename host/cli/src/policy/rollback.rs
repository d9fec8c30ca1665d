//! `policy rollback`: a cluster's spec names a former module again, with the settings that went with it.
//!
//! What decides is what the spec says, and nothing beside it: so this command changes the spec, which is a person's to
//! change, and the operator never does. Whoever keeps specs elsewhere is told what to put there.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use kube::api::{DynamicObject, PostParams};
use kube::core::ApiResource;
use kube::{Api, ResourceExt as _};
use objects::api::{MysqlCluster, policy};
use serde_json::{Value, json};

use super::copies::Copy;
use super::snippet::{Snippet, field};
use crate::site::{Target, explained};

/// Who writes the spec.
const MANAGER: &str = "grampus/policy-rollback";

/// How often it is tried where only the status was written meanwhile.
const TRIES: usize = 10;

/// What to bring back where.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The name of the MysqlCluster.
    cluster: String,
    /// What the module decides.
    #[arg(long, default_value = policy::PRIMARY_SELECTION, value_parser = super::decision)]
    decision: String,
    /// The digest of the module to bring back, or its beginning, as `policy history` shows it. If not given, the last that
    /// was in force before what the spec names.
    #[arg(long, value_name = "DIGEST")]
    to: Option<String>,
    /// Change nothing, and print what the spec would say.
    #[arg(long)]
    print: bool,
    #[command(flatten)]
    target: Target,
}

/// Brings a former module back.
///
/// # Errors
/// There is no such cluster or copy, or the spec could not be changed.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { cluster: name, decision, to, print, target } = arguments;
    let site = target.connect().await?;
    let cluster = site.cluster(&name).await?;
    let copies = Copy::of(&site, &cluster, &decision).await?;
    let copy = chosen(&copies, &in_force(&cluster, &decision), to.as_deref())
        .with_context(|| format!("MysqlCluster {name}"))?;
    let snippet = Snippet {
        config_map: Some((&copy.name, policy::PACKED)),
        digest: Some(&copy.digest),
        signature: copy.signature.as_deref(),
        mode: mode(&decision),
        settings: Some(&copy.settings),
    };
    if print {
        print!("{}", snippet.in_words(&decision));
        return Ok(ExitCode::SUCCESS);
    }
    let resource = ApiResource::erase::<MysqlCluster>(&());
    let clusters: Api<DynamicObject> = Api::namespaced_with(site.client.clone(), &site.namespace, &resource);
    let explain = |error| explained(error, "MysqlCluster", &name, &site.namespace);
    let live = clusters.get(&name).await.map_err(explain)?;
    let before = live.data["spec"]["policies"][field(&decision)].clone();
    let policies = rolled_back(&live.data["spec"]["policies"], &decision, copy);
    replace(&clusters, live, &policies).await.map_err(explain)?;
    println!("mysqlcluster/{name} names {} ({}) again, from ConfigMap {}", copy.module, copy.digest, copy.name);
    if !before.is_null() {
        println!("Before, spec.policies.{} was:\n  {before}", field(&decision));
    }
    println!("Where this spec is kept in a repository, put this there, or the next sync brings back what was before.");
    print!("{}", snippet.in_words(&decision));
    println!("See: grampus status {name}");
    Ok(ExitCode::SUCCESS)
}

/// Puts this into a spec, unless somebody changed the spec at the same time. That the status changed, which operators write
/// whenever they see something, is no reason to give up.
async fn replace(clusters: &Api<DynamicObject>, read: DynamicObject, policies: &Value) -> kube::Result<()> {
    let (name, generation) = (read.name_any(), read.metadata.generation);
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    let (mut live, mut tries) = (read, 0);
    loop {
        live.data["spec"]["policies"] = policies.clone();
        // It carries the version that was read.
        let Err(error) = clusters.replace(&name, &params, &live).await else { return Ok(()) };
        tries += 1;
        if tries == TRIES || !matches!(&error, kube::Error::Api(status) if status.is_conflict()) {
            return Err(error);
        }
        live = clusters.get(&name).await?;
        if live.metadata.generation != generation {
            return Err(error);
        }
    }
}

/// What the status says is in force: its digest, and whether it is what the spec names.
struct InForce {
    digest: Option<String>,
    as_named: bool,
}

/// What has to be said beside a module of a decision that is only asked yet.
fn mode(decision: &str) -> Option<&'static str> {
    matches!(decision, policy::SCALING | policy::CONFIG_TUNING).then_some("Shadow")
}

fn in_force(cluster: &MysqlCluster, decision: &str) -> InForce {
    let policies = cluster.status.as_ref().and_then(|status| status.policies.as_ref());
    let policy = policies.and_then(|policies| match decision {
        policy::SCALING => policies.scaling.as_ref(),
        policy::CONFIG_TUNING => policies.config_tuning.as_ref(),
        policy::BACKUP_WINDOW => policies.backup_window.as_ref(),
        _ => policies.primary_selection.as_ref(),
    });
    InForce {
        digest: policy.map(|policy| policy.digest.clone()),
        as_named: policy.is_some_and(|policy| policy.problem.is_none()),
    }
}

/// The copy that is meant. Without a digest it is the newest but the one that the spec names, which is the newest of all
/// if it came into force.
fn chosen<'a>(copies: &'a [Copy], now: &InForce, to: Option<&str>) -> anyhow::Result<&'a Copy> {
    let listed = || copies.iter().map(|copy| copy.digest.as_str()).collect::<Vec<_>>().join(", ");
    if let Some(to) = to {
        let digest = to.strip_prefix("sha256:").unwrap_or(to);
        let fits = |copy: &&Copy| !digest.is_empty() && copy.digest.trim_start_matches("sha256:").starts_with(digest);
        let fitting: Vec<_> = copies.iter().filter(fits).collect();
        let Some(first) = fitting.first() else {
            bail!(
                "--to: no copy has the digest {to}; there: {}",
                if copies.is_empty() { "none".to_owned() } else { listed() }
            );
        };
        if fitting.iter().any(|copy| copy.digest != first.digest) {
            bail!("--to: more than one digest begins with {to}; there: {}", listed());
        }
        return Ok(first);
    }
    let newest = copies.first().filter(|newest| now.as_named && now.digest.as_ref() == Some(&newest.digest));
    let candidates = if newest.is_some() { copies.get(1..).unwrap_or_default() } else { copies };
    candidates.first().context(
        "nothing else that was in force is kept; to have the embedded default decide, take the module out of the spec",
    )
}

/// What the spec says of policies afterwards. All but the module and its settings stays.
fn rolled_back(policies: &Value, decision: &str, copy: &Copy) -> Value {
    let mut policies = if policies.is_object() { policies.clone() } else { json!({}) };
    let mut policy = match &policies[field(decision)] {
        Value::Object(fields) => fields.clone(),
        _ => serde_json::Map::new(),
    };
    // What only says that the module does not decide would keep it from deciding.
    policy.remove("embedded");
    policy.remove("mode");
    policy.extend(mode(decision).map(|mode| ("mode".to_owned(), mode.into())));
    let mut module = json!({ "configMap": { "name": copy.name, "key": policy::PACKED }, "digest": copy.digest });
    if let Some(signature) = &copy.signature {
        module["signature"] = signature.clone().into();
    }
    policy.insert("module".to_owned(), module);
    policy.insert("settings".to_owned(), copy.settings.clone());
    policies[field(decision)] = Value::Object(policy);
    policies
}

#[cfg(test)]
mod tests {
    use objects::api::{MysqlClusterSpec, MysqlClusterStatus, PoliciesStatus, PolicyStatus};

    use super::*;

    fn copy(digest: &str, settings: Value) -> Copy {
        Copy {
            name: format!("shop-policy-{digest}"),
            module: "zones 0.1.0".to_owned(),
            digest: format!("sha256:{digest}"),
            signature: (digest == "bb01").then(|| "sig".to_owned()),
            settings,
            source: "ConfigMap zones key policy.wasm".to_owned(),
            since: None,
        }
    }

    fn copies() -> [Copy; 3] {
        [copy("aa01", json!({"zones": ["a"]})), copy("bb01", json!({"zones": ["b"]})), copy("bb02", json!({}))]
    }

    fn now(digest: &str, as_named: bool) -> InForce {
        InForce { digest: Some(format!("sha256:{digest}")), as_named }
    }

    #[test]
    fn without_a_digest_it_goes_back_to_what_was_before_what_the_spec_names() {
        let copies = copies();
        let to = |now: &InForce| chosen(&copies, now, None).unwrap().digest.clone();
        assert_eq!(to(&now("aa01", true)), "sha256:bb01");
        assert_eq!(to(&now("aa01", false)), "sha256:aa01", "what the spec names never came into force");
        assert_eq!(to(&now("cc01", true)), "sha256:aa01", "the embedded one is in force");
        let only = chosen(&copies[..1], &now("aa01", true), None).unwrap_err().to_string();
        assert!(only.contains("the embedded default"), "{only}");
    }

    #[test]
    fn what_is_in_force_is_told_of_the_decision_that_is_meant() {
        let of = |digest: &str| Some(PolicyStatus { digest: digest.to_owned(), ..PolicyStatus::default() });
        let policies = PoliciesStatus {
            primary_selection: of("who"),
            scaling: of("how many"),
            config_tuning: of("how set"),
            backup_window: of("when"),
        };
        let mut cluster = MysqlCluster::new("shop", MysqlClusterSpec::default());
        cluster.status = Some(MysqlClusterStatus { policies: Some(policies), ..MysqlClusterStatus::default() });
        let digests = policy::DECISIONS.map(|decision| in_force(&cluster, decision).digest.unwrap());
        assert_eq!(digests, ["who", "how many", "how set", "when"]);
    }

    #[test]
    fn a_digest_may_be_shortened_as_long_as_it_means_one_module() {
        let copies = copies();
        let to = |digest: &str| chosen(&copies, &now("aa01", true), Some(digest)).map(|copy| copy.digest.clone());
        assert_eq!(to("sha256:bb02").unwrap(), "sha256:bb02");
        assert_eq!(to("aa").unwrap(), "sha256:aa01");
        assert!(to("bb").unwrap_err().to_string().contains("more than one"));
        for wrong in ["cc", "", "sha256:"] {
            assert!(to(wrong).unwrap_err().to_string().contains("sha256:bb02"), "{wrong}");
        }
    }

    #[test]
    fn only_the_module_and_its_settings_change() {
        let before = json!({
            "primarySelection": {
                "mode": "Shadow", "maxHold": "1s", "shadows": [{}], "settings": {"x": 1},
                "module": {"configMap": {"name": "bad"}, "digest": "sha256:cc"},
            },
            "scaling": {"module": {"configMap": {"name": "other"}}},
        });
        let after = rolled_back(&before, policy::PRIMARY_SELECTION, &copies()[1]);
        assert_eq!(
            after,
            json!({
                "primarySelection": {
                    "maxHold": "1s", "shadows": [{}], "settings": {"zones": ["b"]},
                    "module": {
                        "configMap": {"name": "shop-policy-bb01", "key": "policy.wasm.zst"},
                        "digest": "sha256:bb01", "signature": "sig",
                    },
                },
                "scaling": {"module": {"configMap": {"name": "other"}}},
            })
        );
        let scaling = json!({"scaling": {"module": {"configMap": {"name": "bad"}}, "mode": "Shadow", "bounds": {}}});
        let scaling = &rolled_back(&scaling, policy::SCALING, &copies()[1])["scaling"];
        assert_eq!((&scaling["mode"], &scaling["bounds"]), (&json!("Shadow"), &json!({})), "it is still only asked");
        assert_eq!(scaling["module"]["configMap"]["name"], "shop-policy-bb01");
        assert!(
            rolled_back(&Value::Null, policy::PRIMARY_SELECTION, &copies()[2])["primarySelection"]["module"]
                .is_object()
        );
    }
}
