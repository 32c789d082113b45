# Prove, while the shard still serves, that its state can be had; and measure it.
main() {
    lock
    need_owner "$token"
    clear_stale
    if [ "$driver" = hook ]; then
        hook "$cmd_save" >"$d/dry.$key" || fail save "ended with status $?"
        say bytes "$(size_of "$d/dry.$key")"
        rm -f "$d/dry.$key"
    else
        size=$(cd "$d/state" && du -sk . | cut -f 1) || fail host "cannot measure $d/state"
        size=$((size * 1024))
        if [ "$driver" = criu ]; then
            members
            size=$((size + $(memory_of)))
            free_at "$d" # an image of it, and the capsule
            [ "$free" -gt "$((size * 2))" ] || fail host "no room: $size bytes of memory and files are written twice, and $free are free"
        fi
        say bytes "$size"
    fi
}
