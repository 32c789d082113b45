# Sent before every operation. Sets no option of the login shell, leaves nothing behind.
# Given: fleet shard driver cmd_start cmd_save cmd_load cmd_quiesce cmd_resume cmd_ready
#        token old_token port address key patience seconds digest files leased lease_boot lease_by
umask 077

say() { printf '%s=%s\n' "$1" "$2"; }

# fail WHAT MESSAGE: WHAT is the command of the shard that failed, or "host". On a line of its own: what the shard wrote
# last, which is told before, may have no end, and after a power loss ends in zeros.
fail() { printf '\nsidestep:%s:%s\n' "$1" "$2" >&2; exit 9; }

nap() { sleep "$1" 2>/dev/null || sleep 1; }

[ -n "${XDG_STATE_HOME:-${HOME:-}}" ] || fail host 'neither HOME nor XDG_STATE_HOME is set'
root=${XDG_STATE_HOME:-$HOME/.local/state}/sidestep/$fleet
d=$root/$shard
lease=$root/.lease

# The facts about process $1 that matter; false if there is none.
stat_of() {
    st_state='' st_group=0 st_start=0
    { read -r st_line <"/proc/$1/stat"; } 2>/dev/null || return 1
    set -f
    # shellcheck disable=SC2086 # the fields after the name, which may hold anything
    set -- ${st_line##*") "}
    set +f
    st_state=$1 st_group=$3
    shift 19
    st_start=$1
}

# The pid file: 1 if there is none, 2 if it is damaged.
read_pid() {
    p_pid=0 p_start=0 p_token=0 p_port=0 p_address=''
    [ -f "$d/pid" ] || return 1
    read -r p_pid p_start p_token p_port p_address <"$d/pid" || :
    case ${p_pid:-x}${p_start:-x}${p_token:-x}${p_port:-x} in *[!0-9]*) return 2 ;; esac
    [ "$p_pid" -gt 1 ] || return 2
}

# The same; false if there is none.
load_pid() {
    read_pid && return 0
    [ "$?" -ne 1 ] || return 1
    fail host "$d/pid is damaged: remove it once the shard is known not to run"
}

# Whether the process of the pid file runs (stopped counts), and not another under its number.
alive() {
    load_pid && stat_of "$p_pid" && [ "$st_start" = "$p_start" ] || return 1
    case $st_state in Z | X) return 1 ;; esac
}

# The process ids of the shard: of its unit where it has one (units.sh), else of the group of the pid file. While one
# of a group lives, no stranger can have the number.
members() {
    m_all=''
    if in_unit; then unit_members; return 0; fi
    load_pid || return 0
    if stat_of "$p_pid" && [ "$st_start" != "$p_start" ]; then return 0; fi
    m_where='/proc/[0-9]*'
    if [ "${quick:-}" = 1 ]; then # a shell reads byte by byte; whoever may not fail for want of a process does that
        m_likely=$(LC_ALL=C grep -lsE "^[0-9]+ \(.*\) [^ZX] [0-9]+ $p_pid " /proc/[0-9]*/stat)
        [ "$?" -ge 126 ] || m_where=$m_likely
    fi
    for m in $m_where; do
        m=${m#/proc/}
        m=${m%/stat}
        stat_of "$m" || continue
        case $st_state in Z | X) continue ;; esac
        [ "$st_group" = "$p_pid" ] && m_all="$m_all $m"
    done
    return 0
}

all_stopped() {
    members
    [ -n "$m_all" ] || return 1
    if in_unit && unit_frozen; then return 0; fi
    for m in $m_all; do
        stat_of "$m" || continue
        case $st_state in T | t | Z | X) ;; *) return 1 ;; esac
    done
}

# A shard that runs as another backend started it is not taken over.
same_holder() {
    if in_unit; then [ "${units:-0}" = 1 ]; else [ "${units:-0}" = 0 ]; fi ||
        fail host 'the shard runs here as another backend started it: stop it first'
}

