# Let the destination serve. Only called after the commit point, so it only goes forward: a process
# that died before it served is made again from the capsule.
main() {
    lock
    check_fence "$token"
    if ! alive; then
        [ -f "$d/move.$key" ] || fail host 'the destination was not prepared for this move'
        read -r port address <"$d/move.$key"
        if [ "$driver" != restart ]; then
            [ ! -f "$d/served.$key" ] || { log_tail; fail ended "the shard died after it had served: its state is lost; to serve from the state that was moved, remove $d/served.$key"; }
        fi
        case $driver in
            hook)
                rm -rf "$d/state"
                launch "$token" "$port" "$address"
                load_capsule
                ;;
            criu)
                ! load_pid || kill_group 0 # what has waited for it is stopped, and does not see that it has ended
                unpack_memory
                revive "$token" "$port" "$address"
                ;;
            *) launch "$token" "$port" "$address" ;;
        esac
    fi
    need_owner "$token"
    signal_group CONT
    [ "$driver" = restart ] || [ -f "$d/served.$key" ] || [ ! -f "$d/move.$key" ] || write_file "$d/served.$key" "$token"
    serve
    tell
}
