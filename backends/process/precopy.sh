# Prove, while the shard still serves, that its state can be had; and measure it.
main() {
    lock
    need_owner "$token"
    if [ "$driver" = hook ]; then
        hook "$cmd_save" >"$d/dry.$key" || fail save "ended with status $?"
        say bytes "$(size_of "$d/dry.$key")"
        rm -f "$d/dry.$key"
    else
        size=$(cd "$d/state" && du -sk . | cut -f 1) || fail host "cannot measure $d/state"
        say bytes "$((size * 1024))"
    fi
}