signal_group() {
    if in_unit; then unit_signal "$1"; else kill -s "$1" -- "-$p_pid" 2>/dev/null; fi
}

# After ``alive``: whether its process stands still.
stopped() {
    case $st_state in T | t) return 0 ;; esac
    in_unit && unit_frozen
}

halt_group() {
    n=0
    until all_stopped; do
        [ -n "$m_all" ] || fail host 'the shard died while it was being stopped'
        [ "$n" -lt 200 ] || fail host "process group $p_pid does not stop"
        signal_group STOP
        [ "$n" -lt 20 ] || nap 0.05
        n=$((n + 1))
    done
}

# The first process of numbers of its own (driver criu) gets no signal that it has no handler for: TERM would not end it.
deaf() {
    grep -qE '^NSpid:([[:space:]]+[0-9]+)+[[:space:]]+1$' "/proc/$p_pid/status" 2>/dev/null || return 1
    while read -r t_key t_mask; do
        [ "$t_key" != SigCgt: ] || [ "$((0x${t_mask#????????????} & 0x4000))" -ne 0 ] || return 0
    done <"/proc/$p_pid/status"
    return 1
}

# Kill the group, politely for $1 tenths of a second, and forget its pid file.
kill_group() {
    n=0
    members
    while [ -n "$m_all" ]; do
        [ "$n" -lt $(($1 + 100)) ] || fail host "process group $p_pid does not die"
        if [ "$n" -lt "$1" ]; then
            [ "$n" -gt 0 ] || signal_group TERM
            [ "$n" -gt 0 ] || ! deaf || kill -s KILL "$p_pid" 2>/dev/null
            signal_group CONT
        else
            signal_group KILL
        fi
        nap 0.1
        n=$((n + 1))
        members
    done
    ! in_unit || unit_ended
    rm -f "$d/pid"
}

write_file() {
    printf '%s\n' "$2" >"$1.new.$$" || { rm -f "$1.new.$$"; fail host "cannot write $1"; }
    sync "$1.new.$$" 2>/dev/null || :
    mv -f "$1.new.$$" "$1" || fail host "cannot write $1"
    sync "${1%/*}" 2>/dev/null || :
}

# The same for two files of one folder.
write_both() {
    printf '%s\n' "$2" >"$1.new.$$" && printf '%s\n' "$4" >"$3.new.$$" ||
        { rm -f "$1.new.$$" "$3.new.$$"; fail host "cannot write $1 and $3"; }
    sync "$1.new.$$" "$3.new.$$" 2>/dev/null || :
    mv -f "$1.new.$$" "$1" && mv -f "$3.new.$$" "$3" || fail host "cannot write $1 and $3"
    sync "${1%/*}" 2>/dev/null || :
}

# What is below these paths, and their names in $d, outlives a power loss. An old sync takes no names, and syncs all.
make_durable() {
    if find "$@" \( -type f -o -type d \) -exec sync {} + 2>/dev/null && sync "$d" 2>/dev/null; then return 0; fi
    ! sync "$d" 2>/dev/null || fail host "cannot bring $1 to the disk"
    sync
}

# The highest token ever seen here for the shard.
fenced() {
    f_at=0
    [ ! -f "$d/fence" ] || read -r f_at <"$d/fence" || :
    case ${f_at:-x} in *[!0-9]*) fail host "$d/fence is damaged: it must hold one number" ;; esac
}

raise_fence() {
    fenced
    [ "$1" -le "$f_at" ] || write_file "$d/fence" "$1"
}

check_fence() {
    fenced
    [ "$1" -ge "$f_at" ] || fail host "fenced: token $1 is older than $f_at, which this host has seen"
}

# The newest moves that were taken back here: what is still on its way of theirs comes too late.
take_back() {
    [ ! -f "$d/undone" ] || ! grep -qxF "$key" "$d/undone" || return 0
    write_file "$d/undone" "$({ [ ! -f "$d/undone" ] || tail -n 15 "$d/undone"; printf '%s' "$key"; })"
}

