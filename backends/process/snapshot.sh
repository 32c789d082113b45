# Write a capsule of a shard that serves, and let it serve on: for the day on which this host is lost.
# Given besides: seq, most and spare (bytes), still (hundredths of a second that it may stand still), quiet.
main() {
    [ "$driver" != criu ] || fail host 'driver criu keeps no capsules'
    need_tools
    check_fence "$token"
    need_owner "$token"
    [ ! -f "$d/loading" ] || fail host 'the shard is just being given its state'
    life=$p_pid:$p_start
    box=$root/.capsules/$shard
    mkdir -p "$box" || fail host "cannot make $box"
    new=$box/$seq.new.$$
    trap 'rm -f "$new" "$new.said"' EXIT
    trap 'exit 9' HUP INT TERM
    free_at "$box"
    [ "$free" -gt "$spare" ] || fail host "no room for a capsule: $free bytes are free, $spare have to stay so"
    [ "$most" -le "$((free - spare))" ] || most=$((free - spare))
    paused=0
    if [ "$driver" = hook ] && [ -z "$quiet" ]; then
        pack || refused "$?"
        need_owner "$token"
        [ "$life" = "$p_pid:$p_start" ] || fail host 'the shard was started anew while its state was saved'
    else
        pack_paused
    fi
    bytes=$(size_of "$new")
    [ "$bytes" -le "$most" ] || refused 0
    sync "$new" 2>/dev/null || sync
    digest=$(file_digest "$new")
    mv -f "$new" "$box/$seq" || fail host 'cannot keep the capsule'
    say capsule "$box/$seq"
    say bytes "$bytes"
    say digest "$digest"
    say life "$life"
    say paused "$paused"
}

# The state, as capture would write it; a writer of more than $most bytes is ended.
pack() (
    ulimit -f $(((most + 511) / 512)) || exit 9
    if [ "$driver" = hook ]; then
        hook "$cmd_save" >"$new" 2>"$new.said"
    else
        exec tar -C "$d" -cf "$new" state/. 2>"$new.said"
    fi
)

# refused STATUS: the capsule is given up; being too big is the reason that is told, if it is one.
refused() {
    [ ! -f "$new.said" ] || tail -n 8 "$new.said" >&2
    [ ! -f "$new" ] || [ "$(size_of "$new")" -lt "$((most / 512 * 512))" ] || too_big
    [ "$driver" = hook ] && fail save "ended with status $1"
    fail host "tar cannot pack the state: status $1"
}

too_big() { fail host "the state is larger than the $most bytes that a capsule may have here"; }

# The same while the shard stands still, for $still hundredths of a second at most. Its lock is held for as
# long, so that no step of a move meets it; whoever gets the lock after a kill ends the pause first.
pack_paused() {
    if [ "$driver" = restart ]; then
        size=$(cd "$d/state" && du -sk . | cut -f 1) || fail host "cannot measure $d/state"
        [ "$((size * 1024))" -le "$most" ] || too_big
    fi
    lock
    trap 'end_pause; rm -f "$d/lock" "$new" "$new.said"' EXIT
    need_owner "$token"
    life=$p_pid:$p_start
    [ ! -f "$d/frozen" ] || fail host 'a move has frozen the shard'
    ! all_stopped || fail host 'the shard is stopped'
    how=quiesce
    [ "$driver" = hook ] || how=stop
    write_file "$d/paused" "$how $p_pid $p_start"
    guard
    ticks
    began=$tick
    if [ "$how" = stop ]; then
        until all_stopped; do
            signal_group STOP
            in_time
        done
    else
        hook "$cmd_quiesce" >&2 || fail quiesce "ended with status $?"
    fi
    # Nothing of it may keep the connection open that waits for our end.
    ( exec </dev/null >/dev/null 2>&1; pack ) &
    packer=$!
    while stat_of "$packer" && [ "$st_state" != Z ]; do
        in_time
        nap 0.02
    done
    end_pause
    ticks
    paused=$((tick - began))0
    kill -s KILL "$watcher" 2>/dev/null
    rm -f "$d/lock"
    trap 'rm -f "$new" "$new.said"' EXIT
    wait "$packer" || refused "$?"
}

# Give the capsule up when the shard has stood still for long enough; it goes on first.
in_time() {
    ticks
    [ "$((tick - began))" -ge "$still" ] || return 0
    end_pause
    ticks
    [ -z "${packer:-}" ] || kill -s KILL "$packer" 2>/dev/null
    kill -s KILL "$watcher" 2>/dev/null
    fail host "given up: its state was not packed while it stood still for $((tick - began))0 ms"
}

# Ends the pause if this process cannot: the kernel may have killed it for its memory.
guard() {
    (
        trap - EXIT
        trap '' HUP INT TERM
        nap $((still / 100 + 2))
        self=$(exec sh -c 'echo "$PPID"')
        lock
    ) </dev/null >/dev/null 2>&1 &
    watcher=$!
}

# Hundredths of a second since boot.
ticks() {
    read -r tick _ </proc/uptime
    tick=${tick%.*}${tick#*.}
}
