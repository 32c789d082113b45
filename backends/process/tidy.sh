# Remove this move's scratch files.
main() {
    lock
    rm -rf "$d/capsule.$key" "$d/capsule.new.$key" "$d/dry.$key" "$d/move.$key" "$d/restored.$key" "$d/served.$key" "$d/unpack.$key"
}
