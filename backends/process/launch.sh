# Starting a shard: the same for a process group of its own and for a unit (units.sh).

# launch TOKEN PORT ADDRESS: start the shard as the leader of a process group of its own, in its unit with units=1.
# The new process writes the pid file before it becomes the shard, so none runs unrecorded; and it looks at the
# lease only then, so that the guard, which looks at pid files once the lease has run out, misses none.
# A shard of driver criu has process numbers of its own (apart), which are free on every host; what was started is then
# a shell or criu outside, which waits for it and ends with it. With $reviving it comes from its image (criu.sh).
launch() {
    members
    [ -z "$m_all" ] || fail host "remains of the shard still run:$m_all"
    mind_lease
    raise_fence "$1"
    e_token=$1 e_port=$2 e_address=$3
    [ ! -s "$d/log" ] || [ "$(size_of "$d/log")" -lt 1048576 ] || mv -f "$d/log" "$d/log.1"
    apart=''
    if [ -n "${reviving:-}" ]; then define_reviver; else own_numbers && apart=yes; define_leader; fi
    ! in_unit || unit_ended
    [ ! -f "$d/pid" ] && [ ! -f "$d/frozen" ] || rm -f "$d/pid" "$d/frozen"
    [ -d "$d/state" ] || mkdir -p "$d/state" || fail host "cannot make $d/state"
    if [ "${units:-0}" = 1 ]; then wake_unit || spawn_unit; else spawn_group; fi
    n=0
    until alive; do
        # asking systemd takes a while, and a unit that lives says so itself
        [ -n "$launched" ] || [ "$n" -lt 4 ] || unit_leader
        if [ -z "$launched" ]; then :
        elif ! stat_of "$launched" || [ "$st_state" = Z ]; then
            log_tail
            [ -z "${reviving:-}" ] || not_revived
            fail start 'ended at once'
        fi
        [ "$n" -lt "${tries_to_start:-230}" ] || { kill -s KILL "$launched"; fail start 'did not start within 10 s'; }
        n=$((n + 1))
        if [ "$n" -lt 30 ]; then nap 0.01; else nap 0.05; fi
    done
    if [ -n "$apart${reviving:-}" ]; then return 0; fi
    if [ -z "$launched" ]; then # then its cgroup tells that it is the one
        unit_members
        case "$m_all " in *" $p_pid "*) launched=$p_pid ;; *) unit_leader ;; esac
    fi
    [ "$p_pid" = "$launched" ] || fail host "pid file names $p_pid, but $launched was started"
}

# shellcheck disable=SC2016 # expanded by the new shell
outside='setsid "$@" & wait "$!"'

own_numbers() { [ "$driver" = criu ] && [ "$(id -u)" -eq 0 ] && unshare --pid setsid true 2>/dev/null; }

# What the new process runs until it becomes the shard.
define_leader() {
    define_record
    # shellcheck disable=SC2016 # expanded by the new shell
    leader='
start=$1 file=$2 until=$3 by=$4 unit=${5:-}
read -r line </proc/self/stat || exit 9
me=${line%% *}
set -f; set -- ${line##*") "}; set +f
[ "$3" = "$me" ] || { echo "sidestep: the shard got no process group of its own"; exit 9; }
shift 19'"$record"'
exec /bin/sh -c "$start"'
}

# Given: me, $1 (when it began), file, unit, until, by.
define_record() {
    # shellcheck disable=SC2016 # expanded by the new shell
    record='
printf "%s %s %s %s %s\n" "$me" "$1" "$TOKEN" "$PORT" "$ADDRESS" >"$file.new" || exit 9
sync "$file.new" ${unit:+"$unit.new"} 2>/dev/null # names without their contents would outlive a power loss
[ -z "$unit" ] || mv -f "$unit.new" "$unit" || exit 9
mv -f "$file.new" "$file" || exit 9
if [ -n "$until" ]; then
    read -r _ last <"$until" && read -r up _ </proc/uptime && [ "${up%.*}" -lt "$last" ] &&
        { [ "$by" -eq 0 ] || [ "${up%.*}" -lt "$by" ]; } || { echo "sidestep: the lease has run out"; exit 9; }
fi'
}

spawn_group() {
    if command -v setsid >/dev/null 2>&1; then
        set -- setsid
    elif command -v python3 >/dev/null 2>&1; then
        set -- python3 -c 'import os, sys; os.setsid(); os.execv(sys.argv[1], sys.argv[1:])'
    else
        set -m 2>/dev/null
        set --
    fi
    # shellcheck disable=SC2016 # expanded by the new shell
    [ -z "$apart" ] || set -- setsid unshare --pid /bin/sh -c "$outside" sidestep
    (
        SHARD=$shard TOKEN=$e_token PORT=$e_port ADDRESS=$e_address STATE=$d/state
        export SHARD TOKEN PORT ADDRESS STATE
        cd "$d/state" || exit 9
        exec "$@" /bin/sh -c "$leader" sidestep "${begins:-$cmd_start}" "$d/pid" "$watched" "${lease_by:-0}"
    ) </dev/null >>"$d/log" 2>&1 &
    launched=$!
}
