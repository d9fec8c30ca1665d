keep coredns coredns -conf /var/lib/grampus/Corefile -quiet &
keep kube-proxy kube-proxy --config /var/lib/grampus/kube-proxy.yaml &

while :; do wait; sleep 1; done
