//! What lies in Kubernetes under the names that a cluster uses.
//!
//! Read from the API server itself and not from a cache: whether a name is taken must be known, not guessed.

use std::collections::BTreeMap;
use std::fmt::Debug;

use futures::future::try_join_all;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::ListParams;
use kube::{Api, Client, Resource, ResourceExt};
use objects::Problem;
use objects::api::{MysqlTopology, labels, names};
use objects::secrets::{SecretKind, is_ours};
use objects::validate::ValidatedCluster;
use serde::de::DeserializeOwned;

use super::reconcile::{Error, Trouble, WAITING};
use crate::ownership::controller_of;

/// What there is, under the names that a cluster uses.
#[derive(Debug, Clone, Default)]
pub struct Live {
    pub secrets: BTreeMap<SecretKind, Secret>,
    /// The Secret with root's password that a person keeps.
    pub root: Option<Secret>,
    pub config: Option<ConfigMap>,
    pub instances: Option<Service>,
    pub primary: Option<Service>,
    pub replicas: Option<Service>,
    pub budget: Option<PodDisruptionBudget>,
    pub stateful_set: Option<StatefulSet>,
    pub reader_budget: Option<PodDisruptionBudget>,
    pub reader_set: Option<StatefulSet>,
    /// The record of who votes: their pods stay.
    pub topology: Option<MysqlTopology>,
    /// Whether a member has been made before: its volume is there.
    pub has_data: bool,
}

/// Reads everything at once.
pub async fn dereference(client: &Client, cluster: &ValidatedCluster) -> Result<Live, Error> {
    let (name, namespace) = (&cluster.identity.name, &cluster.identity.namespace);
    let secrets =
        try_join_all(SecretKind::ALL.map(|kind| async move {
            Ok::<_, Error>((kind, get::<Secret>(client, namespace, &kind.name(name)).await?))
        }));
    let root = async {
        match &cluster.root_password {
            Some(secret) => get::<Secret>(client, namespace, &secret.name).await,
            None => Ok(None),
        }
    };
    let (config_name, instances_name) = (names::config(name), names::instances_service(name));
    let (primary_name, replicas_name) = (names::primary_service(name), names::replicas_service(name));
    let readers_name = names::readers(name);
    let (
        secrets,
        root,
        config,
        instances,
        primary,
        replicas,
        budget,
        stateful_set,
        reader_budget,
        reader_set,
        topology,
        has_data,
    ) = tokio::try_join!(
        secrets,
        root,
        get(client, namespace, &config_name),
        get(client, namespace, &instances_name),
        get(client, namespace, &primary_name),
        get(client, namespace, &replicas_name),
        get(client, namespace, name),
        get(client, namespace, name),
        get(client, namespace, &readers_name),
        get(client, namespace, &readers_name),
        get(client, namespace, name),
        has_data(client, cluster),
    )?;
    let secrets = secrets.into_iter().filter_map(|(kind, secret)| Some((kind, secret?))).collect();
    Ok(Live {
        secrets,
        root,
        config,
        instances,
        primary,
        replicas,
        budget,
        stateful_set,
        reader_budget,
        reader_set,
        topology,
        has_data,
    })
}

/// Whether the children of read replicas have to be there: while some are asked for, and once there were some. A
/// cluster that never had any leaves the names of those children to whoever wants them.
pub fn has_readers(cluster: &ValidatedCluster, live: &Live) -> bool {
    let ours = live.reader_set.as_ref().is_some_and(|set| standing(cluster, set).is_none());
    cluster.read_replicas.count > 0 || ours
}

async fn get<K>(client: &Client, namespace: &str, name: &str) -> Result<Option<K>, Error>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    api.get_opt(name).await.map_err(|source| Error::Read { what: format!("{} {name}", K::kind(&())), source })
}

