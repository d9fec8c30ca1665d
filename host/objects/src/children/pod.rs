//! The pod of a member: an agent as PID 1 of the MySQL image.
//!
//! It needs no rights: not root, no capabilities, no service account token, a read-only root. No probe may ever end
//! a member that is merely waiting, because waiting is what a member does while others decide.

use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar,
    EnvVarSource, HTTPGetAction, KeyToPath, ObjectFieldSelector, PodAffinityTerm, PodAntiAffinity, PodSecurityContext,
    PodSpec, Probe, ProjectedVolumeSource, ResourceRequirements, SeccompProfile, SecretProjection, SecretVolumeSource,
    SecurityContext, TopologySpreadConstraint, Volume, VolumeMount, VolumeProjection, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Installation, selector};
use crate::api::{names, ports};
use crate::secrets::keys;
use crate::validate::ValidatedCluster;

/// The container in which mysqld runs.
pub const CONTAINER: &str = "mysql";
/// Where the agent stands in the container; what installs it gets the same path.
pub const AGENT: &str = "/opt/grampus/grampus";

/// Group and user that own the data, whatever the image says.
const USER: i64 = 1001;
/// Long enough for a primary to hand its role over and for mysqld to write its buffers.
const GRACE_SECONDS: i64 = 60;
/// The ConfigMap with the API server's authority, which Kubernetes puts into every namespace.
const CLUSTER_AUTHORITY: &str = "kube-root-ca.crt";
/// Secrets are for the group alone, which is the pod's fsGroup.
const SECRET_MODE: i32 = 0o440;

pub(super) fn spec(cluster: &ValidatedCluster, installation: &Installation) -> PodSpec {
    let scheduling = &cluster.scheduling;
    let some = |secrets: &[_]| (!secrets.is_empty()).then(|| secrets.to_vec());
    PodSpec {
        init_containers: Some(vec![install_agent(installation)]),
        containers: vec![mysql(cluster)],
        volumes: Some(volumes(cluster)),
        image_pull_secrets: some(&cluster.image_pull_secrets),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            // A volume of many files is not walked through at every start.
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
            ..PodSecurityContext::default()
        }),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        affinity: Some(scheduling.affinity.clone().unwrap_or_else(|| apart(selector(&cluster.identity.name)))),
        topology_spread_constraints: Some(
            scheduling.topology_spread.clone().unwrap_or_else(|| vec![over_zones(selector(&cluster.identity.name))]),
        ),
        node_selector: (!scheduling.node_selector.is_empty()).then(|| scheduling.node_selector.clone()),
        tolerations: (!scheduling.tolerations.is_empty()).then(|| scheduling.tolerations.clone()),
        priority_class_name: scheduling.priority_class_name.clone(),
        ..PodSpec::default()
    }
}

/// Preferred and not required: three members on two nodes are better than two members.
pub(super) fn apart(from: LabelSelector) -> Affinity {
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![WeightedPodAffinityTerm {
                weight: 100,
                pod_affinity_term: PodAffinityTerm {
                    label_selector: Some(from),
                    topology_key: "kubernetes.io/hostname".to_owned(),
                    ..PodAffinityTerm::default()
                },
            }]),
            required_during_scheduling_ignored_during_execution: None,
        }),
        ..Affinity::default()
    }
}

pub(super) fn over_zones(pods: LabelSelector) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        label_selector: Some(pods),
        max_skew: 1,
        topology_key: "topology.kubernetes.io/zone".to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        ..TopologySpreadConstraint::default()
    }
}

