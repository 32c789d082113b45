# Make a shard again from one of its capsules, on the host that owns it and under the owner's token. Given besides:
# seq, digest and seen (what a look said of the files); with look=1 nothing is done, and only that is said.
main() {
    lock
    own_files
    if [ "$look" = 1 ]; then
        say capsule "$d/capsule.$key"
        [ ! -f "$d/capsule.$key" ] || say digest "$(file_digest "$d/capsule.$key")"
        say files "$files"
        [ "$newest" = 0 ] || say age "$(($(date +%s) - newest))"
        return 0
    fi
    check_fence "$token"
    if alive; then
        same_holder
        [ "$p_token" = "$token" ] || fail host "the shard already runs here with token $p_token (pid $p_pid)"
        mind_lease
        signal_group CONT
    else
        [ "$files" = "$seen" ] || fail host 'the state here has changed since it was looked at'
        [ -f "$d/capsule.$key" ] || fail host 'the capsule is not here'
        [ "$(file_digest "$d/capsule.$key")" = "$digest" ] || fail host 'the capsule here is not the one that was kept'
        make_again
    fi
    as_recorded
    serve
    [ "$driver" != hook ] || : >"$d/loaded"
    rm -f "$d/loading"
    trap 'rm -f "$d/lock"' EXIT
    raise_fence "$token"
    rm -f "$d/capsule.$key"
    tell
}

# What the shard itself has on this disk: $files names it and its times, $newest is when the newest was written
# (seconds, 0 without any). What was there once a hook shard had been filled from a capsule is no state of its own.
own_files() {
    set -- -type f
    if [ "$driver" = hook ] && [ -f "$d/loaded" ]; then set -- -type f -newer "$d/loaded"; fi
    files='' newest=0
    [ -d "$d/state" ] || return 0
    times=$(find "$d/state" "$@" -exec stat -c '%Y %s %n' {} + 2>/dev/null | LC_ALL=C sort -n)
    if [ -z "$times" ]; then # nothing there, or no such stat: then all of it counts as written just now
        [ -n "$(find "$d/state" "$@" | head -n 1)" ] || return 0
        files=unknown newest=$(date +%s)
        return 0
    fi
    files=$(printf '%s\n' "$times" | sha)
    newest=$(printf '%s\n' "$times" | tail -n 1)
    newest=${newest%% *}
}

# Until ``loading`` is gone again, whatever runs here has not all of its state: whoever gets the lock next ends it.
make_again() {
    [ "$driver" = hook ] || unpack
    write_quick "$d/loading" "$token" || fail host "cannot write $d/loading"
    trap 'kill_group 0; rm -f "$d/loading" "$d/lock"' EXIT
    if [ "$driver" = hook ]; then
        put_aside
        launch "$token" "$port" "$address"
        load_capsule
    else
        launch "$token" "$port" "$address"
    fi
}

unpack() {
    rm -rf "$d/unpack.$key"
    mkdir "$d/unpack.$key" || fail host "cannot make $d/unpack.$key"
    tar -C "$d/unpack.$key" -xf "$d/capsule.$key" || fail host 'tar cannot unpack the capsule'
    [ -d "$d/unpack.$key/state" ] && [ ! -L "$d/unpack.$key/state" ] || fail host 'the capsule holds no state folder'
    make_durable "$d/unpack.$key/state"
    rm -rf "$d/state"
    mv "$d/unpack.$key/state" "$d/state" || fail host 'cannot put the state in place'
    rm -rf "$d/unpack.$key"
}

# Older than the capsule, but somebody's files: they stay until the shard moves, the first that were found.
put_aside() {
    if [ "$files" = '' ] || [ -e "$d/before.$key" ]; then
        rm -rf "$d/state"
    else
        rm -rf "$d"/before.*
        mv "$d/state" "$d/before.$key" || fail host "cannot put $d/state aside"
    fi
}
