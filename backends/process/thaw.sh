# The source serves again, as before the move.
main() {
    lock
    take_back
    fenced
    [ "$f_at" -le "$token" ] || fail host "fenced at $f_at: the shard has a newer owner, and must not be thawed here"
    need_owner "$token"
    signal_group CONT
    serve
    rm -rf "$d/capsule.$key" "$d/capsule.new.$key" "$d/dry.$key"
}
