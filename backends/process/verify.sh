# The restored state is the captured one, bit for bit. A hook shard is then stopped until resume.
main() {
    lock
    if [ "$driver" != hook ]; then
        if [ "$driver" = criu ]; then
            need_owner "$token"
            halt_group
        fi
        # once this is committed the source gives its own away: it is on the disk by then
        if [ -f "$d/grown.$key" ]; then make_grown_durable & else make_durable "$d/state" & fi
        syncing=$!
        if [ -f "$d/grown.$key" ]; then found=$(grown_digest); else found=$(state_digest); fi
        wait "$syncing" || exit 9
        [ "$found" = "$files" ] || fail host "the files here have digest $found, captured were $files"
        return 0
    fi
    need_owner "$token"
    signal_group CONT
    hook "$cmd_save" >"$d/dry.$key" || fail save "ended with status $?"
    found=$(file_digest "$d/dry.$key")
    rm -f "$d/dry.$key"
    [ "$found" = "$digest" ] || fail save "gives digest $found here, captured was $digest"
    halt_group
}
