# Runs in namespaces of its own: fills a containerd store with images and ends containerd in order,
# so that what is on the disk afterwards is complete.
set -eu
store=$1
shift
mount -t tmpfs -o mode=755,nosuid tmpfs /run
cat >/run/containerd.toml <<TOML
version = 2
root = "$store"
state = "/run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "/run/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "/run/opt"
TOML
containerd --config /run/containerd.toml >&2 &
containerd=$!
until [ -S /run/containerd.sock ]; do
    kill -0 $containerd
    sleep 0.05
done
for archive in "$@"; do
    ctr --address /run/containerd.sock --namespace k8s.io images import "$archive"
done
kill $containerd
wait $containerd || true
