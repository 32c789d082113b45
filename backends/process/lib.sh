# Sent before every operation. Sets no option of the login shell, leaves nothing behind.
# Given: fleet shard driver cmd_start cmd_save cmd_load cmd_quiesce cmd_resume cmd_ready
#        token old_token port address key patience seconds digest files
umask 077

say() { printf '%s=%s\n' "$1" "$2"; }

# fail WHAT MESSAGE: WHAT is the command of the shard that failed, or "host".
fail() { printf 'sidestep:%s:%s\n' "$1" "$2" >&2; exit 9; }

nap() { sleep "$1" 2>/dev/null || sleep 1; }

[ -n "${XDG_STATE_HOME:-${HOME:-}}" ] || fail host 'neither HOME nor XDG_STATE_HOME is set'
root=${XDG_STATE_HOME:-$HOME/.local/state}/sidestep/$fleet
d=$root/$shard

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

# The pid file; false if there is none.
load_pid() {
    p_pid=0 p_start=0 p_token=0 p_port=0 p_address=''
    [ -f "$d/pid" ] || return 1
    read -r p_pid p_start p_token p_port p_address <"$d/pid" || :
    case ${p_pid:-x}${p_start:-x}${p_token:-x}${p_port:-x} in
        *[!0-9]*) fail host "$d/pid is damaged: remove it once the shard is known not to run" ;;
    esac
    [ "$p_pid" -gt 1 ] || fail host "$d/pid is damaged: pid $p_pid"
}

# Whether the process of the pid file runs (stopped counts), and not another under its number.
alive() {
    load_pid && stat_of "$p_pid" && [ "$st_start" = "$p_start" ] || return 1
    case $st_state in Z | X) return 1 ;; esac
}

# The process ids in the group of the pid file. While one lives, no stranger can have the number.
members() {
    m_all=''
    load_pid || return 0
    if stat_of "$p_pid" && [ "$st_start" != "$p_start" ]; then return 0; fi
    for m in /proc/[0-9]*; do
        m=${m#/proc/}
        stat_of "$m" || continue
        case $st_state in Z | X) continue ;; esac
        [ "$st_group" = "$p_pid" ] && m_all="$m_all $m"
    done
    return 0
}

all_stopped() {
    members
    [ -n "$m_all" ] || return 1
    for m in $m_all; do
        stat_of "$m" || continue
        case $st_state in T | t | Z | X) ;; *) return 1 ;; esac
    done
}

signal_group() { kill -s "$1" -- "-$p_pid" 2>/dev/null; }

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

# Kill the group, politely for $1 tenths of a second, and forget its pid file.
kill_group() {
    n=0
    members
    while [ -n "$m_all" ]; do
        [ "$n" -lt $(($1 + 100)) ] || fail host "process group $p_pid does not die"
        if [ "$n" -lt "$1" ]; then
            [ "$n" -gt 0 ] || signal_group TERM
            signal_group CONT
        else
            signal_group KILL
        fi
        nap 0.1
        n=$((n + 1))
        members
    done
    rm -f "$d/pid"
}

