# Keeps the lease of this host: reads one line for each renewal, and answers each with one.
#   SEQ BOOT UNTIL +SHARD -SHARD ...    lease what is named with +, no longer what is named with -, and let the lease
#                                       of this boot last until that uptime (whole seconds; 0 asks only)
#   ack SEQ BOOT UPTIME UNTIL GUARD SHARD:TOKEN:STATE ...    what is so now; GUARD is a pid, 0 without one; every
#                                       leased shard, with the token and state (running, dead, none, damaged) of its process
main() {
    d=$lease
    mkdir -p "$lease" || fail host "cannot make $lease"
    echo hello
    while read -r seq for_boot until rest; do
        case ${seq:-x}${until:-x} in *[!0-9]*) fail host 'a renewal that makes no sense' ;; esac
        # shellcheck disable=SC2086 # names of shards, which hold no blank
        mark $rest
        read_clock || fail host 'no /proc/uptime and boot_id here to keep a lease by'
        if [ "$until" -gt 0 ] && [ "$for_boot" = "$u_boot" ]; then renew; fi
        answer
    done
}

mark() {
    for word; do
        name=${word#?}
        case $name in '' | .* | *[!A-Za-z0-9._-]*) fail host 'a name that makes no sense' ;; esac
        case $word in
            +*) [ -f "$root/$name/leased" ] || { mkdir -p "$root/$name" && write_quick "$root/$name/leased" leased; } ;;
            -*) rm -f "$root/$name/leased" ;;
        esac
    done
}

# The lease only ever grows within one boot: renewals may arrive in any order.
renew() {
    lock
    read_lease
    if [ "$l_boot" != "$for_boot" ] || [ "$l_until" -lt "$until" ]; then
        write_quick "$lease/until" "$for_boot $until"
    fi
    guard_lives || start_guard
    rm -f "$lease/lock"
    trap - EXIT
}

start_guard() {
    rm -f "$lease/guard"
    command -v setsid >/dev/null 2>&1 || command -v python3 >/dev/null 2>&1 || set -m 2>/dev/null
    (
        cd / || exit 9
        printf '%s\n' "$guard_program" | own_session /bin/sh -s sidestep-guard "$fleet" &
    ) >/dev/null 2>&1
    n=0
    until guard_lives; do
        [ "$n" -lt 100 ] || fail host 'the guard does not start'
        n=$((n + 1))
        nap 0.05
    done
}

own_session() {
    if command -v setsid >/dev/null 2>&1; then
        exec setsid "$@"
    elif command -v python3 >/dev/null 2>&1; then
        exec python3 -c 'import os, sys; os.setsid(); os.execv(sys.argv[1], sys.argv[1:])' "$@"
    fi
    exec "$@"
}

answer() {
    read_lease
    [ "$l_boot" = "$u_boot" ] || l_until=0
    guard_lives || g_pid=0
    told=''
    for file in "$root"/*/leased; do
        [ -f "$file" ] || continue
        d=${file%/leased} how=dead
        read_pid
        case $? in
            0) ! alive || how=running ;;
            1) how=none ;;
            *) how=damaged p_token=0 ;;
        esac
        told="$told ${d##*/}:$p_token:$how"
    done
    d=$lease
    printf 'ack %s %s %s %s %s%s\n' "$seq" "$u_boot" "$u_up" "$l_until" "$g_pid" "$told"
}
