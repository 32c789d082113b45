# The restored state is the captured one, bit for bit. A hook shard is then stopped until resume.
main() {
    lock
    if [ "$driver" = restart ]; then
        if [ -f "$d/grown.$key" ]; then found=$(grown_digest); else found=$(state_digest); fi
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
