# Start the unit of a shard ahead, at the destination: its leader waits for the word of resume before it is anything, so
# that nobody else waits for systemd. Where this cannot be done nothing is.
main() {
    lock
    not_taken_back
    check_fence "$token"
    [ "$driver" = restart ] && [ -z "${state_path:-}" ] && [ -f "$d/move.$key" ] || return 0
    command -v timeout >/dev/null 2>&1 && command -v mkfifo >/dev/null 2>&1 || return 0
    ! alive || return 0
    members
    [ -z "$m_all" ] || return 0
    ! in_unit || unit_ended
    end_warm
    read -r port address <"$d/move.$key"
    e_token=$token e_port=$port e_address=$address
    define_leader
    warm_unit
}
