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
use objects::api::{MysqlCluster, labels, policy};

use super::sign::{Signed, sign};
use super::snippet::Snippet;
use crate::site::{Site, Target, explained};

/// The key under which a packed module lies.
const KEY: &str = policy::PACKED;

/// Who writes these ConfigMaps.
const MANAGER: &str = "grampus/policy-push";

/// How much a ConfigMap holds.
const CONFIG_MAP_BYTES: usize = policy::CONFIG_MAP_BYTES;

/// From where on the next version might not fit.
const NEAR_BYTES: usize = CONFIG_MAP_BYTES / 10 * 9;

/// Which module to put where.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The name of the ConfigMap, made or replaced.
    name: String,
    /// The component, as built; plain or packed with zstd.
    file: PathBuf,
    /// Sign it with this secret key, too. The signature goes along in an annotation.
    #[arg(long, value_name = "KEY")]
    sign: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
}

/// Puts a module into a ConfigMap.
///
/// # Errors
/// The module could not be loaded or does not fit, or the ConfigMap is somebody else's.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { name, file, sign: key, target } = arguments;
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
    let signed = match &key {
        Some(key) => Some(sign(key, &module)?),
        None => None,
    };
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
    let patch =
        Patch::Apply(config_map(&name, &site.namespace, module.kind(), module.digest(), signed.as_ref(), packed));
    maps.patch(&name, &PatchParams::apply(MANAGER).force(), &patch).await.map_err(explain)?;
    let said = module.description();
    println!("configmap/{name} key {KEY}: {} {} ({}), {size} bytes", said.name, said.version, module.digest());
    if size > NEAR_BYTES {
        eprintln!("warning: a ConfigMap holds {CONFIG_MAP_BYTES} bytes; the next version may not fit");
    }
    if let Some(signed) = &signed {
        println!("signed for {} by key {}", module.kind(), signed.key);
    }
    match module.kind() {
        Kind::PrimarySelection => print!("{}", told(&name, module.digest(), signed.as_ref(), &users(&site).await)),
        kind @ (Kind::Scaling | Kind::ConfigTuning | Kind::BackupWindow) => {
            print!("{}", beginning(kind, &name, module.digest(), signed.as_ref()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn config_map(
    name: &str,
    namespace: &str,
    decides: Kind,
    digest: &str,
    signed: Option<&Signed>,
    packed: Vec<u8>,
) -> ConfigMap {
    let mut annotations = BTreeMap::from([(labels::MODULE_DIGEST.to_owned(), digest.to_owned())]);
    // One that is not signed must not keep the signature of the module before.
    annotations.extend(signed.map(|signed| (labels::MODULE_SIGNATURE.to_owned(), signed.signature.clone())));
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some(BTreeMap::from([(labels::POLICY.to_owned(), decides.name().to_owned())])),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        },
        binary_data: Some(BTreeMap::from([(KEY.to_owned(), ByteString(packed))])),
        ..ConfigMap::default()
    }
}

/// Whoever might use this ConfigMap.
async fn users(site: &Site) -> Vec<MysqlCluster> {
    // Only to be helpful: not everybody who may write ConfigMaps may list clusters.
    site.api::<MysqlCluster>().list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default()
}

/// How to begin to use it. What scales and tunes is not followed yet, and has to be named as what it is.
fn beginning(kind: Kind, name: &str, digest: &str, signed: Option<&Signed>) -> String {
    let snippet = Snippet {
        config_map: Some((name, KEY)),
        digest: Some(digest),
        signature: signed.map(|signed| signed.signature.as_str()),
        mode: matches!(kind, Kind::Scaling | Kind::ConfigTuning).then_some("Shadow"),
        settings: None,
    };
    snippet.in_words(kind.name())
}

/// Who uses this ConfigMap, and how to begin to.
fn told(name: &str, digest: &str, signed: Option<&Signed>, clusters: &[MysqlCluster]) -> String {
    let mut text = String::new();
    let (mut used, mut pinned) = (false, false);
    for cluster in clusters {
        let policy = cluster.spec.policies.as_ref().and_then(|policies| policies.primary_selection.as_ref());
        let Some(module) = policy.and_then(|policy| policy.module.as_ref()) else { continue };
        let source = &module.config_map;
        if source.name != name {
            continue;
        }
        let (cluster, key) = (cluster.name_any(), source.key.as_deref().unwrap_or(policy::MODULE));
        if key != KEY {
            let _ = writeln!(text, "{cluster} names this ConfigMap, but its key {key}; set key: {KEY} there");
        } else if module.digest.as_deref().is_some_and(|other| other != digest) {
            pinned = true;
            let _ =
                writeln!(text, "{cluster} names it, but pins another digest: it takes this one with the digest below");
        } else {
            used = true;
            let _ = writeln!(text, "{cluster} uses it from its next decision on; see: grampus status {cluster}");
        }
    }
    if !used || pinned {
        text.push_str(&beginning(Kind::PrimarySelection, name, digest, signed));
    }
    text
}

#[cfg(test)]
mod tests {
    use objects::api::{ConfigMapKey, ModuleSource, MysqlClusterSpec, Policies, Policy};

    use super::*;

    fn using(cluster: &str, map: &str, key: Option<&str>) -> MysqlCluster {
        let config_map = ConfigMapKey { name: map.to_owned(), key: key.map(str::to_owned) };
        let policy =
            Policy { module: Some(ModuleSource { config_map, ..ModuleSource::default() }), ..Policy::default() };
        let policies = Some(Policies { primary_selection: Some(policy), ..Policies::default() });
        MysqlCluster::new(cluster, MysqlClusterSpec { policies, ..MysqlClusterSpec::default() })
    }

    #[test]
    fn the_config_map_carries_the_label_and_the_key_that_the_operator_looks_for() {
        let signed = Signed { digest: "sha256:01".to_owned(), signature: "sig".to_owned(), key: "k".to_owned() };
        let kind = Kind::PrimarySelection;
        let map = config_map("zones", "default", kind, "sha256:01", Some(&signed), vec![1, 2, 3]);
        assert_eq!(map.labels()[labels::POLICY], "primary-selection");
        assert_eq!(map.annotations()[labels::MODULE_SIGNATURE], "sig");
        assert_eq!(map.binary_data.unwrap()[KEY].0, [1, 2, 3]);
        let unsigned = config_map("zones", "default", kind, "sha256:01", None, vec![1, 2, 3]);
        assert!(!unsigned.annotations().contains_key(labels::MODULE_SIGNATURE));
    }

    #[test]
    fn how_to_ask_a_module_that_is_not_followed_is_a_spec_that_is_taken() {
        let told = beginning(Kind::Scaling, "reads", "sha256:01", None);
        let spec: String = told.lines().skip(1).fold(String::new(), |spec, line| spec + line + "\n");
        let spec: serde_json::Value = serde_saphyr::from_str(&spec).unwrap();
        let policies: Policies = serde_json::from_value(spec["policies"].clone()).unwrap();
        assert_eq!(
            policies.scaling.unwrap().module.config_map,
            ConfigMapKey { name: "reads".to_owned(), key: Some(KEY.to_owned()) }
        );
    }

    #[test]
    fn whoever_names_another_key_or_digest_is_told() {
        let mut pinned = using("pinned", "zones", Some("policy.wasm.zst"));
        let module = pinned.spec.policies.as_mut().unwrap().primary_selection.as_mut().unwrap().module.as_mut();
        module.unwrap().digest = Some("sha256:02".to_owned());
        let clusters = [
            using("shop", "zones", Some("policy.wasm.zst")),
            using("till", "zones", None),
            using("other", "else", None),
            pinned,
        ];
        insta::assert_snapshot!(told("zones", "sha256:01", None, &clusters), @r"
        shop uses it from its next decision on; see: grampus status shop
        till names this ConfigMap, but its key policy.wasm; set key: policy.wasm.zst there
        pinned names it, but pins another digest: it takes this one with the digest below
        In the spec of a MysqlCluster:
          policies:
            primarySelection:
              module:
                configMap: {name: zones, key: policy.wasm.zst}
                digest: sha256:01
        ");
        insta::assert_snapshot!(told("zones", "sha256:01", None, &[]), @r"
        In the spec of a MysqlCluster:
          policies:
            primarySelection:
              module:
                configMap: {name: zones, key: policy.wasm.zst}
                digest: sha256:01
        ");
    }
}
