# Enters the lab's control groups first, so that everything started from here is found again.
for tasks in @TASKS@; do echo $$ >"$tasks"; done
exec >>@HOME@/log/init.log 2>&1 </dev/null
exec nsenter --net=@NETWORK@ unshare --pid --fork --mount --uts --mount-proc --kill-child \
    sh @HOME@/run.sh
