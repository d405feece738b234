#!/bin/sh
# Slurm's task prolog (slurm.conf: TaskProlog=/etc/slurm/xsched/task-prolog.sh). It runs as the job's user before each
# task and before the batch script; what it prints as "export NAME=value" is in the task's environment. A user can
# undo it, and then runs unscheduled, which the agent shows: the shim is no security boundary.
dir=${XSCHED_SHIMS:-/usr/lib/xsched}
preload=
for shim in "$dir/libxsched_shim.so" "$dir/libxsched_shim_cuda.so"; do
    [ -r "$shim" ] && preload="$preload:$shim"
done
[ -n "$preload" ] && echo "export LD_PRELOAD=${LD_PRELOAD:+$LD_PRELOAD:}${preload#:}"
exit 0
