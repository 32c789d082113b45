# Make the shard refuse work. A restart shard is stopped here; a hook shard after its save.
main() {
    lock
    not_taken_back
    need_owner "$token"
    printf '%s\n' "$key" >"$d/frozen" || fail host "cannot write $d/frozen" # no snapshot lets it go on
    if ! all_stopped; then
        if [ -n "$cmd_quiesce" ]; then
            hook "$cmd_quiesce" >&2 || fail quiesce "ended with status $?"
        fi
        [ "$driver" = hook ] || halt_group
    fi
    alive || fail host 'the shard died while it was being frozen'
    if all_stopped; then say how stopped; else say how "${cmd_quiesce:+quiesced}"; fi
}
