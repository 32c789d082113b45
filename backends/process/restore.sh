# Bring the capsule to life at the destination, without serving.
main() {
    lock
    not_taken_back
    check_fence "$token"
    [ -f "$d/move.$key" ] || fail host 'the destination was not prepared for this move'
    [ -f "$d/capsule.$key" ] || fail host 'the capsule is not here'
    [ "$(file_digest "$d/capsule.$key")" = "$digest" ] || fail host 'the capsule here is not the one that was captured'
    read -r port address <"$d/move.$key"
    if load_pid && [ "$p_token" != "$token" ] && alive; then
        fail host "the shard already runs here with token $p_token (pid $p_pid)"
    fi
    [ "${stays:-}" != yes ] || need_owner "$token" # takes keys beside its own: made anew it would have only those
    fenced
    if [ "$driver" = restart ]; then
        ! alive || fail host "the shard already runs here (pid $p_pid)"
        mark_restored & # beside the unpacking: users wait
        marking=$!
        trap 'wait "$marking"; rm -f "$d/lock"' EXIT
        unpack
    else
        write_file "$d/restored.$key" "$token"
        make_durable "$d/capsule.$key" # resume makes the process again from it
        if [ "$driver" != criu ]; then load_into; else
            if ! alive || [ ! -f "$d/memory/done" ]; then
                ! load_pid || kill_group 0 # half brought back
                unpack_memory
                revive "$token" "$port" "$address"
            fi
            tell
        fi
    fi
}

# One bringing to the disk for both. From here on older tokens are kept out, and what is put in place can be taken back.
mark_restored() {
    if [ "$token" -gt "$f_at" ]; then
        write_both "$d/restored.$key" "$token" "$d/fence" "$token"
    else
        write_file "$d/restored.$key" "$token"
    fi
}

load_into() {
    if alive; then
        signal_group CONT
    else
        rm -rf "$d/state"
        launch "$token" "$port" "$address"
    fi
    load_capsule
    if [ -n "$cmd_quiesce" ]; then
        hook "$cmd_quiesce" >&2 || fail quiesce "ended with status $?"
    fi
    tell
}

unpack() {
    if [ "$grows" != yes ] || [ ! -f "$d/grown.$key" ]; then # else done by an earlier try
        fresh
        marked
        [ ! -e "$d/state" ] || rm -rf "$d/state"
        mv "$d/unpack.$key/state" "$d/state" || fail host 'cannot put the state in place'
        if [ "$grows" = yes ]; then : >"$d/grown.$key"; else rm -rf "$d/unpack.$key"; fi # else with the rest, in the end
    else
        marked
    fi
    # the source gives its own away once this is committed; before that it is compared, and on the disk by then
    [ -n "${compared:-}" ] || make_durable "$d/state"
    say port "$port"
}

marked() {
    wait "$marking" || exit 9
    trap 'rm -f "$d/lock"' EXIT
}

# The state, beside its place.
fresh() {
    if [ "$grows" = yes ]; then
        grow
    else
        rm -rf "$d/unpack.$key"
        mkdir "$d/unpack.$key" || fail host "cannot make $d/unpack.$key"
        tar -C "$d/unpack.$key" -xf "$d/capsule.$key" || fail host 'tar cannot unpack the capsule'
    fi
    [ -d "$d/unpack.$key/state" ] && [ ! -L "$d/unpack.$key/state" ] || fail host 'the capsule holds no state folder'
}
