# Unpack at the destination what was packed while the source served.
main() {
    lock
    not_taken_back
    check_fence "$token"
    [ -f "$d/move.$key" ] || fail host 'the destination was not prepared for this move'
    can_seed || { rm -f "$d/capsule.$key.seed"; return 0; }
    [ "$(file_digest "$d/capsule.$key.seed")" = "$digest" ] || fail host 'the seed here is not the one that was packed'
    plant
    say planted yes
}