not_taken_back() {
    [ ! -f "$d/undone" ] || ! grep -qxF "$key" "$d/undone" || fail host 'this move was taken back here already'
}

# hook COMMAND: run it with the shard's environment (e_token, e_port, e_address).
hook() (
    SHARD=$shard TOKEN=$e_token PORT=$e_port ADDRESS=$e_address STATE=$d/state
    export SHARD TOKEN PORT ADDRESS STATE
    [ -d "$d/state" ] || mkdir -p "$d/state"
    cd "$d/state" || exit 9
    exec /bin/sh -c "$1"
)

as_recorded() { e_token=$p_token e_port=$p_port e_address=$p_address; }

# Whole seconds of a clock that never jumps.
now() { read -r n_up _ </proc/uptime && echo "${n_up%.*}"; }

# must_soon NAME COMMAND: run it until it succeeds, for at most $patience seconds while the shard lives.
must_soon() {
    [ -n "$2" ] || return 0
    until='' tries=0
    while ! hook "$2" >&2; do
        until=${until:-$(($(now) + patience))}
        alive || { log_tail; fail "$1" 'the shard died'; }
        [ "$(now)" -lt "$until" ] || { log_tail; fail "$1" "did not succeed within $patience s"; }
        tries=$((tries + 1))
        if [ "$tries" -lt 20 ]; then nap 0.02; else nap 0.1; fi
    done
}

# Give the running process the state in the capsule; retried, because it may not listen yet.
load_capsule() {
    as_recorded
    until=$(($(now) + patience))
    while ! hook "$cmd_load" <"$d/capsule.$key" >&2; do
        alive || { log_tail; fail start 'the shard died before it took its state'; }
        [ "$(now)" -lt "$until" ] || { log_tail; fail load "did not succeed within $patience s"; }
        nap 0.1
    done
    : >"$d/loaded" # what is in its folder by now is no newer than the capsule
}

# Resume, and wait until the shard answers.
serve() {
    must_soon resume "$cmd_resume"
    must_soon ready "$cmd_ready"
    [ -n "$cmd_ready" ] || nap 0.2
    alive || { log_tail; fail start 'the shard died'; }
}

log_tail() { [ ! -f "$d/log" ] || tail -n 8 "$d/log" >&2; }

sha_tool() {
    if command -v sha256sum >/dev/null 2>&1; then echo sha256sum
    elif command -v shasum >/dev/null 2>&1; then echo shasum -a 256
    else echo openssl dgst -sha256 -r; fi
}

# SHA-256 of standard input.
sha() {
    sha_is=${sha_is:-$(sha_tool)}
    s_all=$($sha_is) || return 1
    printf '%s\n' "${s_all%% *}"
}

file_digest() { sha <"$1" || fail host "cannot digest $1"; }

# Names and contents of everything in the state folder, in one digest.
state_digest() {
    (
        cd "$d/state" || exit 1
        find . | LC_ALL=C sort
        find . -type f -exec sh -c 'for f; do printf "%s " "$f"; '"$(sha_tool)"' <"$f" || exit 1; done' sh {} + |
            LC_ALL=C sort
    ) | sha || fail host "cannot digest $d/state"
}

# What was removed from the folder of the shard stays so after a power loss: memory, and state that is elsewhere now.
gone_for_good() { [ ! -d "$d" ] || sync "$d" 2>/dev/null || :; }

# Bytes that are free on the disk of folder $1.
free_at() {
    free=$(df -Pk "$1" 2>/dev/null | { read -r _ && read -r _ _ _ f_left _ && echo "$f_left"; })
    case ${free:-x} in *[!0-9]*) fail host "cannot tell how much room $1 has" ;; esac
    free=$((free * 1024))
}

size_of() {
    s_size=$(wc -c <"$1") || return 1
    echo "$((s_size))" # some pad it with blanks
}

