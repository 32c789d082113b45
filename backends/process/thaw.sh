# The source serves again, as before the move. A process that died meanwhile is made again: from the capsule, if this
# move had written it whole ($digest), for nothing was counted since; else from its own files, as at any start.
main() {
    lock
    take_back
    fenced
    [ "$f_at" -le "$token" ] || fail host "fenced at $f_at: the shard has a newer owner, and must not be thawed here"
    alive || come_back
    need_owner "$token"
    rm -rf "$d/frozen" "$d/capsule.$key" "$d/capsule.new.$key" "$d/dry.$key" "$d/seed.$key" "$d/memory" # of no use once it serves
    signal_group CONT
    serve
    rm -f "$d/back.$key"
    gone_for_good
}

# Port and address outlive a start that fails: launch forgets the pid file.
come_back() {
    if load_pid; then
        [ "$p_token" = "$token" ] || fail host "the shard here has token $p_token, not $token"
        write_file "$d/back.$key" "$p_port $p_address"
        kill_group 0
    fi
    [ -f "$d/back.$key" ] || fail host "the shard is not on this host: no $d/pid"
    read -r port address <"$d/back.$key"
    if [ "$driver" = criu ] && whole; then
        unpack_memory memory
        revive "$token" "$port" "$address"
        return
    fi
    launch "$token" "$port" "$address"
    [ "$driver" != hook ] || ! whole || load_capsule
}

whole() { [ -n "$digest" ] && [ -f "$d/capsule.$key" ] && [ "$(file_digest "$d/capsule.$key")" = "$digest" ]; }
