# Stop the shard if it holds $token or an older one, and keep older ones from starting here.
main() {
    lock
    if load_pid; then
        [ "$p_token" -le "$token" ] || fail host "the shard here has the newer token $p_token"
    fi
    raise_fence "$token"
    load_pid && kill_group 50
    return 0
}
