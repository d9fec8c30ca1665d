//! From what a person wrote to what can be carried out: every default resolved, every amount parsed.
//!
//! Pure and total. The API server has checked most of it by CEL, but what it once let pass, or what was stored
//! under an older CRD, must still get a clear answer here and nothing else.

mod backup;
mod people;
mod readers;
mod resolved;
#[cfg(test)]
mod tests;

use k8s_openapi::api::core::v1::ResourceRequirements;

pub use backup::{
    Kept, Target, bandwidth as backup_bandwidth, drill_schedule, retention as backup_retention,
    schedule as backup_schedule, target as recovery_target,
};
pub use readers::{MOST_READERS, read_replicas};
pub use resolved::*;

use crate::api::{Durability, MysqlCluster, MysqlClusterSpec, Policies, Resources, Storage};
use crate::mysqld_options;
use crate::problem::Problem;
use crate::{digest, duration, quantity};

/// What is taken where the spec says nothing, and differs from one installation to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallationDefaults {
    /// The image with mysqld.
    pub image: String,
}

/// How long a policy may answer "hold" while there is no primary, if the spec does not say.
pub const DEFAULT_MAX_HOLD: std::time::Duration = std::time::Duration::from_secs(5);
/// The number of voting members, if the spec does not say.
pub const DEFAULT_REPLICAS: u32 = 3;

/// The spec with every default resolved.
///
/// # Errors
/// Every [`Problem`] that there is, never only the first one.
pub fn validate(cluster: &MysqlCluster, defaults: &InstallationDefaults) -> Result<ValidatedCluster, Vec<Problem>> {
    let spec = &cluster.spec;
    let mut problems = Vec::new();
    let identity = identity(cluster, &mut problems);
    let replicas = replicas(spec, &mut problems);
    let acks = acks(spec.durability.as_ref(), replicas, &mut problems);
    let storage = storage(&spec.storage, &mut problems);
    let resources = resources(spec.resources.as_ref(), &mut problems);
    let sizing = sizing(&resources, &storage);
    let options = mysqld_options::check(&spec.config, &sizing).unwrap_or_else(|refused| {
        problems.extend(refused);
        Default::default()
    });
    let validated = ValidatedCluster {
        warnings: warnings(replicas, acks, &sizing),
        identity,
        image: image(spec, defaults, &mut problems),
        image_pull_secrets: spec.image_pull_secrets.clone(),
        replicas,
        acks,
        read_replicas: readers::check(&spec.read_replicas, &mut problems),
        storage,
        deletion_policy: spec.deletion_policy.unwrap_or_default(),
        memory: sizing.memory,
        my_cnf: mysqld_options::render(&options, &sizing),
        resources,
        root_password: spec.root_password_secret.as_ref().map(people::secret_key),
        database: people::database(spec.bootstrap.as_ref(), &mut problems),
        recovery: backup::check(spec, &mut problems),
        scheduling: spec.scheduling.clone().unwrap_or_default(),
        pod_metadata: people::pod_metadata(spec.pod_metadata.as_ref(), &mut problems),
        spec_digest: spec_digest(spec),
        services: people::services(spec.services.as_ref(), &mut problems),
        primary_selection: primary_selection(spec.policies.as_ref(), &mut problems),
        paused: spec.paused,
    };
    if problems.is_empty() { Ok(validated) } else { Err(problems) }
}

/// Only what a person wrote goes into it: a default that another version of Grampus resolves in another way must not
/// look like a wish. Fields that say nothing about a pod are left out, and so is the volume, which a pod only mounts.
fn spec_digest(spec: &MysqlClusterSpec) -> String {
    let asked = serde_json::json!({
        "image": spec.image,
        "imagePullSecrets": spec.image_pull_secrets,
        "resources": spec.resources,
        "config": spec.config,
        "rootPasswordSecret": spec.root_password_secret,
        "bootstrap": spec.bootstrap,
        "scheduling": spec.scheduling,
        "podMetadata": spec.pod_metadata,
    });
    digest::of_value(&asked)
}

