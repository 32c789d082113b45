# The shard stays alive and ready for $seconds.
main() {
    need_owner "$token"
    until=$(($(now) + seconds))
    while :; do
        alive || { log_tail; fail host 'the shard died'; }
        case $st_state in T | t) fail host 'the shard is stopped' ;; esac
        if [ -n "$cmd_ready" ]; then
            hook "$cmd_ready" >&2 || { log_tail; fail ready "ended with status $?"; }
        fi
        [ "$(now)" -lt "$until" ] || break
        nap 0.25
    done
    tell
}
