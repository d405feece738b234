#!/bin/sh
# Slurm's prolog (slurm.conf: Prolog=/etc/slurm/xsched/prolog.sh, PrologFlags=Alloc). slurmd runs it as root on each
# node of a job, before the job's first process. It writes what the cluster says of the job where the agent reads it:
# rules match that (slurm_qos, slurm_account, slurm_partition).
#
# The comment is its user's text: of it only words such as xsched:low count, as a wish (may_ask).
# A job never fails for this: without a record no rule for jobs matches it, and it runs with [defaults] class.
set -u
umask 022
# slurmd gives it no search path.
PATH=${PATH:+$PATH:}/usr/bin:/bin:/usr/local/bin:/opt/slurm/bin
dir=${XSCHED_RUN_DIR:-/run/xsched}/slurm
case ${SLURM_JOB_ID:-} in
    '' | *[!0-9]*) exit 0 ;;
esac
# Whatever fails from here on, another job's record of this number does not stand in.
rm -f "$dir/$SLURM_JOB_ID"
mkdir -p "$dir" || exit 0

# One question to the controller a job and node. Where slurmctld is too busy for that, have PrologSlurmctld, which knows
# all of it, write records to a shared folder.
#
# The answer has all components of a heterogeneous job, or tasks of an array: only the line counts whose %A is this job,
# and not that of an array's waiting rest, which has the array's own number and a range of tasks (%K). A comment may
# hold lines that look like others: lines begin with a mark that nobody could know. Names come before the comment.
read -r mark </proc/sys/kernel/random/uuid || exit 0
answer=$(squeue --noheader --job "$SLURM_JOB_ID" --format="$mark|%A|%K|%q|%a|%P|%k") || exit 0
found=0
while IFS='|' read -r begins job task qos account partition comment; do
    [ "$begins" = "$mark" ] && [ "$job" = "$SLURM_JOB_ID" ] || continue
    case $task in
        N/A) ;;
        *[!0-9]*) continue ;;
    esac
    found=$((found + 1))
    the_qos=$qos the_account=$account the_partition=$partition the_comment=$comment
done <<END
$answer
END
[ "$found" = 1 ] || exit 0

asks=
set -f
for word in $the_comment; do
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
printf 'qos=%s\naccount=%s\npartition=%s\nasks=%s\n' \
    "$the_qos" "$the_account" "$the_partition" "${asks# }" >"$new"
chmod 0644 "$new"
mv "$new" "$dir/$SLURM_JOB_ID"
exit 0
