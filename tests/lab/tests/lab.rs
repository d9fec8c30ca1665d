//! The lab itself: that its nodes die, hang and come back as nodes do, that its links can be cut, and
//! that it is whole again afterwards. One test, because there is one lab.

#![allow(clippy::unwrap_used, reason = "clippy takes the helpers of a test for something else")]

use std::io::Read;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use lab::{Lab, Options, Power};

const NODE: &str = "node-2";
const SHORT: Duration = Duration::from_secs(2);

#[test]
fn nodes_die_and_come_back_and_the_lab_is_whole_again() {
    let lab = Lab::up(Options::default()).unwrap();
    up_again_changes_nothing(&lab);
    kubectl(&lab, &["delete", "namespace", "lab-test", "--ignore-not-found"]);
    apply(&lab);
    kubectl(&lab, &["wait", "-n", "lab-test", "--for=condition=Ready", "pod/db", "--timeout=60s"]);
    let pod = field(&lab, "pod/db", "{.status.podIP}");
    let service = field(&lab, "service/db", "{.spec.clusterIP}");

    names_resolve_everywhere(&lab, &pod, &service);
    a_thread_reaches_pods_services_and_the_api(&lab, &pod, &service);
    a_cut_link_is_silent_and_heals(&lab, &pod);
    a_hang_is_not_a_death(&lab, &pod);
    a_crash_takes_everything_but_the_disk(&lab);
    an_image_is_loaded_once(&lab);
    a_deleted_claim_gives_its_volume_back(&lab);
    assert!(lab.status().unwrap().cuts.is_empty());
}

fn up_again_changes_nothing(lab: &Lab) {
    let before: Vec<_> = processes(lab);
    Lab::up(Options::default()).unwrap();
    for (node, inits) in before.iter().zip(processes(lab)) {
        assert_eq!(node, &inits, "up restarted something in a healthy lab");
    }
    let status = lab.status().unwrap();
    let ready = status.machines.iter().filter(|machine| machine.ready == Some(true));
    assert!(ready.count() >= 3);
    assert!(status.machines.iter().all(|machine| machine.power == Power::On));
}

/// The oldest process of every node: if that is the same, nothing was switched off and on. Numbers say nothing about
/// age, because they begin again at the lowest when they have reached the highest.
fn processes(lab: &Lab) -> Vec<Option<i32>> {
    let oldest = |name: &&str| {
        let processes = lab.node(name).unwrap().processes().unwrap();
        processes.into_iter().filter_map(|pid| Some((started(pid)?, pid))).min().map(|(_, pid)| pid)
    };
    lab.nodes().iter().map(oldest).collect()
}

