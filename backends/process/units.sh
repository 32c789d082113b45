# Shards whose processes are held by a systemd unit: the file ``unit`` in the shard's folder names it. Sent with lib.sh,
# also to guards, so that whoever finds such a shard knows all of its processes, whatever groups they made.
# Given besides: units (1 for shards that are started so), limit_cpu (thousandths of a core), limit_memory, limit_read,
# limit_write (bytes, 0 is none), state_path (where the app expects its state)

in_unit() { [ -f "$d/unit" ]; }

# u_name, u_manager (system or user), u_group (its cgroup), u_adopted; u_dir is where processes are listed and frozen.
load_unit() {
    u_name='' u_manager='' u_group='' u_adopted=''
    read -r u_name u_manager u_group u_adopted <"$d/unit" || :
    case $u_group in /*[!/]*) ;; *) fail host "$d/unit is damaged: remove it once the shard is known not to run" ;; esac
    cgroup_tree
    u_dir=$u_tree$u_group
}

# Where cgroup2 is, in both layouts; without any, systemd's own tree.
cgroup_tree() {
    u_base=${cgroups:-/sys/fs/cgroup}
    for u_tree in "$u_base/unified" "$u_base" "$u_base/systemd"; do
        [ ! -f "$u_tree/cgroup.procs" ] || return 0
    done
    fail host "no cgroups in $u_base"
}

ctl() {
    if [ "$u_manager" = user ]; then
        XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/run/user/$(id -u)} systemctl --user "$@"
    else
        systemctl "$@"
    fi
}

unit_members() {
    read_pid || :
    load_unit
    [ -d "$u_dir" ] || return 0
    list_members "$u_dir/cgroup.procs"
    for nested in "$u_dir"/*/cgroup.procs; do
        [ -f "$nested" ] || return 0
        for nested in $(find "$u_dir" -mindepth 2 -name cgroup.procs 2>/dev/null); do list_members "$nested"; done
        return 0
    done
}

list_members() {
    {
        while read -r m; do
            [ "$m" -gt 0 ] && stat_of "$m" || continue
            case $st_state in Z | X) continue ;; esac
            m_all="$m_all $m"
        done <"$1"
    } 2>/dev/null
}

unit_frozen() {
    load_unit
    {
        while read -r u_key u_value; do
            [ "$u_key $u_value" != 'frozen 1' ] || return 0
        done <"$u_dir/cgroup.events"
    } 2>/dev/null
    return 1
}

# The whole cgroup at once, where it can be; an adopted unit is ended as its own file says.
unit_signal() {
    unit_members
    case $1 in
        # criu makes no image of what is frozen
        STOP) [ "${driver:-}" != criu ] && { echo 1 >"$u_dir/cgroup.freeze"; } 2>/dev/null && return 0 ;;
        CONT) { echo 0 >"$u_dir/cgroup.freeze"; } 2>/dev/null || : ;;
        KILL) { echo 1 >"$u_dir/cgroup.kill"; } 2>/dev/null && return 0 ;;
        TERM) [ -z "$u_adopted" ] || { ctl stop --no-block "$u_name" 2>/dev/null && return 0; } ;;
    esac
    # shellcheck disable=SC2086 # numbers
    [ -z "$m_all" ] || kill -s "$1" $m_all 2>/dev/null
}

# Nothing of it runs any more: systemd has noticed when this returns, and the name is free.
unit_ended() {
    load_unit
    ctl stop "$u_name" >/dev/null 2>&1 || :
    rm -f "$d/unit" "$d/leader" "$d/start" "$d/outside"
}

# Whose units: root's are the system's, anybody else's are his own manager's, if that outlives his sessions.
choose_manager() {
    command -v systemd-run >/dev/null 2>&1 || fail host 'no systemd-run here: backend systemd needs systemd, 240 or newer'
    u_manager=system
    [ "$(id -u)" -ne 0 ] || return 0
    u_manager=user
    XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/run/user/$(id -u)}
    export XDG_RUNTIME_DIR
    u_me=$(id -un)
    [ -S "$XDG_RUNTIME_DIR/systemd/private" ] ||
        fail host "$u_me has no systemd of its own here, and may not start units of the system's: connect as root, or let an administrator run loginctl enable-linger $u_me"
    [ -e "/var/lib/systemd/linger/$u_me" ] ||
        fail host "the units of $u_me end with the last login: let an administrator run loginctl enable-linger $u_me"
}

slice_of() { printf 'sidestep-%s.slice\n' "$(printf %s "$fleet" | tr - :)"; }

spawn_unit() {
    choose_manager
    u_name=$(unit_name)
    run_unit start || { log_tail; fail start "systemd-run ended with status $?"; }
    launched=''
}

unit_name() { printf 'sidestep:%s:%s.service\n' "$fleet" "$shard"; }

