# One command of an action of a plugin, beside the shard and under its lock: what=validate, do, verify or undo.
# Given besides: key action app token lift cmd_act cmd_verify, and centis, hundredths of a second that each may take.
# With lift=1 what is done takes the action back. Says status, how cmd_verify ended; nothing where nothing is to be undone.
main() {
    lock
    end_act
    if [ "$what" = undo ]; then
        take_back
        if load_pid && [ "$p_token" != "$token" ]; then return 0; fi
        [ "$lift" = 0 ] || alive || return 0
    else
        not_taken_back
        need_owner "$token"
    fi
    act_pid=0
    if alive; then act_pid=$p_pid; fi
    keep=$d/act/$action@$p_pid.$p_start
    members
    mkdir -p "$keep" || fail host "cannot make $keep"
    trap 'end_act; exit 9' HUP INT TERM
    if [ "$what" != verify ]; then
        run_act "$cmd_act" >&2
        [ "$a_status" = 0 ] || fail act "$a_said"
    fi
    run_act "$cmd_verify" >&2
    say status "$a_status"
    case $what$lift in
        validate0 | undo0 | do1) [ "$a_status" != 1 ] || rm -rf "$d/act/$action@"* ;;
    esac
    rmdir "$keep" "$d/act" 2>/dev/null || :
}

# run_act COMMAND: in a session of its own where that can be had, so that all that it starts ends with it.
run_act() {
    set -- "$1" /bin/sh -c "$1"
    shift
    if command -v setsid >/dev/null 2>&1; then
        set -- setsid "$@"
    elif command -v python3 >/dev/null 2>&1; then
        set -- python3 -c 'import os, sys; os.setsid(); os.execv(sys.argv[1], sys.argv[1:])' "$@"
    else
        fail host 'neither setsid nor python3 is here: what does not end could not be killed'
    fi
    (
        SHARD=$shard APP=$app TOKEN=$token PID=$act_pid PIDS=${m_all# } KEEP=$keep
        PORT=${p_port:-0} ADDRESS=${p_address:-}
        export SHARD APP TOKEN PID PIDS KEEP PORT ADDRESS
        cd "$keep" || exit 9
        exec "$@"
    ) </dev/null &
    a_pid=$! a_status=9 a_n=0
    stat_of "$a_pid" && write_quick "$d/acting" "$a_pid $st_start"
    while stat_of "$a_pid" && [ "$st_state" != Z ]; do
        [ "$a_n" -lt "$centis" ] || break
        if [ "$a_n" -lt 20 ]; then nap 0.01; a_n=$((a_n + 1)); else nap 0.05; a_n=$((a_n + 5)); fi
    done
    if stat_of "$a_pid" && [ "$st_state" != Z ]; then
        end_act
        a_said='did not end in its time, and was killed'
        return 0
    fi
    wait "$a_pid"
    a_status=$?
    a_said="ended with status $a_status"
    end_act
}

# Kill what a command has left, also one whose shell was killed. Only under the lock.
end_act() {
    [ -f "$d/acting" ] || return 0
    read -r a_old a_start <"$d/acting" || :
    case ${a_old:-x}${a_start:-x} in *[!0-9]*) a_old=0 ;; esac
    # the number of a group is nobody else's while one of it lives; whoever leads it now must be the one of before
    if [ "${a_old:-0}" -gt 1 ] && { ! stat_of "$a_old" || [ "$st_start" = "$a_start" ]; }; then
        kill -s KILL -- "-$a_old" 2>/dev/null || kill -s KILL "$a_old" 2>/dev/null || :
    fi
    rm -f "$d/acting"
}
