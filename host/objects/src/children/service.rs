//! The Services: one that names members, and two whose endpoints follow the roles.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{everybody, metadata};
use crate::api::{ServiceType, names, ports};
use crate::validate::{ResolvedService, ValidatedCluster};

/// The name of the MySQL port; an EndpointSlice must use the same.
pub const MYSQL_PORT_NAME: &str = "mysql";

/// Names for the members and the read replicas. Addresses are published before one is ready: it must be found in order
/// to become so.
pub(super) fn instances(cluster: &ValidatedCluster) -> Service {
    let name = &cluster.identity.name;
    Service {
        metadata: metadata(&cluster.identity, names::instances_service(name)),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(everybody(name)),
            ports: Some(vec![port(MYSQL_PORT_NAME, ports::MYSQL), port("agent", ports::AGENT)]),
            type_: Some("ClusterIP".to_owned()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

pub(super) fn primary(cluster: &ValidatedCluster) -> Service {
    by_role(cluster, names::primary_service(&cluster.identity.name), &cluster.services.primary)
}

pub(super) fn replicas(cluster: &ValidatedCluster) -> Service {
    by_role(cluster, names::replicas_service(&cluster.identity.name), &cluster.services.replicas)
}

/// Without a selector, so that a role moves as soon as it is decided and not when labels have been watched.
fn by_role(cluster: &ValidatedCluster, name: String, options: &ResolvedService) -> Service {
    let mut metadata = metadata(&cluster.identity, name);
    metadata.labels.get_or_insert_default().extend(options.metadata.labels.clone());
    if !options.metadata.annotations.is_empty() {
        metadata.annotations = Some(options.metadata.annotations.clone());
    }
    let kind = match options.kind {
        ServiceType::ClusterIP => "ClusterIP",
        ServiceType::NodePort => "NodePort",
        ServiceType::LoadBalancer => "LoadBalancer",
    };
    Service {
        metadata,
        spec: Some(ServiceSpec {
            ports: Some(vec![port(MYSQL_PORT_NAME, ports::MYSQL)]),
            type_: Some(kind.to_owned()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn port(name: &str, number: i32) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: number,
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::Int(number)),
        ..ServicePort::default()
    }
}
