# Take back whatever this move made at the destination.
main() {
    lock
    take_back
    if load_pid && [ "$p_token" = "$token" ]; then
        kill_group 0
    fi
    if [ -f "$d/restored.$key" ]; then
        raise_fence "$token"
        alive || rm -rf "$d/state"
    fi
    rm -rf "$d/capsule.$key" "$d/dry.$key" "$d/move.$key" "$d/restored.$key" "$d/unpack.$key"
}
