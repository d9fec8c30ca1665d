//! What helps to find out why a cluster is not as it should be. It never fails: what it cannot get, it says.

use std::fmt::Write as _;

use crate::Cluster;
use crate::operator::{OPERATOR_DEPLOYMENT, OPERATOR_NAMESPACE};

/// Status, record, events, pods, and the last lines of every log.
pub async fn dump(cluster: &Cluster) -> String {
    let (namespace, name) = (cluster.namespace.as_str(), cluster.name.as_str());
    let mut text = format!("--- {namespace}/{name} is not as it should be; this is how it is\n");
    let mut show = |title: &str, arguments: &[&str]| {
        let found = cluster.env().kubectl(arguments).unwrap_or_else(|error| format!("{error:#}"));
        let _ = writeln!(text, "--- {title}\n{}", found.trim_end());
    };
    show("status", &["-n", namespace, "get", "myc", name, "-o", "jsonpath={.status}"]);
    show("record", &["-n", namespace, "get", "myt", name, "-o", "jsonpath={.spec}"]);
    show("objects", &["-n", namespace, "get", "myo,pods,pvc,services,endpointslices", "-o", "wide"]);
    show(
        "events",
        &[
            "-n",
            namespace,
            "get",
            "events",
            "--sort-by=.lastTimestamp",
            "-o",
            "custom-columns=AT:.lastTimestamp,OF:.involvedObject.name,WHY:.reason,WHAT:.message",
        ],
    );
    show(
        "operator",
        &["-n", OPERATOR_NAMESPACE, "logs", OPERATOR_DEPLOYMENT, "--all-pods=true", "--prefix", "--tail=25"],
    );
    let selector = format!("{}={name}", objects::api::labels::CLUSTER);
    show("agents", &["-n", namespace, "logs", "-l", &selector, "--prefix", "--tail=40", "--max-log-requests=9"]);
    show("nodes", &["get", "nodes"]);
    text
}