fn identity(cluster: &MysqlCluster, problems: &mut Vec<Problem>) -> Identity {
    let meta = &cluster.metadata;
    let name = meta.name.clone().unwrap_or_default();
    let well_formed = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if name.len() > 40 || !well_formed {
        problems.push(Problem::new(
            "metadata.name",
            "names of Services and pods are made from it",
            "use at most 40 of a-z, 0-9 and '-', beginning with a letter",
        ));
    }
    Identity { name, namespace: meta.namespace.clone().unwrap_or_default(), uid: meta.uid.clone().unwrap_or_default() }
}

/// The number of voting members that the spec asks for, whether or not the rest of it is valid.
fn replicas(spec: &MysqlClusterSpec, problems: &mut Vec<Problem>) -> u32 {
    match spec.replicas {
        None => DEFAULT_REPLICAS,
        Some(count @ (1 | 2 | 3 | 5 | 7)) => count.unsigned_abs(),
        Some(other) => {
            let message = format!("{other} members survive no more losses than one fewer would");
            problems.push(Problem::new("spec.replicas", message, "use 1, 2, 3, 5 or 7"));
            DEFAULT_REPLICAS
        }
    }
}

/// N and k as the spec asks for them, whether or not the rest of it is valid. None where they cannot be carried out.
pub fn durability(spec: &MysqlClusterSpec) -> Option<(u32, u32)> {
    let mut problems = Vec::new();
    let replicas = replicas(spec, &mut problems);
    let acks = acks(spec.durability.as_ref(), replicas, &mut problems);
    problems.is_empty().then_some((replicas, acks))
}

fn acks(durability: Option<&Durability>, replicas: u32, problems: &mut Vec<Problem>) -> u32 {
    let default = if replicas == 1 { 0 } else { ((replicas - 1) / 2).max(1) };
    let Some(asked) = durability.and_then(|durability| durability.acks) else { return default };
    let (least, most) = (i64::from(replicas > 1), i64::from(replicas) - 1);
    if (least..=most).contains(&i64::from(asked)) {
        return asked.unsigned_abs();
    }
    let message = format!("{asked} replicas cannot acknowledge where there are {most}, or none would have to");
    let remedy = format!("use {least} to {most}, or leave it out to get {default}");
    problems.push(Problem::new("spec.durability.acks", message, remedy));
    default
}

fn storage(storage: &Storage, problems: &mut Vec<Problem>) -> Storage {
    match quantity::units(&storage.size) {
        Some(size) if size > 0 => {}
        _ => problems.push(Problem::new(
            "spec.storage.size",
            format!("{:?} is not an amount of bytes greater than zero", storage.size),
            "write it as in 10Gi or 500M",
        )),
    }
    if !Storage::is_claim_name(storage.claim_name()) {
        let message = format!("no claim can be called {:?}", storage.claim_name());
        let remedy = "use `data` and, behind it, lower-case letters and digits, as in data2";
        problems.push(Problem::new("spec.storage.claimName", message, remedy));
    }
    storage.clone()
}

fn resources(resources: Option<&Resources>, problems: &mut Vec<Problem>) -> ResourceRequirements {
    let Some(resources) = resources else { return ResourceRequirements::default() };
    for (kind, amounts) in [("requests", &resources.requests), ("limits", &resources.limits)] {
        for (name, amount) in amounts.iter().flatten() {
            if quantity::millis(&amount.0).is_none() {
                let message = format!("{:?} is not an amount", amount.0);
                let field = format!("spec.resources.{kind}.{name}");
                problems.push(Problem::new(field, message, "write it as in 500m for cpu or 2Gi for memory"));
            }
        }
    }
    for (name, limit) in resources.limits.iter().flatten() {
        let request = resources.requests.as_ref().and_then(|requests| requests.get(name));
        let amounts = (request.and_then(|request| quantity::millis(&request.0)), quantity::millis(&limit.0));
        if let (Some(request), Some(limit)) = amounts
            && request > limit
        {
            let field = format!("spec.resources.requests.{name}");
            problems.push(Problem::new(field, "is more than the limit", "lower it or raise the limit"));
        }
    }
    ResourceRequirements { claims: None, limits: resources.limits.clone(), requests: resources.requests.clone() }
}

