//! `restore --in-place`: the new cluster takes the place of the one of its name, whose volumes stay.
//!
//! It deletes a MysqlCluster. Whatever can be refused is refused before that, and what leads on and back lies in files by
//! then. It must never delete a volume.

use std::fmt::Debug;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use indicatif::ProgressBar;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams, Preconditions};
use kube::runtime::wait::{await_condition, conditions::is_deleted};
use kube::{Api, ResourceExt as _};
use objects::api::{DeletionPolicy, MysqlCluster, MysqlClusterSpec, MysqlTopology, Storage, labels, names};
use serde::de::DeserializeOwned;

use crate::site::{Site, explained};

/// The cluster that gives way.
pub struct Before {
    cluster: MysqlCluster,
    /// The claims of its volumes, those of sets from before it among them.
    claims: Vec<String>,
}

/// Where the manifests lie of what comes and of what was.
pub struct Manifests {
    next: PathBuf,
    before: PathBuf,
}

impl Before {
    /// The cluster of that name, as it is now.
    ///
    /// # Errors
    /// There is none, or its volumes would be deleted with it.
    pub async fn of(site: &Site, name: &str) -> anyhow::Result<Self> {
        let cluster = site.cluster(name).await?;
        keeps_its_volumes(&cluster)?;
        let claims: Api<PersistentVolumeClaim> = site.api();
        let found = claims.list_metadata(&of(name)).await;
        let found = found.map_err(|error| explained(error, "PersistentVolumeClaims of", name, &site.namespace))?;
        let mut claims: Vec<_> = found.items.iter().map(|claim| claim.name_any()).collect();
        claims.sort();
        Ok(Self { cluster, claims })
    }

    /// The cluster.
    pub fn cluster(&self) -> &MysqlCluster {
        &self.cluster
    }

    /// The cluster that takes its place: the same to everybody, on volumes of its own.
    pub fn followed_by(&self, mut spec: MysqlClusterSpec) -> MysqlCluster {
        spec.storage.claim_name = Some(free_claim_name(&self.cluster.name_any(), &self.claims));
        MysqlCluster { spec, ..applicable(&self.cluster) }
    }

    /// The volumes that it leaves.
    pub fn left(&self) -> String {
        let taken = format!("{}-", self.cluster.spec.storage.claim_name());
        self.claims.iter().filter(|claim| claim.starts_with(&taken)).cloned().collect::<Vec<_>>().join(" ")
    }

    /// Deletes it, and waits until nothing of it runs any more. `next` is what will be created then.
    ///
    /// # Errors
    /// The API server would not take `next`, the manifests could not be written, or it could not be deleted.
    pub async fn give_way(&self, site: &Site, next: &MysqlCluster, directory: &Path) -> anyhow::Result<Manifests> {
        check_with_server(site, next).await?;
        let manifests = Manifests::write(directory, next, &self.cluster)?;
        let name = self.cluster.name_any();
        // Whoever interrupts it hears nothing more.
        eprintln!("{}", manifests.announced(&name));
        let spinner = ProgressBar::new_spinner();
        spinner.enable_steady_tick(super::TURN);
        spinner.set_message(format!("{name} ends; its volumes stay"));
        let ended = self.end(site, &name).await;
        spinner.finish_and_clear();
        ended?;
        Ok(manifests)
    }

    async fn end(&self, site: &Site, name: &str) -> anyhow::Result<()> {
        let record = uid_of::<MysqlTopology>(site, name).await?;
        let mut sets = Vec::new();
        for set in [name.to_owned(), names::readers(name)] {
            let uid = uid_of::<StatefulSet>(site, &set).await?;
            sets.extend(uid.map(|uid| (set, uid)));
        }
        // Only the one that was looked at: another of its name may have other volumes.
        let this = Preconditions { uid: self.cluster.uid(), resource_version: None };
        let params = DeleteParams::background().preconditions(this);
        let deleted = site.api::<MysqlCluster>().delete(name, &params).await;
        deleted.map_err(|error| explained(error, "MysqlCluster", name, &site.namespace))?;
        for (set, uid) in sets {
            gone::<StatefulSet>(site, &set, &uid).await?;
        }
        if let Some(uid) = record {
            gone::<MysqlTopology>(site, name, &uid).await?;
        }
        // Nobody makes any more of them now.
        for pod in site.api::<Pod>().list_metadata(&of(name)).await?.items {
            gone::<Pod>(site, &pod.name_any(), &pod.uid().unwrap_or_default()).await?;
        }
        Ok(())
    }
}

