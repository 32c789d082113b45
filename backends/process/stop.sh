# Stop the shard if it holds $token or an older one, and keep older ones from starting here.
main() {
    lock
    if load_pid; then
        [ "$p_token" -le "$token" ] || fail host "the shard here has the newer token $p_token"
    fi
    raise_fence "$token"
    [ "$bar" != 1 ] || [ ! -f "$d/leased" ] || bar_orders
    end_warm
    load_pid && kill_group 50
    return 0
}

# Orders to start it that were given before now carry no later uptime than the lease does that they counted on.
bar_orders() {
    read_lease
    [ -z "$l_boot" ] || write_quick "$d/barred" "$l_boot $l_until" || fail host "cannot write $d/barred"
}