# What moves have left here that were given up: with another one nobody comes back to it.
clear_stale() {
    for stale in "$d"/capsule.* "$d"/move.* "$d"/dry.* "$d"/restored.* "$d"/served.* "$d"/unpack.* "$d"/seed.* "$d"/planted.* "$d"/changed.* "$d"/now.* "$d"/grown.*; do
        case $stale in *".$key" | *".$key.seed") ;; *) rm -rf "$stale" ;; esac
    done
    [ "$driver" != criu ] || [ -f "$d/move.$key" ] || [ -f "$d/capsule.$key" ] || rm -rf "$d/memory"
}

need_tools() {
    command -v sha256sum >/dev/null 2>&1 || command -v shasum >/dev/null 2>&1 || command -v openssl >/dev/null 2>&1 ||
        fail host 'no sha256sum, shasum or openssl here: install coreutils'
    [ "$driver" = hook ] || command -v tar >/dev/null 2>&1 || fail host 'no tar here: install tar'
}

# Without sync: what is written so means nothing after a reboot.
write_quick() { printf '%s\n' "$2" >"$1.new.$$" && mv -f "$1.new.$$" "$1"; }

# The clock of leases: u_up, whole seconds since this boot, and u_boot, its name. Wall clocks may jump.
read_clock() {
    u_boot='' u_up=''
    { read -r u_boot </proc/sys/kernel/random/boot_id && read -r u_up _ </proc/uptime; } 2>/dev/null || return 1
    u_up=${u_up%.*}
}

read_lease() {
    l_boot='' l_until=0
    { read -r l_boot l_until <"$lease/until"; } 2>/dev/null || :
    case ${l_until:-x} in *[!0-9]*) l_boot='' l_until=0 ;; esac
}

lease_in_force() { read_lease; read_clock && [ "$u_boot" = "$l_boot" ] && [ "$u_up" -lt "$l_until" ]; }

guard_lives() {
    g_pid=0 g_start=0
    { read -r g_pid g_start <"$lease/guard"; } 2>/dev/null || return 1
    stat_of "$g_pid" && [ "$st_start" = "$g_start" ] || return 1
    case $st_state in Z | X) return 1 ;; esac
}

# Before a launch: a leased shard starts under a lease that a guard watches, or not at all; and not when the
# order comes so late that its sender may count on the lease having run out.
mind_lease() {
    watched=''
    if [ "${leased:-0}" != 1 ]; then
        [ ! -f "$d/leased" ] || rm -f "$d/leased"
        return 0
    fi
    [ -f "$d/leased" ] || write_quick "$d/leased" leased || fail host "cannot write $d/leased"
    lease_in_force || fail host 'no lease is in force here, and this shard must not start without one'
    guard_lives || fail host 'no guard watches the lease here, and this shard must not start without one'
    [ "${lease_by:-0}" -eq 0 ] || { [ "$u_boot" = "$lease_boot" ] && [ "$u_up" -lt "$lease_by" ]; } ||
        fail host 'the order to start this shard came too late: the lease that it counts on has run out'
    [ "${lease_by:-0}" -eq 0 ] || ! { read -r b_boot b_until <"$d/barred"; } 2>/dev/null ||
        [ "$u_boot" != "$b_boot" ] || [ "$lease_by" -gt "$b_until" ] ||
        fail host 'the order to start this shard was given before it was fenced here'
    watched=$lease/until
}

# What the caller needs to know about the process of the pid file.
tell() {
    load_pid
    say pid "$p_pid"
    say started "$p_start"
    say token "$p_token"
    say port "$p_port"
    say address "$p_address"
}

# The process must be the one of $1, the token of its owner.
need_owner() {
    load_pid || fail host "the shard is not on this host: no $d/pid"
    [ "$p_token" = "$1" ] || fail host "the shard here has token $p_token, not $1"
    alive || { log_tail; fail host "the shard's process $p_pid is dead"; }
    as_recorded
}
