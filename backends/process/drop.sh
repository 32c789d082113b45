# Remove every copy of the shard's capsules here but those of $keep (numbers), and what is half written.
main() {
    box=$root/.capsules/$shard
    [ -d "$box" ] || return 0
    for file in "$box"/*; do
        case " $keep " in *" ${file##*/} "*) ;; *) rm -f "$file" || fail host "cannot remove $file" ;; esac
    done
    rmdir "$box" 2>/dev/null || :
}
