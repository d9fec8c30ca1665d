#!/usr/bin/env bash
# Writes deploy/operator.yaml, for people who use no Helm: the chart with its default values, and the namespace. Helm is
# built from its pinned module the first time; tests do not need it, since they compare the digest of the chart that the
# first line of the file names.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
helm=$(../tests/lab/setup.sh helm)

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
    "$helm" template grampus chart --namespace grampus-system --set definitions=false
} >operator.yaml.part
mv operator.yaml.part operator.yaml
