//! The scripts and configuration files of the lab's machines, as text. They lie in `templates/` and
//! have `@WORDS@` where a machine differs from another.

use std::path::{Path, PathBuf};

use crate::machine::{Machine, Role};
use crate::network;
use crate::paths::Paths;

/// The volumes a node offers.
pub const VOLUMES_PER_NODE: u8 = 12;

/// The files of a machine by their place below its home.
pub fn files(machine: &Machine, paths: &Paths) -> Vec<(&'static str, String)> {
    let etc = |file: &'static str, text: &str| (file, fill(text, machine, paths));
    let mut script = include_str!("templates/prelude.sh").to_owned();
    script.push_str(match machine.role {
        Role::ControlPlane => include_str!("templates/control-plane.sh"),
        Role::Client => include_str!("templates/client.sh"),
        Role::Node(_) => include_str!("templates/node.sh"),
    });
    let mut files = vec![("run.sh", fill(&script, machine, paths))];
    if machine.role != Role::ControlPlane {
        files.push(etc("lib/grampus/Corefile", include_str!("templates/Corefile")));
        files.push(etc("lib/grampus/kube-proxy.yaml", include_str!("templates/kube-proxy.yaml")));
    }
    if machine.is_node() {
        files.push(etc("lib/grampus/kubelet.yaml", include_str!("templates/kubelet.yaml")));
        files.push(etc("lib/grampus/containerd.toml", include_str!("templates/containerd.toml")));
        files.push(etc("lib/grampus/cni/lab.conflist", include_str!("templates/cni.conflist")));
    }
    files
}

/// What starts a machine.
pub fn launch(machine: &Machine, task_files: &[PathBuf]) -> String {
    let tasks: Vec<String> = task_files.iter().map(|file| quote(file)).collect();
    include_str!("templates/launch.sh")
        .replace("@TASKS@", &tasks.join(" "))
        .replace("@NETWORK@", &quote(&machine.namespace()))
        .replace("@HOME@", &quote(&machine.home()))
}

/// Everything the API server has to be told once: roles, the storage class and all volumes.
pub fn cluster(machines: &[Machine]) -> String {
    let mut text = include_str!("templates/cluster.yaml").to_owned();
    for node in machines.iter().filter(|machine| machine.is_node()) {
        for volume in volumes(node) {
            let document = include_str!("templates/volume.yaml")
                .replace("@VOLUME@", &volume)
                .replace("@NODE@", &node.name)
                .replace("@ZONE@", &node.zone().unwrap_or_default());
            text.push_str(&document);
        }
    }
    text
}

/// The names of a node's volumes, which are also their directories.
pub fn volumes(node: &Machine) -> Vec<String> {
    let numbers = 1..=VOLUMES_PER_NODE;
    numbers.map(|number| format!("{}-volume-{number:02}", node.name)).collect()
}

/// A kubeconfig with everything inside, so that it works wherever it is copied.
pub fn kubeconfig(server: &str, user: &str, ca: &str, certificate: &str, key: &str) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    include_str!("templates/kubeconfig.yaml")
        .replace("@ADDRESS@", server)
        .replace("@USER@", user)
        .replace("@CA@", &STANDARD.encode(ca))
        .replace("@CERTIFICATE@", &STANDARD.encode(certificate))
        .replace("@KEY@", &STANDARD.encode(key))
}

/// The names of pods and Services, also by their short forms.
pub fn resolv_conf(server: &str) -> String {
    format!(
        "nameserver {server}\n\
         search default.svc.cluster.local svc.cluster.local cluster.local\n\
         options ndots:5\n"
    )
}

fn fill(text: &str, machine: &Machine, paths: &Paths) -> String {
    // The client is no node; kube-proxy only wants a name that exists, and would wait 30 s for another.
    let proxy_node = if machine.is_node() { machine.name.as_str() } else { "node-1" };
    let group = format!("grampus/{}", machine.name);
    text.replace("@NAME@", &machine.name)
        .replace("@ADDRESS@", &machine.address())
        .replace("@ZONE@", &machine.zone().unwrap_or_default())
        .replace("@PODS@", &machine.pods().unwrap_or_default())
        .replace("@ALL_PODS@", network::ALL_PODS)
        .replace("@SERVICES@", network::SERVICES)
        .replace("@CGROUP@", &group)
        .replace("@PROXY_NODE@", proxy_node)
        .replace("@PROGRAMS@", &quote(&paths.programs()))
        .replace("@STATE@", &quote(&paths.state()))
        .replace("@HOME@", &quote(&machine.home()))
}

/// For a shell, whatever characters the path has.
fn quote(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_is_left_unfilled() {
        let paths = Paths::from_environment().unwrap();
        let machines = Machine::all(&paths, 2);
        let mut texts = vec![cluster(&machines), kubeconfig("a", "u", "c", "c", "k")];
        for machine in &machines {
            texts.push(launch(machine, &[PathBuf::from("/sys/fs/cgroup/x")]));
            texts.extend(files(machine, &paths).into_iter().map(|(_, text)| text));
        }
        for text in texts {
            // The shell's "$@" is the only other use of the sign.
            let rest = text.replace("\"$@\"", "");
            assert!(!rest.contains('@'), "a placeholder is left in: {text}");
        }
    }

    #[test]
    fn a_path_with_a_quote_stays_one_word() {
        assert_eq!(quote(Path::new("/it's here")), r"'/it'\''s here'");
    }
}
