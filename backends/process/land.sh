# Take the capsule, of $bytes bytes, from standard input: in a standing shell only. Restore compares its digest.
main() {
    lock
    not_taken_back
    [ -f "$d/move.$key" ] || fail host 'the destination was not prepared for this move'
    head -c "$bytes" >"$d/capsule.$key" || fail host "cannot write $d/capsule.$key"
}
