# Every shard of the fleet with a pid file here, one line each.
main() {
    for file in "$root"/*/pid; do
        [ -f "$file" ] || continue
        d=${file%/pid}
        shard=${d##*/}
        case $shard in *[!A-Za-z0-9._-]*) continue ;; esac
        if in_unit; then [ "${units:-0}" = 1 ] || continue; else [ "${units:-0}" = 0 ] || continue; fi
        if ! (load_pid) 2>/dev/null; then
            say shard "$shard damaged 0 0 0 0 -"
            continue
        fi
        if [ ! -f "$d/loading" ] && alive; then
            if stopped; then state=frozen; else state=running; fi
        else
            load_pid
            state=dead
        fi
        say shard "$shard $state $p_pid $p_start $p_token $p_port ${p_address:--}"
    done
}
