//! The fields with which people shape what they see: accounts, names, labels, Services.
//!
//! Labels and annotations that Grampus or Kubernetes decide by must never come from here.

use std::collections::BTreeMap;

use super::{Database, Metadata, ResolvedService, ResolvedServices, SecretReference};
use crate::api::{Bootstrap, ExtraMetadata, NewDatabase, Recovery, SecretKey, ServiceOptions, Services};
use crate::problem::Problem;

/// The key that is read if none is named.
const PASSWORD: &str = "password";
/// Label domains that decide who selects and owns an object.
const RESERVED: [&str; 4] = ["grampus.dev/", "app.kubernetes.io/", "apps.kubernetes.io/", "statefulset.kubernetes.io/"];
const SYSTEM_DATABASES: [&str; 4] = ["mysql", "sys", "information_schema", "performance_schema"];
/// Where the agent keeps its own table.
const OWN_DATABASE: &str = "grampus";

pub(super) fn secret_key(secret: &SecretKey) -> SecretReference {
    SecretReference { name: secret.name.clone(), key: secret.key.clone().unwrap_or_else(|| PASSWORD.to_owned()) }
}

pub(super) fn database(bootstrap: Option<&Bootstrap>, problems: &mut Vec<Problem>) -> Database {
    let recovery = bootstrap.and_then(|bootstrap| bootstrap.recovery.as_ref());
    let (new, part) = match recovery {
        Some(recovery) => (recovered(recovery), "recovery"),
        None => (bootstrap.and_then(|bootstrap| bootstrap.new.clone()).unwrap_or_default(), "new"),
    };
    let database = Database {
        name: new.database.unwrap_or_else(|| "app".to_owned()),
        user: new.user.unwrap_or_else(|| "app".to_owned()),
        charset: new.charset.unwrap_or_else(|| "utf8mb4".to_owned()),
        lower_case_table_names: u8::try_from(new.lower_case_table_names.unwrap_or(0)).unwrap_or(u8::MAX),
    };
    let mut refuse = |field: &str, message: &str, remedy: &str| {
        problems.push(Problem::new(format!("spec.bootstrap.{part}.{field}"), message, remedy));
    };
    if !is_plain(&database.name, 64) {
        refuse("database", "is not a plain name", "use up to 64 letters, digits, '_' and '-'");
    }
    if SYSTEM_DATABASES.contains(&database.name.to_ascii_lowercase().as_str()) {
        refuse("database", "belongs to MySQL", "choose another name");
    }
    if database.name.eq_ignore_ascii_case(OWN_DATABASE) {
        refuse("database", "belongs to Grampus", "choose another name");
    }
    if !is_plain(&database.user, 32) {
        refuse("user", "is not a plain name", "use up to 32 letters, digits, '_' and '-'");
    }
    let taken = ["mysql", "grampus"].iter().any(|prefix| database.user.starts_with(prefix));
    if taken || database.user == "root" {
        refuse("user", "is taken by MySQL or Grampus", "choose another name");
    }
    if !is_plain(&database.charset, 32) {
        refuse("charset", "is not the name of a character set", "use utf8mb4, or leave it out");
    }
    if database.lower_case_table_names > 1 {
        refuse("lowerCaseTableNames", "must be 0 or 1; 2 does not work on Linux", "use 0 or 1");
    }
    database
}

/// What a recovered cluster calls its application's database and user; they are made where the backup has none.
fn recovered(recovery: &Recovery) -> NewDatabase {
    NewDatabase {
        database: recovery.database.clone(),
        user: recovery.user.clone(),
        charset: None,
        lower_case_table_names: recovery.lower_case_table_names,
    }
}

fn is_plain(name: &str, longest: usize) -> bool {
    !name.is_empty() && name.len() <= longest && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

pub(super) fn pod_metadata(extra: Option<&ExtraMetadata>, problems: &mut Vec<Problem>) -> Metadata {
    let Some(extra) = extra else { return Metadata::default() };
    metadata("spec.podMetadata", &extra.labels, &extra.annotations, problems)
}

pub(super) fn services(services: Option<&Services>, problems: &mut Vec<Problem>) -> ResolvedServices {
    let Some(services) = services else { return ResolvedServices::default() };
    ResolvedServices {
        primary: service("spec.services.primary", services.primary.as_ref(), problems),
        replicas: service("spec.services.replicas", services.replicas.as_ref(), problems),
    }
}

fn service(field: &str, options: Option<&ServiceOptions>, problems: &mut Vec<Problem>) -> ResolvedService {
    let Some(options) = options else { return ResolvedService::default() };
    ResolvedService {
        metadata: metadata(field, &options.labels, &options.annotations, problems),
        kind: options.kind.unwrap_or_default(),
    }
}

fn metadata(
    field: &str,
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
    problems: &mut Vec<Problem>,
) -> Metadata {
    for (part, keys) in [("labels", labels), ("annotations", annotations)] {
        for (key, value) in keys {
            let path = format!("{field}.{part}[{key}]");
            if RESERVED.iter().any(|domain| key.starts_with(domain)) {
                problems.push(Problem::new(path, "is for Grampus or Kubernetes to set", "leave it out"));
            } else if !is_qualified_name(key) || (part == "labels" && !is_label_value(value)) {
                let remedy = "see the Kubernetes documentation on labels: names and values of up to 63 characters";
                problems.push(Problem::new(path, "Kubernetes would not take it", remedy));
            }
        }
    }
    Metadata { labels: labels.clone(), annotations: annotations.clone() }
}

/// `name` or `domain/name`, as Kubernetes wants keys of labels and annotations.
fn is_qualified_name(key: &str) -> bool {
    let (domain, name) = match key.split_once('/') {
        Some((domain, name)) => (Some(domain), name),
        None => (None, key),
    };
    let is_domain = |domain: &str| {
        !domain.is_empty()
            && domain.len() <= 253
            && domain.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.')
    };
    !name.is_empty() && is_label_value(name) && domain.is_none_or(is_domain)
}

fn is_label_value(value: &str) -> bool {
    let ends_well = |c: char| c.is_ascii_alphanumeric();
    value.len() <= 63
        && value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && (value.is_empty() || (value.starts_with(ends_well) && value.ends_with(ends_well)))
}
