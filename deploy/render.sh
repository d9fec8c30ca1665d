#!/usr/bin/env bash
# Writes deploy/operator.yaml, for people who use no Helm: the chart with its default values, and the namespace. Helm is
# built from its pinned module the first time; tests do not need it, since they compare the digest of the chart that the
# first line of the file names.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
module=$PWD/helm
cache=${GRAMPUS_CACHE:-$HOME/.cache/grampus}/bin-helm/$(cat helm/go.mod helm/go.sum | sha256sum | cut -c1-16)
PATH=$PATH:/usr/local/go/bin

if [[ ! -x $cache/helm ]]; then
    mkdir -p "$cache"
    (cd "$module" && CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$cache/helm.part" helm.sh/helm/v4/cmd/helm)
    mv "$cache/helm.part" "$cache/helm"
fi

digest=$(cd chart && find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -d' ' -f1)
{
    printf '# Rendered from the chart with the digest %s by `make manifests`. Change the chart.\n' "$digest"
    cat <<'NAMESPACE'
apiVersion: v1
kind: Namespace
metadata:
  name: grampus-system
  labels:
    app.kubernetes.io/part-of: grampus
    pod-security.kubernetes.io/enforce: restricted
NAMESPACE
    "$cache/helm" template grampus chart --namespace grampus-system --set definitions=false
} >operator.yaml.part
mv operator.yaml.part operator.yaml