# run_unit start|wait: with "wait" its leader waits for a word in the fifo "go" before it is anything: which lease it
# counts on. Nobody hears it for long who is never told.
run_unit() {
    printf '%s\n' "${begins:-$cmd_start}" >"$d/start" || fail host "cannot write $d/start"
    # shellcheck disable=SC2016 # expanded by the new shell
    { printf '%s\n' '
d=$1 until=$2 by=$3 name=$4 manager=$5 group="" old=""
while IFS= read -r line; do
    case $line in 0::*) group=${line#0::} ;; *:name=systemd:*) old=${line#*:name=systemd:} ;; esac
done </proc/self/cgroup
start=$(cat "$d/start")
if [ "$6" = wait ]; then
    word=$(timeout 900 head -n 1 <"$d/go") || exit 0
    case $word in "go "*) ;; *) exit 0 ;; esac
    word=${word#go } by=${word%% *} until=${word#* }
fi
printf "%s %s %s\n" "$name" "$manager" "${group:-$old}" >"$d/unit.new" || exit 9
cd "$d/state" || exit 9
set -- "$start" "$d/pid" "${until#-}" "$by" "$d/unit"' "$leader"; } >"$d/leader" || fail host "cannot write $d/leader"
    set -- "$1" -p Restart=no -p TimeoutStopSec=10 -p UMask=0077 -p CPUAccounting=yes -p MemoryAccounting=yes
    [ "${limit_cpu:-0}" -eq 0 ] || set -- "$@" -p "CPUQuota=$(quota)"
    # memory is reclaimed a little before it is refused
    [ "${limit_memory:-0}" -eq 0 ] ||
        set -- "$@" -p "MemoryMax=$limit_memory" -p "MemoryHigh=$((limit_memory / 16 * 15))"
    [ "${limit_read:-0}" -eq 0 ] || set -- "$@" -p "IOReadBandwidthMax=$d $limit_read"
    [ "${limit_write:-0}" -eq 0 ] || set -- "$@" -p "IOWriteBandwidthMax=$d $limit_write"
    [ -z "${state_path:-}" ] || set -- "$@" -p "BindPaths=$d/state:$state_path"
    [ "$u_manager" = system ] || set -- "$@" --user
    how=$1
    shift
    if [ -n "${apart:-}" ]; then # in a file: systemd would expand some of it
        printf '%s\n' "$outside" >"$d/outside" || fail host "cannot write $d/outside"
        set -- "$@" unshare --pid /bin/sh "$d/outside"
    fi
    systemd-run --quiet --collect --service-type=exec --unit="$u_name" --slice="$(slice_of)" \
        --description="shard $shard of sidestep's fleet $fleet" \
        --setenv=SHARD="$shard" --setenv=TOKEN="$e_token" --setenv=PORT="$e_port" --setenv=ADDRESS="$e_address" \
        --setenv=STATE="$d/state" --setenv=HOME="${HOME:-/}" --setenv=PATH="$PATH" \
        -p StandardOutput="append:$d/log" -p StandardError="append:$d/log" "$@" \
        /bin/sh "$d/leader" "$d" "${watched:--}" "${lease_by:-0}" "$u_name" "$u_manager" "$how" >&2
}

# The first process of the unit that was just made, as systemd has it; 0 once it has ended.
unit_leader() {
    launched=$(ctl show -p MainPID --value "$u_name" 2>/dev/null)
    case ${launched:-0} in *[!0-9]*) launched=0 ;; esac
    [ -n "$launched" ] || launched=0
}

# What a unit that waits has been made for.
warm_for() {
    printf '%s\n' "$key $e_token $e_port $e_address ${limit_cpu:-0} ${limit_memory:-0} ${limit_read:-0} ${limit_write:-0}"
}

# Start the unit ahead of its time, as far as that is no start of the shard. What was begun is in $d/warm before it is.
warm_unit() {
    choose_manager
    u_name=$(unit_name)
    rm -f "$d/go"
    printf '%s\n' "$u_name $u_manager 0 0" >"$d/warm" && mkfifo "$d/go" || fail host "cannot make $d/go"
    run_unit wait || { end_warm; fail host "systemd-run ended with status $?"; }
    unit_leader
    stat_of "$launched" || { end_warm; fail host 'ended at once'; }
    { printf '%s\n' "$u_name $u_manager $launched $st_start"; warm_for; } >"$d/warm.new" && mv -f "$d/warm.new" "$d/warm"
}

# The shard in the unit that waits for it. False, and then no unit waits any more, if none does or it is for another.
wake_unit() {
    [ -f "$d/warm" ] || return 1
    w_pid=0 w_start=0 w_for=''
    { read -r u_name u_manager w_pid w_start && read -r w_for; } <"$d/warm" || :
    if [ "$w_for" = "$(warm_for)" ] && [ -p "$d/go" ] && stat_of "$w_pid" && [ "$st_start" = "$w_start" ]; then
        exec 4<>"$d/go" # does not wait for a reader, and keeps the word until there is one
        printf 'go %s %s\n' "${lease_by:-0}" "${watched:--}" >&4
        n=0
        until alive || [ "$n" -ge 100 ]; do
            stat_of "$w_pid" && [ "$st_start" = "$w_start" ] || break
            n=$((n + 1))
            nap 0.003
        done
        exec 4>&-
        if alive && [ "$p_pid" = "$w_pid" ]; then
            launched=$w_pid
            rm -f "$d/warm" "$d/go"
            return 0
        fi
        ctl stop "$u_name" >/dev/null 2>&1 || :
        rm -f "$d/pid" "$d/unit"
    fi
    end_warm
    return 1
}

# End the unit that waits; one that has become the shard stays.
end_warm() {
    [ -f "$d/warm" ] || return 0
    read -r u_name u_manager _ <"$d/warm" || :
    if ! in_unit && [ "$u_name" = "$(unit_name)" ]; then ctl stop "$u_name" >/dev/null 2>&1 || :; fi
    rm -f "$d/warm" "$d/warm.new" "$d/go"
}

# Thousandths of a core as a percentage of one.
quota() { printf '%s.%s%%\n' "$((limit_cpu / 10))" "$((limit_cpu % 10))"; }
