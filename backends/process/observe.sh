# The shard stays alive and ready for $seconds.
main() {
    if load_pid && [ "$p_token" = "$token" ]; then
        alive || { log_tail; fail ended "the shard's process $p_pid is dead"; }
    fi
    need_owner "$token"
    until=$(($(now) + seconds))
    while :; do
        alive || { log_tail; fail ended 'the shard died'; }
        ! stopped || fail host 'the shard is stopped'
        if [ -n "$cmd_ready" ]; then
            hook "$cmd_ready" >&2 || { log_tail; fail ready "ended with status $?"; }
        fi
        [ "$(now)" -lt "$until" ] || break
        nap 0.25
    done
    tell
}
