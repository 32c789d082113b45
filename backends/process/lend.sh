# Put the copy that is here at $target, if it is the one of that digest.
main() {
    file=$root/.capsules/$shard/$seq
    [ -f "$file" ] || fail host "there is no copy $seq here"
    part=$target.part.$$
    trap 'rm -f "$part"' EXIT
    cp "$file" "$part" && chmod 600 "$part" || fail host "cannot write $part"
    [ "$(file_digest "$part")" = "$digest" ] || fail host "the copy $seq here has another digest"
    sync "$part" 2>/dev/null || sync
    mv -f "$part" "$target" || fail host "cannot write $target"
}