write_file() {
    printf '%s\n' "$2" >"$1.new.$$" || fail host "cannot write $1"
    sync "$1.new.$$" 2>/dev/null || :
    mv -f "$1.new.$$" "$1" || fail host "cannot write $1"
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

# One operation on a shard at a time: a repeated step must not meet the first one half way.
lock() {
    mkdir -p "$d" || fail host "cannot make $d"
    n=0
    stat_of $$
    me=$$:$st_start
    until ln -s "$me" "$d/lock" 2>/dev/null; do
        holder=$(readlink "$d/lock") || continue
        if ! stat_of "${holder%:*}" || [ "$st_start" != "${holder#*:}" ]; then
            mv "$d/lock" "$d/lock.$$" 2>/dev/null || continue
            [ "$(readlink "$d/lock.$$")" = "$holder" ] || ln -s "$(readlink "$d/lock.$$")" "$d/lock" 2>/dev/null
            rm -f "$d/lock.$$"
            continue
        fi
        [ "$n" -lt 100 ] || fail host "busy: process ${holder%:*} has worked on this shard for 10 s"
        n=$((n + 1))
        nap 0.1
    done
    trap 'rm -f "$d/lock"' EXIT
    trap 'exit 9' HUP INT TERM
}

# hook COMMAND: run it with the shard's environment (e_token, e_port, e_address).
hook() (
    SHARD=$shard TOKEN=$e_token PORT=$e_port ADDRESS=$e_address STATE=$d/state
    export SHARD TOKEN PORT ADDRESS STATE
    mkdir -p "$d/state" && cd "$d/state" || exit 9
    exec /bin/sh -c "$1"
)

as_recorded() { e_token=$p_token e_port=$p_port e_address=$p_address; }

now() { date +%s; }

# must_soon NAME COMMAND: run it until it succeeds, for at most $patience seconds while the shard lives.
must_soon() {
    until=$(($(now) + patience))
    [ -z "$2" ] || while ! hook "$2" >&2; do
        alive || { log_tail; fail "$1" 'the shard died'; }
        [ "$(now)" -lt "$until" ] || { log_tail; fail "$1" "did not succeed within $patience s"; }
        nap 0.1
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
    s_all=$($(sha_tool)) || return 1
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

size_of() { wc -c <"$1" | tr -d ' '; }

need_tools() {
    command -v sha256sum >/dev/null 2>&1 || command -v shasum >/dev/null 2>&1 || command -v openssl >/dev/null 2>&1 ||
        fail host 'no sha256sum, shasum or openssl here: install coreutils'
    [ "$driver" != restart ] || command -v tar >/dev/null 2>&1 || fail host 'no tar here: install tar'
}

# launch TOKEN PORT ADDRESS: start the shard as the leader of a process group of its own.
# The new process writes the pid file before it becomes the shard, so none runs unrecorded.
launch() {
    members
    [ -z "$m_all" ] || fail host "remains of the shard still run:$m_all"
    raise_fence "$1"
    e_token=$1 e_port=$2 e_address=$3
    [ ! -f "$d/log" ] || [ "$(size_of "$d/log")" -lt 1048576 ] || mv -f "$d/log" "$d/log.1"
    # shellcheck disable=SC2016 # expanded by the new shell
    leader='
start=$1 file=$2
read -r line <"/proc/$$/stat" || exit 9
set -f; set -- ${line##*") "}; set +f
[ "$3" = "$$" ] || { echo "sidestep: the shard got no process group of its own"; exit 9; }
shift 19
printf "%s %s %s %s %s\n" "$$" "$1" "$TOKEN" "$PORT" "$ADDRESS" >"$file.new" || exit 9
sync "$file.new" 2>/dev/null
mv -f "$file.new" "$file" || exit 9
exec /bin/sh -c "$start"'
    rm -f "$d/pid"
    if command -v setsid >/dev/null 2>&1; then
        set -- setsid
    elif command -v python3 >/dev/null 2>&1; then
        set -- python3 -c 'import os, sys; os.setsid(); os.execv(sys.argv[1], sys.argv[1:])'
    else
        set -m 2>/dev/null
        set --
    fi
    (
        SHARD=$shard TOKEN=$e_token PORT=$e_port ADDRESS=$e_address STATE=$d/state
        export SHARD TOKEN PORT ADDRESS STATE
        mkdir -p "$d/state" && cd "$d/state" || exit 9
        exec "$@" /bin/sh -c "$leader" sidestep "$cmd_start" "$d/pid"
    ) </dev/null >>"$d/log" 2>&1 &
    launched=$!
    n=0
    until alive; do
        if ! stat_of "$launched" || [ "$st_state" = Z ]; then
            log_tail
            fail start 'ended at once'
        fi
        [ "$n" -lt 200 ] || { kill -s KILL "$launched"; fail start 'did not start within 10 s'; }
        n=$((n + 1))
        nap 0.05
    done
    [ "$p_pid" = "$launched" ] || fail host "pid file names $p_pid, but $launched was started"
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
