# Let the destination serve. Only called after the commit point.
main() {
    lock
    check_fence "$token"
    if ! alive; then
        [ "$driver" = restart ] || { log_tail; fail host 'the restored shard is dead'; }
        [ -f "$d/move.$key" ] || fail host 'the destination was not prepared for this move'
        read -r port address <"$d/move.$key"
        launch "$token" "$port" "$address"
    fi
    need_owner "$token"
    signal_group CONT
    serve
    tell
}
