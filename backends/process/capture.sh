# Write the capsule, and stop the process for good: from here on the old owner cannot serve.
main() {
    lock
    not_taken_back
    need_owner "$token"
    if [ ! -f "$d/capsule.$key" ] || ! all_stopped; then
        [ ! -e "$d/capsule.$key" ] || rm -f "$d/capsule.$key"
        if [ "$driver" = hook ]; then
            signal_group CONT
            hook "$cmd_save" >"$d/capsule.new.$key" || fail save "ended with status $?"
            halt_group
        else
            halt_group
            if [ "$driver" = criu ]; then
                criu_dump
                ( state_digest >"$d/dry.$key" ) &
                digesting=$!
                tar -C "$d" -cf "$d/capsule.new.$key" memory/. state/. || fail host 'tar cannot pack memory and state'
                rm -rf "$d/memory"
            elif [ "$seeded" = yes ] && changed_since_seed && pack_changes "$d/capsule.new.$key"; then
                printf 'yes\n' >"$box/used"
            else
                rm -rf "$d/seed.$key"
                # beside the packing, on a core of its own: users wait
                ( state_digest >"$d/dry.$key" ) &
                digesting=$!
                tar -C "$d" -cf "$d/capsule.new.$key" state/. || fail host 'tar cannot pack the state'
            fi
        fi
        mv -f "$d/capsule.new.$key" "$d/capsule.$key" || fail host 'cannot keep the capsule'
    fi
    c_size=$(size_of "$d/capsule.$key") || fail host 'cannot keep the capsule'
    say capsule "$d/capsule.$key"
    say bytes "$c_size"
    say digest "$(file_digest "$d/capsule.$key")"
    if [ -f "$d/seed.$key/used" ]; then
        read -r dry <"$d/dry.$key" || fail host "cannot read $d/dry.$key"
        say files "$dry"
        say grows yes
    elif [ -n "${digesting:-}" ]; then
        wait "$digesting" || exit 9
        say files "$(cat "$d/dry.$key")"
        rm -f "$d/dry.$key"
    elif [ "$driver" != hook ]; then
        say files "$(state_digest)"
    fi
}
