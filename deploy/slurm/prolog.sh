#!/bin/sh
# Slurm's prolog (slurm.conf: Prolog=/etc/slurm/xsched/prolog.sh, PrologFlags=Alloc). slurmd runs it as root on each
# node of a job, before the job's first process. It writes what the cluster says of the job where the agent reads it:
# rules match that (slurm_qos, slurm_account, slurm_partition).
#
# The comment is its user's text: of it only words such as xsched:low count, as a wish (may_ask).
# A job never fails for this: without a record it runs with the default class.
set -u
umask 022
# slurmd gives it no search path.
PATH=${PATH:-}:/usr/bin:/bin:/usr/local/bin:/opt/slurm/bin
dir=${XSCHED_RUN_DIR:-/run/xsched}/slurm
mkdir -p "$dir" || exit 0

# One question to the controller a job and node. Names first: a user's text must not be read in their place. Where
# slurmctld is too busy for that, have PrologSlurmctld, which knows all of it, write records to a shared folder.
line=$(squeue --noheader --job "$SLURM_JOB_ID" --format='%q|%a|%P|%k' | head -n 1)
[ -n "$line" ] || exit 0
qos=${line%%|*}
rest=${line#*|}
account=${rest%%|*}
rest=${rest#*|}
partition=${rest%%|*}
comment=${rest#*|}

asks=
set -f
for word in $comment; do
    case $word in
        xsched:*) word=${word#xsched:} ;;
        *) continue ;;
    esac
    case $word in
        *[!a-z0-9=.-]*) ;;
        *) asks="$asks $word" ;;
    esac
done

new=$(mktemp "$dir/.new.XXXXXX") || exit 0
printf 'qos=%s\naccount=%s\npartition=%s\nasks=%s\n' "$qos" "$account" "$partition" "${asks# }" >"$new"
chmod 0644 "$new"
mv "$new" "$dir/$SLURM_JOB_ID"
exit 0
