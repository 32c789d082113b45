# Remove this move's scratch files.
main() {
    lock
    end_warm
    rm -rf "$d/capsule.$key" "$d/capsule.new.$key" "$d/dry.$key" "$d"/seed."$key" "$d"/*."$key".seed "$d/planted.$key" "$d/changed.$key" "$d/now.$key" "$d/grown.$key" "$d/move.$key" "$d/restored.$key" "$d/served.$key" "$d/unpack.$key"
    [ "$driver" != criu ] || rm -rf "$d/memory"
    gone_for_good
}