impl Manifests {
    /// Writes both, over nothing that is there.
    fn write(directory: &Path, next: &MysqlCluster, before: &MysqlCluster) -> anyhow::Result<Self> {
        let file = |what: &str| directory.join(format!("{}-{what}.yaml", before.name_any()));
        let all = Self { next: file("restored"), before: file("previous") };
        for (path, cluster) in [(&all.next, next), (&all.before, &applicable(before))] {
            let text = serde_saphyr::to_string(cluster)?;
            let written = File::create_new(path).and_then(|mut file| file.write_all(text.as_bytes()));
            written.with_context(|| {
                format!("{} cannot be written; remove it, or name another directory with --keep-in", path.display())
            })?;
        }
        Ok(all)
    }

    /// What is about to happen, and how to go on if it does not come to its end.
    fn announced(&self, name: &str) -> String {
        format!(
            "{name} is deleted now and made again from the backup; its volumes stay. If this is interrupted:\n  \
             kubectl apply -f {}   goes on\n  kubectl apply -f {}   goes back",
            self.next.display(),
            self.before.display()
        )
    }

    /// How to undo it, and how to make it final.
    pub fn told(&self, name: &str, left: &str) -> String {
        format!(
            "the volumes from before are there still. To go back:\n  kubectl delete mysqlcluster {name}\n  kubectl apply -f {}\n\
             When you are sure that nobody needs them any more:\n  kubectl delete pvc {left}",
            self.before.display()
        )
    }
}

/// All that belongs to a cluster, by its label.
fn of(name: &str) -> ListParams {
    ListParams::default().labels(&format!("{}={name}", labels::CLUSTER))
}

/// # Errors
/// They would be deleted with it.
fn keeps_its_volumes(cluster: &MysqlCluster) -> anyhow::Result<()> {
    let name = cluster.name_any();
    if cluster.spec.deletion_policy == Some(DeletionPolicy::Delete) {
        bail!(
            "the volumes of {name} would be deleted with it (spec.deletionPolicy is Delete), and there would be no way back; \
             set it to Retain first, or restore to another name"
        );
    }
    Ok(())
}

/// Has the API server look at everything but the name, which is still taken: that comes last.
async fn check_with_server(site: &Site, next: &MysqlCluster) -> anyhow::Result<()> {
    let params = PostParams { dry_run: true, ..PostParams::default() };
    match site.api::<MysqlCluster>().create(&params, next).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(explained(error, "MysqlCluster", &next.name_any(), &site.namespace)),
    }
}

/// A kind of object that can be read and watched.
trait Kind:
    kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
    + Clone
    + Debug
    + Send
    + DeserializeOwned
    + 'static
{
}

impl Kind for StatefulSet {}
impl Kind for MysqlTopology {}
impl Kind for Pod {}

async fn uid_of<K: Kind>(site: &Site, name: &str) -> anyhow::Result<Option<String>> {
    let found = site.api::<K>().get_metadata_opt(name).await;
    let found = found.map_err(|error| explained(error, &K::kind(&()), name, &site.namespace))?;
    Ok(found.and_then(|found| found.uid()))
}

async fn gone<K: Kind>(site: &Site, name: &str, uid: &str) -> anyhow::Result<()> {
    let waited = await_condition(site.api::<K>(), name, is_deleted(uid)).await;
    waited.map(drop).with_context(|| format!("{} {name} could not be watched", K::kind(&())))
}

