keep containerd containerd --config /var/lib/grampus/containerd.toml &

# A kubelet which finds no API server backs off for longer and longer, so a lab that starts
# everything at once waits here instead. Not for ever: a node must also start without one.
tries=0
until kubectl --kubeconfig /var/lib/grampus/kubelet.kubeconfig get --raw /readyz >/run/readyz 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 30 ] || break
    sleep 0.5
done

keep coredns coredns -conf /var/lib/grampus/Corefile -quiet &
keep kube-proxy kube-proxy --config /var/lib/grampus/kube-proxy.yaml &
keep kubelet kubelet --config /var/lib/grampus/kubelet.yaml \
    --kubeconfig /var/lib/grampus/kubelet.kubeconfig \
    --hostname-override @NAME@ --node-ip @ADDRESS@ \
    --node-labels topology.kubernetes.io/zone=@ZONE@ &

while :; do wait; sleep 1; done