async fn has_data(client: &Client, cluster: &ValidatedCluster) -> Result<bool, Error> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &cluster.identity.namespace);
    let ours = ListParams::default().labels(&format!("{}={}", labels::CLUSTER, cluster.identity.name)).limit(1);
    let found = claims.list_metadata(&ours).await;
    let found = found.map_err(|source| Error::Read { what: "the PersistentVolumeClaims".to_owned(), source })?;
    Ok(!found.items.is_empty())
}

/// What lies under our names and is not the cluster's own.
pub fn foreign(cluster: &ValidatedCluster, live: &Live) -> Vec<Trouble> {
    let children = [
        live.config.as_ref().map(|child| standing(cluster, child)),
        live.instances.as_ref().map(|child| standing(cluster, child)),
        live.primary.as_ref().map(|child| standing(cluster, child)),
        live.replicas.as_ref().map(|child| standing(cluster, child)),
        live.budget.as_ref().map(|child| standing(cluster, child)),
        live.stateful_set.as_ref().map(|child| standing(cluster, child)),
    ];
    let of_readers = [
        live.reader_budget.as_ref().map(|child| standing(cluster, child)),
        live.reader_set.as_ref().map(|child| standing(cluster, child)),
    ];
    let of_readers = of_readers.into_iter().filter(|_| has_readers(cluster, live));
    // Members that heard of the record of a deleted cluster would never be found again. One that nobody owns was put back.
    let record = live.topology.as_ref().filter(|record| controller_of(*record).is_some());
    let record = record.and_then(|record| standing(cluster, record));
    let secrets = live.secrets.iter().filter(|(kind, secret)| {
        // Root's password in a Secret that a person keeps may lie under the name that ours would have.
        let kept = **kind == SecretKind::Root && cluster.root_password.is_some();
        !kept && !is_ours(secret, cluster)
    });
    children
        .into_iter()
        .chain(of_readers)
        .flatten()
        .flatten()
        .chain(record)
        .chain(secrets.filter_map(|(_, secret)| standing(cluster, secret)))
        .collect()
}

/// Nothing for the cluster's own, and else why it cannot be used.
fn standing<K: Resource<DynamicType = ()>>(cluster: &ValidatedCluster, child: &K) -> Option<Trouble> {
    let object = format!("{} {}", K::kind(&()), child.name_any());
    let controller = controller_of(child);
    let own = controller.is_some_and(|owner| owner.uid == cluster.identity.uid);
    let was_ours = controller.is_some_and(|owner| owner.kind == "MysqlCluster" && owner.name == cluster.identity.name);
    let going = child.meta().deletion_timestamp.is_some();
    if own && !going {
        return None;
    }
    if own || was_ours {
        let remedy = "wait until Kubernetes has removed it";
        let problem = Problem::new(object, "is what a deleted cluster of this name has left", remedy);
        return Some(Trouble { reason: WAITING, problem });
    }
    let message = match controller {
        Some(owner) => format!("exists already and belongs to {} {}", owner.kind, owner.name),
        None => "exists already and belongs to somebody else".to_owned(),
    };
    let remedy = "remove or rename it, or give the MysqlCluster another name (metadata.name)";
    Some(Trouble { reason: "NameTaken", problem: Problem::new(object, message, remedy) })
}

#[cfg(test)]
pub mod tests {
    use objects::api::MysqlTopologySpec;
    use objects::children::{Installation, children};
    use objects::validate::{InstallationDefaults, validate};
    use topology::record::Record;

    use super::*;

