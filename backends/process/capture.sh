# Write the capsule, and stop the process for good: from here on the old owner cannot serve.
main() {
    lock
    not_taken_back
    need_owner "$token"
    if [ ! -f "$d/capsule.$key" ] || ! all_stopped; then
        rm -f "$d/capsule.$key"
        if [ "$driver" = hook ]; then
            signal_group CONT
            hook "$cmd_save" >"$d/capsule.new.$key" || fail save "ended with status $?"
            halt_group
        else
            halt_group
            tar -C "$d" -cf "$d/capsule.new.$key" state || fail host 'tar cannot pack the state'
        fi
        mv -f "$d/capsule.new.$key" "$d/capsule.$key" || fail host 'cannot keep the capsule'
    fi
    say capsule "$d/capsule.$key"
    say bytes "$(size_of "$d/capsule.$key")"
    say digest "$(file_digest "$d/capsule.$key")"
    [ "$driver" = hook ] || say files "$(state_digest)"
}
