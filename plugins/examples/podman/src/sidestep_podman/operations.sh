# What the backend asks for, one function each; run after host.sh.

do_discover() {
    ids=$(pod ps -aq --no-trunc --filter "label=sidestep.fleet=$fleet") || fail 'podman cannot list its containers'
    [ -n "$ids" ] || return 0
    # shellcheck disable=SC2086 # numbers
    pod container inspect --format "$facts" $ids | while read -r line; do
        take "$line"
        say shard "$c_shard $c_state $c_pid $c_start $c_token $c_port $c_address"
    done
}

do_start() {
    need_podman
    lock
    check_fence "$token"
    if alive; then
        [ "$c_token" = "$token" ] || fail "the shard already runs here with token $c_token"
    else
        launch "$token" "$port" "$address"
    fi
    serve
    raise_fence "$token"
    tell
}

do_stop() {
    lock
    look
    [ "$c_token" -le "$token" ] || fail "the shard here has the newer token $c_token"
    raise_fence "$token"
    [ -z "$c_state" ] || remove 5
}

# -- a move; at the source:

do_source_prepare() { lock; need_owner "$token"; say port "$c_port"; say folder "$d"; say unable "$(unable)"; }

do_precopy() {
    lock
    need_owner "$token"
    size=$(within du -sk "$d/state" | cut -f 1) || fail "cannot measure $d/state"
    say bytes $((size * 1024))
}

do_freeze() {
    lock
    not_taken_back
    need_owner "$token"
    [ "$c_state" != paused ] || { say how 'stands still'; return 0; }
    [ -z "$cmd_quiesce" ] || pod exec "$box" /bin/sh -c "$cmd_quiesce" >&2 || fail 'quiesce failed'
    rm -f "$d/memory"
    how=paused
    if [ "$memory_too" = yes ]; then
        if ! elsewhere "$address"; then
            how="paused; without its memory: it listens at $c_address alone"
        elif pod container checkpoint --export "$d/memory.new" --compress none --file-locks "$box" >/dev/null 2>"$d/said"; then
            sync "$d/memory.new" && mv "$d/memory.new" "$d/memory" || fail 'cannot keep its memory'
            say how 'stands still with its memory'
            return 0
        else
            how="paused; without its memory: $(why_not)"
        fi
    fi
    say how "$how"
    pod pause "$box" >/dev/null 2>"$d/said" || fail "podman cannot pause it: $(tail -n 2 "$d/said")"
}

do_capture() {
    lock
    not_taken_back
    need_owner "$token"
    [ "$c_state" = paused ] || fail 'it is not paused'
    if [ ! -f "$d/capsule.$key" ]; then
        pack >"$d/capsule.new" && sync "$d/capsule.new" && mv "$d/capsule.new" "$d/capsule.$key" || fail 'cannot pack its files'
    fi
    say capsule "$d/capsule.$key"
    say bytes "$(wc -c <"$d/capsule.$key")"
    say digest "$(digest_of <"$d/capsule.$key")"
}

# It serves again as before; one that ended meanwhile is started from its files, which nobody else has changed.
do_thaw() {
    lock
    take_back
    fenced
    [ "$f_at" -le "$token" ] || fail "fenced at $f_at: the shard has a newer owner, and must not go on here"
    if ! alive; then
        { read -r o_token port address <"$d/owner"; } 2>/dev/null || fail 'the shard is not on this host'
        [ "$o_token" = "$token" ] || fail "the shard here has token $o_token, not $token"
        launch "$token" "$port" "$address"
    fi
    need_owner "$token"
    rm -f "$d/capsule.$key" "$d/capsule.new"
    serve
}

do_release() {
    lock
    raise_fence "$token"
    look
    [ -z "$c_state" ] || [ "$c_token" -lt "$token" ] || return 0
    [ -z "$c_state" ] || remove
    forget
}

# -- at the destination:

do_prepare() {
    need_podman
    lock
    not_taken_back
    check_fence "$token"
    if alive && [ "$c_token" != "$token" ]; then fail "the shard already runs here with token $c_token"; fi
    for stale in "$d"/capsule.* "$d"/move.* "$d"/restored.* "$d"/unpack.*; do
        case $stale in *".$key") ;; *) rm -rf "$stale" ;; esac
    done
    if [ ! -f "$d/move.$key" ]; then
        [ "$port" -eq 0 ] || ! taken "$port" "$address" || fail "port $port is taken here"
        write "$d/move.$key" "$port $address"
    fi
    say capsule "$d/capsule.$key"
    say folder "$d"
    say unable "$(unable)"
}