    pub fn shop(spec: &str) -> ValidatedCluster {
        let cluster = format!(
            r#"{{"apiVersion": "grampus.dev/v1alpha1", "kind": "MysqlCluster",
                "metadata": {{"name": "shop", "namespace": "store", "uid": "u"}}, "spec": {spec}}}"#
        );
        let defaults = InstallationDefaults { image: "mysql".into() };
        validate(&serde_json::from_str(&cluster).unwrap(), &defaults).unwrap()
    }

    pub fn smallest() -> ValidatedCluster {
        shop(r#"{"storage": {"size": "1Gi"}}"#)
    }

    /// Everything as it is once it has been applied.
    pub fn applied(cluster: &ValidatedCluster) -> Live {
        let all = children(cluster, &Installation { grampus_image: "grampus".into() });
        Live {
            config: Some(all.config),
            instances: Some(all.instances),
            primary: Some(all.primary),
            replicas: Some(all.replicas),
            budget: all.budget,
            stateful_set: Some(all.stateful_set),
            reader_budget: Some(all.readers.budget),
            reader_set: Some(all.readers.stateful_set),
            ..Live::default()
        }
    }

    #[test]
    fn the_clusters_own_children_are_no_trouble() {
        assert_eq!(foreign(&smallest(), &applied(&smallest())), []);
    }

    #[test]
    fn a_service_of_somebody_else_is_named() {
        let mut live = applied(&smallest());
        live.primary.as_mut().unwrap().metadata.owner_references = None;
        let troubles = foreign(&smallest(), &live);
        assert_eq!(troubles.len(), 1);
        assert_eq!(troubles[0].reason, "NameTaken");
        assert_eq!(troubles[0].problem.field, "Service shop-primary");
        assert!(troubles[0].problem.remedy.contains("metadata.name"));
    }

    #[test]
    fn a_label_alone_does_not_make_a_child_ours() {
        let mut live = applied(&smallest());
        let set = live.stateful_set.as_mut().unwrap();
        set.metadata.owner_references.as_mut().unwrap()[0].name = "other".into();
        set.metadata.owner_references.as_mut().unwrap()[0].uid = "other".into();
        let troubles = foreign(&smallest(), &live);
        assert!(troubles[0].problem.message.contains("MysqlCluster other"), "{troubles:?}");
    }

    #[test]
    fn the_names_of_read_replicas_are_free_while_nobody_asks_for_any() {
        let asked = shop(r#"{"storage": {"size": "1Gi"}, "readReplicas": {"count": 1}}"#);
        let mut live = applied(&asked);
        assert!(has_readers(&smallest(), &live), "there were some, so their number has to be kept at none");
        live.reader_set.as_mut().unwrap().metadata.owner_references = None;
        live.reader_budget = None;
        assert_eq!(foreign(&smallest(), &live), []);
        assert!(!has_readers(&smallest(), &live));
        assert_eq!(foreign(&asked, &live)[0].problem.field, "StatefulSet shop-read");
    }

    #[test]
    fn what_a_deleted_cluster_of_the_same_name_left_is_waited_for() {
        let mut live = applied(&smallest());
        live.config.as_mut().unwrap().metadata.owner_references.as_mut().unwrap()[0].uid = "before".into();
        assert_eq!(foreign(&smallest(), &live)[0].reason, WAITING);
    }

    #[test]
    fn the_record_of_a_deleted_cluster_is_waited_for_and_one_that_was_put_back_is_not() {
        let mut live = applied(&smallest());
        let mut record = MysqlTopology::new("shop", MysqlTopologySpec { record: Record::first("shop-0".into()) });
        live.topology = Some(record.clone());
        assert_eq!(foreign(&smallest(), &live), []);
        let mut owner = live.config.as_ref().unwrap().owner_references().to_vec();
        owner[0].uid = "before".into();
        record.metadata.owner_references = Some(owner);
        live.topology = Some(record);
        let troubles = foreign(&smallest(), &live);
        assert_eq!((troubles[0].reason, troubles[0].problem.field.as_str()), (WAITING, "MysqlTopology shop"));
    }

    #[test]
    fn a_secret_of_somebody_else_is_named_unless_it_is_where_a_person_keeps_the_password() {
        let secret = Secret {
            metadata: kube::api::ObjectMeta { name: Some("shop-root".into()), ..Default::default() },
            ..Secret::default()
        };
        let mut live = applied(&smallest());
        live.secrets.insert(SecretKind::Root, secret);
        assert_eq!(foreign(&smallest(), &live)[0].problem.field, "Secret shop-root");
        let kept = shop(r#"{"storage": {"size": "1Gi"}, "rootPasswordSecret": {"name": "shop-root"}}"#);
        assert_eq!(foreign(&kept, &live), []);
    }
}