/// When a process started, in clock ticks since this computer did.
fn started(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold spaces; the fields are counted from behind it.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

fn names_resolve_everywhere(lab: &Lab, pod: &str, service: &str) {
    let name = "db.lab-test.svc.cluster.local";
    for machine in [None, Some("node-1"), Some(NODE), Some(lab::CONTROL_PLANE)] {
        let output = text(lab.exec(machine, &["getent", "hosts", name]).unwrap());
        assert!(output.contains(service), "{machine:?} resolves {name} to {output}");
    }
    // The name a StatefulSet's pod has, as seen by another pod.
    let output = kubectl(lab, &["exec", "-n", "lab-test", "peer", "--", "getent", "hosts", "db.pods"]);
    assert!(output.contains(pod), "the peer resolves db.pods to {output}");
    let through_service = "echo >/dev/tcp/db/3306";
    kubectl(lab, &["exec", "-n", "lab-test", "peer", "--", "bash", "-c", through_service]);
}

fn a_thread_reaches_pods_services_and_the_api(lab: &Lab, pod: &str, service: &str) {
    let api = lab.node(lab::CONTROL_PLANE).unwrap().address();
    for target in [format!("{pod}:3306"), format!("{service}:3306"), format!("{api}:6443")] {
        assert!(reachable(lab, &target), "{target} is not reachable from the client's network");
    }
    for words in [["-4", "address"], ["-4", "route"]] {
        let own = Command::new("ip").args(words).output().unwrap();
        let own = text(own);
        assert!(!own.contains("198.18.") && !own.contains("198.19."), "the lab leaks: {own}");
    }
}

fn a_cut_link_is_silent_and_heals(lab: &Lab, pod: &str) {
    let (target, port) = (format!("{pod}:3306"), format!("echo >/dev/tcp/{pod}/3306"));
    lab.cut(lab::CLIENT, Some(NODE), false).unwrap();
    assert!(!reachable(lab, &target), "a cut link lets a connection through");
    let from_peer = lab.exec(Some("node-1"), &["timeout", "2", "bash", "-c", &port]).unwrap();
    assert!(from_peer.status.success(), "cutting one link cut another");
    lab.heal(lab::CLIENT, Some(NODE), false).unwrap();
    assert!(reachable(lab, &target), "a healed link lets nothing through");

    lab.cut(NODE, None, true).unwrap();
    assert!(!reachable(lab, &target), "nothing should come back from {NODE}");
    assert!(lab.status().unwrap().cuts.iter().all(|(from, _)| from == NODE));
    lab.heal_all().unwrap();
    assert!(reachable(lab, &target), "a healed link lets nothing through");
}

fn a_hang_is_not_a_death(lab: &Lab, pod: &str) {
    let target = format!("{pod}:3306");
    let node = lab.node(NODE).unwrap();
    node.pause().unwrap();
    assert_eq!(node.power().unwrap(), Power::Paused);
    assert!(reachable(lab, &target), "a hanging node's kernel still accepts connections");
    assert!(!greets(lab, &target), "a hanging server should say nothing");
    node.resume().unwrap();
    assert!(greets(lab, &target), "a resumed server should speak");
}

fn a_crash_takes_everything_but_the_disk(lab: &Lab) {
    let node = lab.node(NODE).unwrap();
    let processes = node.processes().unwrap();
    let boot = boot_id(lab);
    node.crash().unwrap();
    assert_eq!(node.power().unwrap(), Power::Off);
    assert!(node.processes().unwrap().is_empty());
    let alive: Vec<_> = processes.into_iter().filter_map(living).collect();
    assert!(alive.is_empty(), "processes outlived their node: {alive:?}");

    node.start().unwrap();
    lab.wait_ready(Duration::from_secs(60)).unwrap();
    assert_ne!(boot, boot_id(lab), "a node that was started again has a new boot id");
    let target = || format!("{}:3306", field(lab, "pod/db", "{.status.podIP}"));
    eventually("the pod to serve from its old disk", || greets(lab, &target()));
    let log = kubectl(lab, &["logs", "-n", "lab-test", "db"]);
    assert!(log.contains("found what was there"), "the volume lost its files: {log}");
}

/// What a process is, unless it is gone or only its parent has not looked yet.
fn living(process: i32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    (!stat.contains(") Z ")).then_some(stat)
}

fn an_image_is_loaded_once(lab: &Lab) {
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("image.tar");
    let files = [(Path::new("/bin/sh"), "/bin/program", 0o755)];
    let tag = "grampus.dev/lab/test:1";
    lab::image::pack(tag, &files, &["/bin/program"], &archive).unwrap();
    let first = std::fs::read(&archive).unwrap();
    lab::image::pack(tag, &files, &["/bin/program"], &archive).unwrap();
    assert!(first == std::fs::read(&archive).unwrap(), "packing twice gives two images");
    lab.load_image(&archive).unwrap();
    let started = Instant::now();
    lab.load_image(&archive).unwrap();
    assert!(started.elapsed() < SHORT, "loading what is there already took long");
}

fn a_deleted_claim_gives_its_volume_back(lab: &Lab) {
    let volume = field(lab, "persistentvolumeclaim/db", "{.spec.volumeName}");
    let status = ["get", "persistentvolume", &volume, "-o", "jsonpath={.status.phase}"];
    assert_eq!(kubectl(lab, &status), "Bound");
    kubectl(lab, &["delete", "namespace", "lab-test", "--timeout=60s"]);
    eventually("the volume to be available", || kubectl(lab, &status) == "Available");
    let files = lab.node(NODE).unwrap().logs().join("../lib/volumes").join(&volume);
    assert_eq!(std::fs::read_dir(files).unwrap().count(), 0, "a recycled volume has old files");
}

fn boot_id(lab: &Lab) -> String {
    kubectl(lab, &["get", "node", NODE, "-o", "jsonpath={.status.nodeInfo.bootID}"])
}

fn apply(lab: &Lab) {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab.yaml");
    kubectl(lab, &["create", "namespace", "lab-test"]);
    kubectl(lab, &["apply", "-n", "lab-test", "-f", manifest]);
}

fn kubectl(lab: &Lab, arguments: &[&str]) -> String {
    let output = lab.kubectl(arguments).unwrap();
    assert!(output.status.success(), "kubectl {arguments:?}: {output:?}");
    text(output)
}

fn field(lab: &Lab, object: &str, path: &str) -> String {
    let path = format!("jsonpath={path}");
    kubectl(lab, &["get", "-n", "lab-test", object, "-o", &path])
}

fn text(output: Output) -> String {
    String::from_utf8(output.stdout).unwrap()
}

fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "waited 60 s for {what}");
        thread::sleep(Duration::from_millis(200));
    }
}

fn reachable(lab: &Lab, target: &str) -> bool {
    in_client_network(lab, target, |_| true)
}

/// A MySQL server speaks first.
fn greets(lab: &Lab, target: &str) -> bool {
    in_client_network(lab, target, |mut stream| {
        stream.set_read_timeout(Some(SHORT)).unwrap();
        stream.read(&mut [0; 64]).is_ok_and(|length| length > 0)
    })
}

fn in_client_network(lab: &Lab, target: &str, look: impl FnOnce(TcpStream) -> bool + Send) -> bool {
    let visit = || {
        lab.enter_client_network().unwrap();
        let address = target.to_socket_addrs().ok().and_then(|mut found| found.next());
        let stream = address.and_then(|to| TcpStream::connect_timeout(&to, SHORT).ok());
        stream.is_some_and(look)
    };
    thread::scope(|scope| scope.spawn(visit).join().unwrap())
}
