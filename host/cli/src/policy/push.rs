//! `policy push`: a module, packed, into a labelled ConfigMap.
//!
//! Always server-side apply: `kubectl apply` without it copies the whole object into an annotation, which may not
//! be larger than 256 KiB.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use engine::Kind;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, ObjectMeta, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use objects::api::{MysqlCluster, labels};

use crate::site::{Site, Target, explained};

/// The key under which a packed module lies.
const KEY: &str = "policy.wasm.zst";

/// The key that a spec means which names none.
const DEFAULT_KEY: &str = "policy.wasm";

/// Tells people which module it is, in the words of a cluster's status, without fetching it.
const DIGEST: &str = "grampus.dev/module-digest";

/// Who writes these ConfigMaps.
const MANAGER: &str = "grampus/policy-push";

/// How much a ConfigMap holds: the API server refuses more.
const CONFIG_MAP_BYTES: usize = 1 << 20;

/// From where on the next version might not fit.
const NEAR_BYTES: usize = CONFIG_MAP_BYTES / 10 * 9;

/// Which module to put where.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The name of the ConfigMap, made or replaced.
    name: String,
    /// The component, as built; plain or packed with zstd.
    file: PathBuf,
    #[command(flatten)]
    target: Target,
}

/// Puts a module into a ConfigMap.
///
/// # Errors
/// The module could not be loaded or does not fit, or the ConfigMap is somebody else's.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { name, file, target } = arguments;
    let bytes = std::fs::read(&file).with_context(|| format!("{} could not be read", file.display()))?;
    let (_, module) = super::load(bytes.clone()).await.with_context(|| file.display().to_string())?;
    let packed = super::packed(bytes).with_context(|| file.display().to_string())?;
    if packed.len() > CONFIG_MAP_BYTES {
        bail!(
            "{}: {} bytes when packed, and a ConfigMap holds {CONFIG_MAP_BYTES}; build it for size (opt-level \"s\", lto, strip)",
            file.display(),
            packed.len()
        );
    }
    let site = target.connect().await?;
    let maps: Api<ConfigMap> = site.api();
    let explain = |error| explained(error, "ConfigMap", &name, &site.namespace);
    if let Some(there) = maps.get_opt(&name).await.map_err(explain)?
        && !there.labels().contains_key(labels::POLICY)
    {
        bail!(
            "ConfigMap {name} is there and holds no policy (it lacks the label {}); choose another name",
            labels::POLICY
        );
    }
    let size = packed.len();
    let patch = Patch::Apply(config_map(&name, &site.namespace, module.kind(), module.digest(), packed));
    maps.patch(&name, &PatchParams::apply(MANAGER).force(), &patch).await.map_err(explain)?;
    let said = module.description();
    println!("configmap/{name} key {KEY}: {} {} ({}), {size} bytes", said.name, said.version, module.digest());
    if size > NEAR_BYTES {
        eprintln!("warning: a ConfigMap holds {CONFIG_MAP_BYTES} bytes; the next version may not fit");
    }
    if module.kind() == Kind::PrimarySelection {
        print!("{}", users(&site, &name).await);
    }
    Ok(ExitCode::SUCCESS)
}

fn config_map(name: &str, namespace: &str, decides: Kind, digest: &str, packed: Vec<u8>) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some(BTreeMap::from([(labels::POLICY.to_owned(), decides.name().to_owned())])),
            annotations: Some(BTreeMap::from([(DIGEST.to_owned(), digest.to_owned())])),
            ..ObjectMeta::default()
        },
        binary_data: Some(BTreeMap::from([(KEY.to_owned(), ByteString(packed))])),
        ..ConfigMap::default()
    }
}

/// Who uses this ConfigMap, and how to begin to.
async fn users(site: &Site, name: &str) -> String {
    // Only to be helpful: not everybody who may write ConfigMaps may list clusters.
    let clusters =
        site.api::<MysqlCluster>().list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default();
    told(name, &clusters)
}

fn told(name: &str, clusters: &[MysqlCluster]) -> String {
    let mut text = String::new();
    let mut used = false;
    for cluster in clusters {
        let policy = cluster.spec.policies.as_ref().and_then(|policies| policies.primary_selection.as_ref());
        let Some(source) = policy.and_then(|policy| policy.module.as_ref()).map(|module| &module.config_map) else {
            continue;
        };
        if source.name != name {
            continue;
        }
        let (cluster, key) = (cluster.name_any(), source.key.as_deref().unwrap_or(DEFAULT_KEY));
        if key == KEY {
            used = true;
            let _ = writeln!(text, "{cluster} uses it from its next decision on; see: grampus status {cluster}");
        } else {
            let _ = writeln!(text, "{cluster} names this ConfigMap, but its key {key}; set key: {KEY} there");
        }
    }
    if !used {
        let _ = writeln!(
            text,
            "A MysqlCluster uses it by:\n  spec: {{policies: {{primarySelection: {{module: {{configMap: {{name: {name}, key: {KEY}}}}}}}}}}}"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use objects::api::{ConfigMapKey, ModuleSource, MysqlClusterSpec, Policies, Policy};

    use super::*;

    fn using(cluster: &str, map: &str, key: Option<&str>) -> MysqlCluster {
        let config_map = ConfigMapKey { name: map.to_owned(), key: key.map(str::to_owned) };
        let policy = Policy { module: Some(ModuleSource { config_map }), ..Policy::default() };
        let policies = Some(Policies { primary_selection: Some(policy) });
        MysqlCluster::new(cluster, MysqlClusterSpec { policies, ..MysqlClusterSpec::default() })
    }

    #[test]
    fn the_config_map_carries_the_label_and_the_key_that_the_operator_looks_for() {
        let map = config_map("zones", "default", Kind::PrimarySelection, "sha256:01", vec![1, 2, 3]);
        assert_eq!(map.labels()[labels::POLICY], "primary-selection");
        assert_eq!(map.binary_data.unwrap()[KEY].0, [1, 2, 3]);
    }

    #[test]
    fn whoever_names_another_key_is_told() {
        let clusters = [
            using("shop", "zones", Some("policy.wasm.zst")),
            using("till", "zones", None),
            using("other", "else", None),
        ];
        insta::assert_snapshot!(told("zones", &clusters), @r"
        shop uses it from its next decision on; see: grampus status shop
        till names this ConfigMap, but its key policy.wasm; set key: policy.wasm.zst there
        ");
        insta::assert_snapshot!(told("zones", &[]), @r"
        A MysqlCluster uses it by:
          spec: {policies: {primarySelection: {module: {configMap: {name: zones, key: policy.wasm.zst}}}}}
        ");
    }
}
