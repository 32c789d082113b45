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
    write_file "$d/restored.$key" "$token"
    if [ "$driver" = hook ]; then load_into; else unpack; fi
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
    ! alive || fail host "the shard already runs here (pid $p_pid)"
    raise_fence "$token"
    rm -rf "$d/unpack.$key"
    mkdir "$d/unpack.$key" || fail host "cannot make $d/unpack.$key"
    tar -C "$d/unpack.$key" -xf "$d/capsule.$key" || fail host 'tar cannot unpack the capsule'
    [ -d "$d/unpack.$key/state" ] && [ ! -L "$d/unpack.$key/state" ] || fail host 'the capsule holds no state folder'
    rm -rf "$d/state"
    mv "$d/unpack.$key/state" "$d/state" || fail host 'cannot put the state in place'
    rm -rf "$d/unpack.$key"
    say port "$port"
}
