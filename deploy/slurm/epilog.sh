#!/bin/sh
# Slurm's epilog (slurm.conf: Epilog=/etc/slurm/xsched/epilog.sh): the job's record goes with the job. After a node
# that went down with jobs, records are gone with /run.
rm -f "${XSCHED_RUN_DIR:-/run/xsched}/slurm/$SLURM_JOB_ID"
exit 0