/// Copies the agent out of Grampus's own image, so that any image with a mysqld will do.
fn install_agent(installation: &Installation) -> Container {
    let small = |cpu: &str, memory: &str| {
        Some([("cpu", cpu), ("memory", memory)].map(|(k, v)| (k.to_owned(), Quantity(v.to_owned()))).into())
    };
    Container {
        name: "install-agent".to_owned(),
        image: Some(installation.grampus_image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(["/grampus", "install", AGENT].map(str::to_owned).into()),
        resources: Some(ResourceRequirements {
            requests: small("10m", "32Mi"),
            limits: small("1", "128Mi"),
            claims: None,
        }),
        security_context: Some(restricted()),
        volume_mounts: Some(vec![mount("grampus", "/opt/grampus", false)]),
        ..Container::default()
    }
}

fn mysql(cluster: &ValidatedCluster) -> Container {
    Container {
        name: CONTAINER.to_owned(),
        image: Some(cluster.image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some([AGENT, "agent"].map(str::to_owned).into()),
        env: Some(environment(cluster)),
        ports: Some(vec![port("mysql", ports::MYSQL), port("agent", ports::AGENT), port("health", ports::HEALTH)]),
        resources: Some(cluster.resources.clone()),
        security_context: Some(restricted()),
        // Starting and living are the agent's: mysqld may be cloning for hours or waiting for a decision.
        startup_probe: Some(probe("/startupz", 1, 120)),
        liveness_probe: Some(probe("/livez", 10, 6)),
        readiness_probe: Some(probe("/readyz", 2, 2)),
        volume_mounts: Some(vec![
            mount(cluster.storage.claim_name(), "/data", false),
            mount("run", "/run/grampus", false),
            mount("tmp", "/tmp", false),
            mount("grampus", "/opt/grampus", true),
            mount("tls", "/etc/grampus/tls", true),
            mount("secrets", "/etc/grampus/secrets", true),
            mount("config", "/etc/grampus/config", true),
            mount("kubernetes", "/etc/grampus/kubernetes", true),
        ]),
        ..Container::default()
    }
}

fn environment(cluster: &ValidatedCluster) -> Vec<EnvVar> {
    let database = &cluster.database;
    let mut all = vec![
        value("GRAMPUS_CLUSTER", &cluster.identity.name),
        value("GRAMPUS_NAMESPACE", &cluster.identity.namespace),
        field("GRAMPUS_MEMBER", "metadata.name"),
        field("GRAMPUS_POD_IP", "status.podIP"),
        field("GRAMPUS_NODE", "spec.nodeName"),
        value("GRAMPUS_DATABASE", &database.name),
        value("GRAMPUS_USER", &database.user),
        value("GRAMPUS_CHARSET", &database.charset),
        value("GRAMPUS_LOWER_CASE_TABLE_NAMES", &database.lower_case_table_names.to_string()),
    ];
    all.extend(cluster.memory.map(|bytes| value("GRAMPUS_MEMORY_LIMIT", &bytes.to_string())));
    all
}

fn volumes(cluster: &ValidatedCluster) -> Vec<Volume> {
    let name = &cluster.identity.name;
    let root = cluster.root_password.as_ref();
    let root_secret = root.map_or_else(|| names::root_secret(name), |secret| secret.name.clone());
    let root_key = root.map_or(keys::PASSWORD, |secret| &secret.key);
    let passwords = vec![
        project(&root_secret, &[(root_key, "root-password")]),
        project(
            &names::internal_secret(name),
            &[(keys::ADMIN_PASSWORD, "admin-password"), (keys::REPLICATION_PASSWORD, "replication-password")],
        ),
        project(&names::app_secret(name), &[(keys::PASSWORD, "app-password")]),
    ];
    vec![
        scratch("grampus", EmptyDirVolumeSource::default()),
        // The socket and what else must not outlive the pod.
        scratch("run", in_memory()),
        scratch("tmp", EmptyDirVolumeSource::default()),
        Volume {
            name: "tls".to_owned(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(names::server_secret(name)),
                default_mode: Some(SECRET_MODE),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        },
        Volume {
            name: "secrets".to_owned(),
            projected: Some(ProjectedVolumeSource { default_mode: Some(SECRET_MODE), sources: Some(passwords) }),
            ..Volume::default()
        },
        Volume {
            name: "config".to_owned(),
            config_map: Some(ConfigMapVolumeSource { name: names::config(name), ..ConfigMapVolumeSource::default() }),
            ..Volume::default()
        },
        // By it the agent knows the API server when it asks whether that is there at all.
        Volume {
            name: "kubernetes".to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: CLUSTER_AUTHORITY.to_owned(),
                optional: Some(true),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        },
    ]
}

fn in_memory() -> EmptyDirVolumeSource {
    EmptyDirVolumeSource { medium: Some("Memory".to_owned()), size_limit: Some(Quantity("16Mi".to_owned())) }
}

fn scratch(name: &str, source: EmptyDirVolumeSource) -> Volume {
    Volume { name: name.to_owned(), empty_dir: Some(source), ..Volume::default() }
}

fn project(secret: &str, files: &[(&str, &str)]) -> VolumeProjection {
    let items =
        files.iter().map(|(key, path)| KeyToPath { key: (*key).to_owned(), path: (*path).to_owned(), mode: None });
    VolumeProjection {
        secret: Some(SecretProjection { name: secret.to_owned(), items: Some(items.collect()), optional: None }),
        ..VolumeProjection::default()
    }
}

fn restricted() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        run_as_non_root: Some(true),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        ..SecurityContext::default()
    }
}

fn probe(path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::Int(ports::HEALTH),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(5),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

fn port(name: &str, number: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: number,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

pub(super) fn value(name: &str, text: &str) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(text.to_owned()), value_from: None }
}

fn field(name: &str, path: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector { field_path: path.to_owned(), api_version: None }),
            ..EnvVarSource::default()
        }),
    }
}
