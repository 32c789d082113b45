# Let the destination serve. Only called after the commit point, so it only goes forward: a process
# that died before it served is made again from the capsule.
main() {
    lock
    check_fence "$token"
    if ! alive; then
        [ -f "$d/move.$key" ] || fail host 'the destination was not prepared for this move'
        read -r port address <"$d/move.$key"
        if [ "$driver" = hook ]; then
            [ ! -f "$d/served.$key" ] || { log_tail; fail ended "the shard died after it had served: its state is lost; to serve from the state that was moved, remove $d/served.$key"; }
            rm -rf "$d/state"
        fi
        launch "$token" "$port" "$address"
        [ "$driver" != hook ] || load_capsule
    fi
    need_owner "$token"
    signal_group CONT
    [ "$driver" = restart ] || [ -f "$d/served.$key" ] || [ ! -f "$d/move.$key" ] || write_file "$d/served.$key" "$token"
    serve
    tell
}
