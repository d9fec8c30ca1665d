keep containerd containerd --config /var/lib/grampus/containerd.toml &

# A service that finds no API server, or may not read from it yet, backs off for longer and longer; a
# lab that starts everything at once waits here instead. Not for ever: a node must also start without
# an API server.
tries=0
until kubectl --kubeconfig /var/lib/grampus/dns.kubeconfig get services --all-namespaces >/run/ready 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 40 ] || break
    sleep 0.5
done

keep coredns coredns -conf /var/lib/grampus/Corefile -quiet &
keep kube-proxy kube-proxy --config /var/lib/grampus/kube-proxy.yaml &
keep kubelet kubelet --config /var/lib/grampus/kubelet.yaml \
    --kubeconfig /var/lib/grampus/kubelet.kubeconfig \
    --hostname-override @NAME@ --node-ip @ADDRESS@ \
    --node-labels topology.kubernetes.io/zone=@ZONE@ &

while :; do wait; sleep 1; done
