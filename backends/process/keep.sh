# Make room for a copy of a capsule: bytes, spare, seq. Says where it belongs, and what is there already.
main() {
    box=$root/.capsules/$shard
    mkdir -p "$box" || fail host "cannot make $box"
    say capsule "$box/$seq"
    if [ -f "$box/$seq" ]; then
        say digest "$(file_digest "$box/$seq")"
    fi
    free_at "$box"
    [ "$((free - spare))" -ge "$bytes" ] ||
        fail host "no room for a copy of $bytes bytes: $free are free, $spare have to stay so"
}
