//! What is asked of a module before it is loaded: the digest that was pinned, and a signature where one is given or needed.
//!
//! Public keys are read anew for every module, so that they can be changed without a restart. Who cannot be asked whether
//! signatures are needed has not said that they are not.

use std::path::{Path, PathBuf};

use engine::{Demand, PublicKey};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt};
use objects::api::labels;

use super::fetch::{self, Fetched, Problem, Reference};
use super::options::PolicyOptions;

/// Bytes of a file with public keys: some hundreds of keys.
const KEY_FILE_BYTES: u64 = 64 << 10;

/// The module that a reference names, and what is asked of it before it is loaded.
pub(super) async fn fetch(
    client: &Client,
    options: &PolicyOptions,
    namespace: &str,
    decision: &str,
    wanted: &Reference,
) -> Result<(Fetched, Demand), Problem> {
    let demand = demand(client, options, namespace, decision).await?;
    let fetched = fetch::fetch(client, decision, wanted).await?;
    let demand = Demand { digest: wanted.digest.clone(), signature: fetched.signature.clone(), ..demand };
    Ok((fetched, demand))
}

/// What a module for a cluster in that namespace has to be, whatever was said of this one.
pub(super) async fn demand(
    client: &Client,
    options: &PolicyOptions,
    namespace: &str,
    decision: &str,
) -> Result<Demand, Problem> {
    let required_by = if options.require_signed {
        Some("the operator (--require-signed-policies)".to_owned())
    } else {
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let read = namespaces.get_opt(namespace).await;
        let found = read.map_err(|error| {
            Problem::passing(format!(
                "whether namespace {namespace} asks for signed policies could not be read: {error}"
            ))
        })?;
        let label = labels::REQUIRE_SIGNED;
        let asks = found.is_some_and(|found| found.labels().get(label).is_some_and(|value| value == "true"));
        asks.then(|| format!("namespace {namespace} (its label {label})"))
    };
    let paths = options.keys.clone();
    let keys = tokio::task::spawn_blocking(move || read(&paths)).await.unwrap_or_default();
    Ok(Demand { decision: decision.to_owned(), keys, required_by, ..Demand::default() })
}

/// Every key in these files and directories. What cannot be read or is none is told in the log: the others still count.
fn read(paths: &[PathBuf]) -> Vec<PublicKey> {
    let mut keys = Vec::new();
    for path in paths {
        match files(path) {
            Ok(files) => keys.extend(files.iter().flat_map(|file| keys_of(file))),
            // An optional mount that is not there.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(path = %path.display(), %error, "these public keys cannot be read"),
        }
    }
    keys
}

/// The files of a directory, or the one file. What begins with a dot is how Kubernetes swaps a mount.
fn files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return path.metadata().map(|_| vec![path.to_owned()]);
    }
    let hidden = |path: &Path| path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        files.push(entry?.path());
    }
    files.retain(|file| !hidden(file) && file.is_file());
    files.sort();
    Ok(files)
}

fn keys_of(file: &Path) -> Vec<PublicKey> {
    let small = file.metadata().is_ok_and(|found| found.len() <= KEY_FILE_BYTES);
    let text = if small {
        std::fs::read_to_string(file).map_err(|error| error.to_string())
    } else {
        Err("it is too large".to_owned())
    };
    let keys = text.and_then(|text| PublicKey::read_all(&text).map_err(|error| error.to_string()));
    keys.unwrap_or_else(|error| {
        tracing::warn!(file = %file.display(), error, "this file has no public keys");
        Vec::new()
    })
}

#[cfg(test)]
mod tests {
    use engine::SecretKey;

    use super::*;

    #[test]
    fn keys_are_read_from_a_mount_and_what_is_none_takes_no_other_away() {
        let mount = std::env::temp_dir().join(format!("grampus-keys-{}", std::process::id()));
        std::fs::create_dir_all(mount.join("..2026")).unwrap();
        let (one, two) = (SecretKey::generate().unwrap().public(), SecretKey::generate().unwrap().public());
        std::fs::write(mount.join("..2026/a.pem"), one.to_pem()).unwrap();
        std::fs::write(mount.join("a.pem"), one.to_pem() + &two.to_pem()).unwrap();
        std::fs::write(mount.join("b.txt"), "not a key").unwrap();
        let keys = read(&[mount.clone(), "/no/such/mount".into(), mount.join("a.pem")]);
        std::fs::remove_dir_all(&mount).unwrap();
        assert_eq!(keys, [one.clone(), two.clone(), one, two]);
    }
}