/// What somebody would have applied.
fn applicable(cluster: &MysqlCluster) -> MysqlCluster {
    let before = &cluster.metadata;
    let mut metadata = ObjectMeta {
        name: before.name.clone(),
        namespace: before.namespace.clone(),
        labels: before.labels.clone(),
        annotations: before.annotations.clone(),
        ..ObjectMeta::default()
    };
    if let Some(annotations) = &mut metadata.annotations {
        // kubectl's own, which is about the other manifest.
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
    MysqlCluster { metadata, spec: cluster.spec.clone(), status: None }
}

fn free_claim_name(cluster: &str, claims: &[String]) -> String {
    let is_free = |name: &String| !claims.iter().any(|claim| claim.starts_with(&format!("{name}-{cluster}-")));
    let mut numbered = (2_u32..).map(|number| format!("{}{number}", Storage::CLAIM_NAME));
    // There are fewer claims than numbers.
    numbered.find(is_free).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop(spec: serde_json::Value) -> MysqlCluster {
        let object = serde_json::json!({
            "apiVersion": "grampus.dev/v1alpha1", "kind": "MysqlCluster",
            "metadata": { "name": "shop", "namespace": "store", "uid": "u", "resourceVersion": "7", "labels": { "a": "b" } },
            "spec": spec, "status": { "observedGeneration": 3 },
        });
        serde_json::from_value(object).unwrap()
    }

    fn smallest() -> MysqlCluster {
        shop(serde_json::json!({ "storage": { "size": "1Gi" } }))
    }

    #[test]
    fn a_cluster_whose_volumes_would_go_with_it_does_not_give_way() {
        assert!(keeps_its_volumes(&smallest()).is_ok());
        let deleted = shop(serde_json::json!({ "storage": { "size": "1Gi" }, "deletionPolicy": "Delete" }));
        let refused = keeps_its_volumes(&deleted).unwrap_err().to_string();
        assert!(refused.contains("Retain"), "{refused}");
    }

    #[test]
    fn claims_get_a_name_that_none_has() {
        let claims = |all: &[&str]| all.iter().map(|claim| (*claim).to_owned()).collect::<Vec<_>>();
        assert_eq!(free_claim_name("shop", &claims(&["data-shop-0", "data-shop-read-0"])), "data2");
        assert_eq!(free_claim_name("shop", &claims(&["data2-shop-1", "data-shop-0"])), "data3");
        assert_eq!(free_claim_name("shop", &claims(&["data3-shop-1"])), "data2");
        assert!(Storage::is_claim_name("data4294967295"), "any of them may be used");
    }

    #[test]
    fn what_leads_on_and_back_can_be_applied_and_is_written_over_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let before = Before { cluster: smallest(), claims: vec!["data-shop-0".to_owned()] };
        let next = before.followed_by(smallest().spec);
        let manifests = Manifests::write(directory.path(), &next, &smallest()).unwrap();
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        let (restored, before) = (read(&manifests.next), read(&manifests.before));
        assert!(restored.contains("claimName: data2") && !before.contains("claimName"), "{restored}{before}");
        for text in [restored, before] {
            assert!(text.contains("kind: MysqlCluster") && text.contains("name: shop"), "{text}");
            assert!(!text.contains("resourceVersion") && !text.contains("status"), "{text}");
        }
        let announced = manifests.announced("shop");
        assert!(
            announced.contains("shop-restored.yaml   goes on") && announced.contains("shop-previous.yaml   goes back")
        );
        let refused = Manifests::write(directory.path(), &next, &smallest()).err().unwrap().to_string();
        assert!(refused.contains("shop-restored.yaml"), "{refused}");
    }

    #[test]
    fn the_volumes_that_are_left_are_those_of_the_cluster_that_gave_way() {
        let claims = ["data-shop-0", "data-shop-1", "data2-shop-0"].map(str::to_owned).to_vec();
        assert_eq!(Before { cluster: smallest(), claims }.left(), "data-shop-0 data-shop-1");
    }
}
