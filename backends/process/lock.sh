# Who may work on a shard, and what they clear away first that one left who was killed at it. Goes with lib.sh.

# One operation on a shard at a time: a repeated step must not meet the first one half way. Several that follow one
# another in one process ($chained) have it together.
lock() {
    [ "${chained:-}" != locked ] || return 0
    [ -d "$d" ] || mkdir -p "$d" || fail host "cannot make $d"
    n=0 l_missed=0
    self=${self:-$$}
    stat_of "$self"
    me=$self:$st_start
    until ln -s "$me" "$d/lock" 2>/dev/null; do
        if ! holder=$(readlink "$d/lock"); then
            no_lock ln -s "$me" "$d/lock"
            continue
        fi
        if ! stat_of "${holder%:*}" || [ "$st_start" != "${holder#*:}" ]; then
            if ! mv "$d/lock" "$d/lock.$$" 2>/dev/null; then
                no_lock mv "$d/lock" "$d/lock.$$"
                continue
            fi
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
    end_pause
    [ ! -f "$d/loading" ] || end_loading
    [ -z "${chained:-}" ] || chained=locked
}

# no_lock COMMAND: it failed, and nobody else has the lock. Either it was just let go, or its folder was removed meanwhile,
# which is made again; but where the disk takes no more names (full, or read-only after a fault) nobody tries for ever.
no_lock() {
    l_missed=$((l_missed + 1))
    [ -d "$d" ] || mkdir -p "$d" || fail host "cannot make $d"
    [ "$l_missed" -le 20 ] || fail host "cannot take $d/lock: $(LC_ALL=C "$@" 2>&1)"
    [ "$l_missed" -le 2 ] || nap 0.05
}

unlock() {
    [ "${chained:-}" = locked ] || return 0
    rm -f "$d/lock"
    trap - EXIT
    chained=unlocked
}

# A process that was never given all of its state, since whoever did that was killed (revive.sh). Only under the lock.
end_loading() {
    if load_pid; then kill_group 0; fi
    rm -f "$d/loading"
}

# Let the shard go on after a snapshot's pause, also one that was killed in it. Only under the lock.
end_pause() {
    [ -f "$d/paused" ] || return 0
    read -r w_how w_pid w_start <"$d/paused" || :
    if load_pid && [ "$p_pid:$p_start" = "$w_pid:$w_start" ]; then
        signal_group CONT
        if [ "$w_how" = quiesce ] && [ -n "$cmd_resume" ]; then
            as_recorded
            hook "$cmd_resume" >&2 || return 0 # tried again by whoever has the lock next
        fi
    fi
    rm -f "$d/paused"
}
