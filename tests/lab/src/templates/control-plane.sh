keep etcd etcd --name lab --data-dir /var/lib/etcd \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
    --initial-cluster lab=http://127.0.0.1:2380 --log-level warn \
    --auto-compaction-retention 1h --quota-backend-bytes 4294967296 &

keep kube-apiserver kube-apiserver \
    --advertise-address=@ADDRESS@ --bind-address=@ADDRESS@ --secure-port=6443 \
    --etcd-servers=http://127.0.0.1:2379 \
    --service-cluster-ip-range=@SERVICES@ \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --allow-privileged=true \
    --client-ca-file=/var/lib/grampus/ca.crt \
    --tls-cert-file=/var/lib/grampus/apiserver.crt --tls-private-key-file=/var/lib/grampus/apiserver.key \
    --kubelet-client-certificate=/var/lib/grampus/apiserver-kubelet.crt \
    --kubelet-client-key=/var/lib/grampus/apiserver-kubelet.key \
    --kubelet-preferred-address-types=InternalIP \
    --enable-aggregator-routing=true \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-account-key-file=/var/lib/grampus/service-accounts.pub \
    --service-account-signing-key-file=/var/lib/grampus/service-accounts.key &

keep kube-controller-manager kube-controller-manager \
    --kubeconfig=/var/lib/grampus/controller-manager.kubeconfig \
    --leader-elect=false --use-service-account-credentials=true \
    --node-monitor-grace-period=20s \
    --root-ca-file=/var/lib/grampus/ca.crt \
    --service-account-private-key-file=/var/lib/grampus/service-accounts.key \
    --cluster-signing-cert-file=/var/lib/grampus/ca.crt \
    --cluster-signing-key-file=/var/lib/grampus/ca.key &

keep kube-scheduler kube-scheduler \
    --kubeconfig=/var/lib/grampus/scheduler.kubeconfig --leader-elect=false &

# A static volume whose claim was deleted is wiped and offered again. A watch, so that a lab at rest
# costs nothing; it ends now and then by itself and is simply started again.
recycle() {
    kubectl get persistentvolumes --watch --no-headers \
        --output custom-columns=NAME:.metadata.name,PHASE:.status.phase,NODE:.metadata.labels.grampus\\.dev/node |
        while read -r volume phase node; do
            [ "$phase" = Released ] || continue
            directory=/run/lab/$node/lib/volumes/$volume
            [ -d "$directory" ] || continue
            # The line may be old: by now somebody else's data could be in there.
            now=$(kubectl get persistentvolume "$volume" --output jsonpath='{.status.phase}')
            [ "$now" = Released ] || continue
            rm -rf "$directory"
            mkdir -m 0777 "$directory"
            kubectl patch persistentvolume "$volume" --type=json \
                --patch='[{"op": "remove", "path": "/spec/claimRef"}]'
        done
}
export KUBECONFIG=/run/lab/kubeconfig
keep volumes recycle &

while :; do wait; sleep 1; done
