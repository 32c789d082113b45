# Start a shard that runs nowhere, and let it serve. Done twice, the second finds it running.
main() {
    lock
    check_fence "$token"
    if alive; then
        same_holder
        [ "$p_token" = "$token" ] || fail host "the shard already runs here with token $p_token"
        mind_lease
        signal_group CONT
    else
        launch "$token" "$port" "$address"
        trap 'kill_group 0; rm -f "$d/lock"' EXIT
    fi
    as_recorded
    serve
    trap 'rm -f "$d/lock"' EXIT
    raise_fence "$token"
    tell
}
