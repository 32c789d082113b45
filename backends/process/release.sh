# The old owner ends for good: killed, its state removed, older tokens kept out.
main() {
    lock
    raise_fence "$token"
    rm -rf "$d/capsule.$key" "$d/capsule.new.$key" "$d/dry.$key" "$d/seed.$key" "$d/move.$key"
    [ "$driver" != criu ] || rm -rf "$d/memory"
    if load_pid; then
        # The shard may have come back since, under a newer token: that one stays.
        [ "$p_token" -lt "$token" ] || { gone_for_good; return 0; }
        kill_group 0
        rm -rf "$d/state" "$d/frozen" "$d/loaded" "$d"/before.*
    fi
    gone_for_good
}
