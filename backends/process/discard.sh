# Take back whatever this move made at the destination.
main() {
    lock
    take_back
    end_warm
    if load_pid && [ "$p_token" = "$token" ]; then
        kill_group 0
    fi
    if [ -f "$d/restored.$key" ]; then
        raise_fence "$token"
        alive || rm -rf "$d/state" "$d/loaded"
    fi
    rm -rf "$d/capsule.$key" "$d/dry.$key" "$d"/seed."$key" "$d"/*."$key".seed "$d/planted.$key" "$d/changed.$key" "$d/now.$key" "$d/grown.$key" "$d/move.$key" "$d/restored.$key" "$d/unpack.$key"
    [ "$driver" != criu ] || rm -rf "$d/memory"
    gone_for_good
}