do_restore() {
    lock
    not_taken_back
    check_fence "$token"
    [ -f "$d/move.$key" ] || fail 'the destination was not prepared for this move'
    [ -f "$d/capsule.$key" ] && [ "$(digest_of <"$d/capsule.$key")" = "$digest" ] || fail 'the capsule here is not the one that was captured'
    ! alive || fail "the shard already runs here with token $c_token"
    write "$d/restored.$key" "$token"
    raise_fence "$token"
    rm -rf "$d/unpack.$key"
    mkdir "$d/unpack.$key" && within tar -C "$d/unpack.$key" --numeric-owner -xpf "$d/capsule.$key" || fail 'cannot unpack its files'
    within rm -rf "$d/state"
    within mv "$d/unpack.$key/state" "$d/state" || fail 'cannot put its files in place'
    rm -f "$d/memory"
    [ ! -f "$d/unpack.$key/memory" ] || mv "$d/unpack.$key/memory" "$d/memory"
    rm -rf "$d/unpack.$key"
    sync
}

do_verify() {
    lock
    found=$(pack | digest_of)
    [ "$found" = "$digest" ] || fail "the files here have digest $found, captured were $digest"
}

do_discard() {
    lock
    take_back
    look
    [ -z "$c_state" ] || [ "$c_token" != "$token" ] || remove
    if [ -f "$d/restored.$key" ]; then
        raise_fence "$token"
        [ -n "$c_state" ] || { within rm -rf "$d/state"; rm -f "$d/memory"; }
    fi
    rm -rf "$d/capsule.$key" "$d/move.$key" "$d/restored.$key" "$d/unpack.$key"
}

# After the commit point there is only forward: what died is started again.
do_resume() {
    need_podman
    lock
    check_fence "$token"
    if ! alive || [ "$c_token" -lt "$token" ]; then
        { read -r port address <"$d/move.$key"; } 2>/dev/null || fail 'the destination was not prepared for this move'
        # one that was begun and not finished: its owner was never written down, and its files are what it is
        [ -z "$c_state" ] || remove
        bring_back || { say how "from its files$why"; launch "$token" "$port" "$address"; }
    fi
    need_owner "$token"
    serve
    tell
}

# With its memory, if that came; tried once.
bring_back() {
    why=''
    [ -f "$d/memory" ] || return 1
    mv "$d/memory" "$d/memory.used" && sync "$d" || return 1
    if pod container restore --import "$d/memory.used" --name "$box" --file-locks >/dev/null 2>"$d/said"; then
        raise_fence "$token"
        look
        write "$d/owner" "$token $port $address $c_id"
        rm -f "$d/memory.used"
        say how 'with its memory'
        look
        return 0
    fi
    why="; without its memory: $(why_not)"
    rm -f "$d/memory.used"
    look
    [ -z "$c_state" ] || remove
    return 1
}

do_observe() {
    n=0
    while :; do
        need_owner "$token"
        [ "$c_state" = running ] || fail 'it is paused'
        [ "$n" -lt "$seconds" ] || break
        n=$((n + 1))
        sleep 1
    done
    [ -z "$cmd_ready" ] || pod exec "$box" /bin/sh -c "$cmd_ready" >/dev/null 2>&1 || fail 'it is not ready'
    tell
}

do_tidy() { lock; rm -rf "$d/capsule.$key" "$d/move.$key" "$d/restored.$key" "$d/unpack.$key"; }

# -- limits: what the kernel says of the container's cgroup, never what podman was told

do_sizes() {
    lock
    need_owner "$token"
    quota=$(cgroup_file cpu cpu.cfs_quota_us cpu.max) || fail 'this host tells no limit of cpu'
    case $quota in *' '*) period=${quota#* } quota=${quota%% *} ;; *) period=$(cgroup_file cpu cpu.cfs_period_us cpu.max) ;; esac
    case $quota in max | -*) say cpu 0 ;; ??????????*) say cpu 0 ;; *) say cpu $((quota * 1000 / period)) ;; esac
    most=$(cgroup_file memory memory.limit_in_bytes memory.max) || fail 'this host tells no limit of memory'
    case $most in max | ???????????????????*) say memory 0 ;; *) say memory "$most" ;; esac
}
do_resize() {
    lock
    need_owner "$token"
    if [ "$memory" != 0 ]; then
        used=$(cgroup_file memory memory.usage_in_bytes memory.current) || fail 'this host tells no use of memory'
        [ "$used" -lt "$memory" ] || fail "it uses $used bytes, and would be ended with $memory"
    fi
    # podman update cannot lift a limit; one that no machine reaches is none (do_sizes)
    set -- --cpus "$cpu"
    [ "$cpu" != 0 ] || set -- --cpu-period 100000 --cpu-quota 1000000000
    [ "$memory" != 0 ] || memory=1152921504606846976
    set -- "$@" --memory "$memory" --memory-swap "$memory"
    pod update "$@" "$box" >/dev/null 2>"$d/said" || fail "podman update, 4.3 or newer: $(tail -n 2 "$d/said")"
    do_sizes
}
