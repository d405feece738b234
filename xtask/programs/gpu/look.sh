#!/bin/bash
# look.sh [DIR]: a first look at xsched on a real NVIDIA GPU, about five minutes.
# Needs root, Python with torch and torchvision, and what
# `cargo build --release -p xsched-agent -p xsched-shim-cuda` makes, in DIR
# (target/release). One run of each cell: for a look, not for a claim.
set -u
here=$(cd "$(dirname "$0")" && pwd)
bin=$(cd "${1:-target/release}" && pwd) || exit 2
work=$(mktemp -d)
export XSCHED_RUN_DIR=$work/run XSCHED_SHIM=$bin/libxsched_shim_cuda.so
mkdir "$XSCHED_RUN_DIR"
program() { timeout 120 python3 "$here/torch_programs.py" "$@" 2>>"$work/err"; }
under() { local class=$1; shift; timeout 120 "$bin/xsched-agent" run --class "$class" -- python3 "$here/torch_programs.py" "$@" 2>>"$work/err"; }

nvidia-smi -L
uname -r
"$bin/xsched-agent" check
"$bin/xsched-agent" >"$work/agent.log" 2>&1 &
agent=$!
trap 'kill $agent 2>/dev/null; rm -rf "$work"' EXIT
sleep 2

echo "== what models compute, natively and under the shim"
program semantics >"$work/native"
LD_PRELOAD=$XSCHED_SHIM program semantics >"$work/shim"
cat "$work/native"
cmp "$work/native" "$work/shim" && echo identical

echo "== what a program without the shim looks like"
program batch 12 &
sleep 9
"$bin/xsched-agent" ps
pid=$(pgrep -xf "python3 $here/torch_programs.py batch 12" | head -1)
"$bin/xsched-agent" diagnose --pid "$pid" --duration 2s
wait $!

for service in service decode; do
    echo "== $service alone: $(program $service 6)"
    program batch 12 >"$work/batch" &
    sleep 6
    echo "   natively beside a batch: $(program $service 7)"
    wait $!
    echo "       the batch: $(cat "$work/batch")"
    under low batch 12 >"$work/batch" &
    sleep 6
    echo "   high beside a low batch: $(under high $service 7)"
    wait $!
    echo "       the batch: $(cat "$work/batch")"
done

echo "== the agent is killed under a batch"
under low batch 8 &
sleep 6
kill -9 $agent
wait $!