/// Buffers follow the limit where there is one, and else what the scheduler set aside.
fn sizing(resources: &ResourceRequirements, storage: &Storage) -> mysqld_options::Sizing {
    let amount = |name: &str| {
        let of = |amounts: &Option<std::collections::BTreeMap<String, _>>| amounts.as_ref()?.get(name).cloned();
        of(&resources.limits).or_else(|| of(&resources.requests)).map(|amount| amount.0)
    };
    mysqld_options::sizing(amount("memory").as_deref(), amount("cpu").as_deref(), &storage.size)
}

fn image(spec: &MysqlClusterSpec, defaults: &InstallationDefaults, problems: &mut Vec<Problem>) -> String {
    let image = spec.image.clone().unwrap_or_else(|| defaults.image.clone());
    if image.is_empty() || image.chars().any(|c| c.is_whitespace() || c.is_control()) {
        problems.push(Problem::new(
            "spec.image",
            format!("{image:?} is not the name of an image"),
            "name one with mysqld of 8.0.26 or later, as in registry/mysql:8.4",
        ));
    }
    image
}

fn primary_selection(policies: Option<&Policies>, problems: &mut Vec<Problem>) -> PrimarySelection {
    let policy = policies.and_then(|policies| policies.primary_selection.as_ref());
    let max_hold = match policy.and_then(|policy| policy.max_hold.as_deref()) {
        None => Some(DEFAULT_MAX_HOLD),
        Some("unlimited") => None,
        Some(text) => duration::parse(text).or_else(|| {
            problems.push(Problem::new(
                "spec.policies.primarySelection.maxHold",
                format!("{text:?} is not a duration"),
                "write it as in 5s, 500ms or 1m30s, or unlimited",
            ));
            Some(DEFAULT_MAX_HOLD)
        }),
    };
    let settings = policy.and_then(|policy| policy.settings.clone());
    let shadows = policy.map(|policy| policy.shadows.as_slice()).unwrap_or_default();
    let all = shadows.iter().enumerate().map(|(at, shadow)| (format!("shadows[{at}].settings"), &shadow.settings));
    for (field, settings) in std::iter::once(("settings".to_owned(), &settings)).chain(all) {
        if settings.as_ref().is_some_and(|settings| !settings.is_object()) {
            let field = format!("spec.policies.primarySelection.{field}");
            problems.push(Problem::new(field, "is not an object", "write the settings as fields below it"));
        }
    }
    let source = policy.and_then(|policy| policy.module.as_ref()).map(|module| &module.config_map);
    PrimarySelection {
        module: source.map(|source| ModuleReference {
            config_map: source.name.clone(),
            key: source.key.clone().unwrap_or_else(|| "policy.wasm".to_owned()),
        }),
        settings,
        max_hold,
    }
}

/// What is allowed and yet may not be what somebody expects.
fn warnings(replicas: u32, acks: u32, sizing: &mysqld_options::Sizing) -> Vec<Problem> {
    let mut warnings = Vec::new();
    if replicas == 2 {
        warnings.push(Problem::new(
            "spec.replicas",
            "two members protect data, not availability: after one loss nobody is left to acknowledge writes",
            "use 3 to go on writing after a loss",
        ));
    }
    if replicas > 2 && acks > (replicas - 1) / 2 {
        let bearable = replicas - 1 - acks;
        warnings.push(Problem::new(
            "spec.durability.acks",
            format!("writes stop as soon as {} members are lost", bearable + 1),
            format!("use {} to go on writing for longer", (replicas - 1) / 2),
        ));
    }
    if sizing.memory.is_none() {
        warnings.push(Problem::new(
            "spec.resources.limits.memory",
            "is not set, so the buffer pool stays at 128 MiB",
            "set it to let mysqld use the memory",
        ));
    }
    warnings
}
