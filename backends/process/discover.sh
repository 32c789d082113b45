# Every shard of the fleet with a pid file here, one line each.
main() {
    for file in "$root"/*/pid; do
        [ -f "$file" ] || continue
        d=${file%/pid}
        shard=${d##*/}
        case $shard in *[!A-Za-z0-9._-]*) continue ;; esac
        if ! (load_pid) 2>/dev/null; then
            say shard "$shard damaged 0 0 0 0 -"
            continue
        fi
        if alive; then
            case $st_state in T | t) state=frozen ;; *) state=running ;; esac
        else
            load_pid
            state=dead
        fi
        say shard "$shard $state $p_pid $p_start $p_token $p_port ${p_address:--}"
    done
}
