# The guard of one fleet on this host: kills what is leased once the lease has run out. Started by lease.sh, in a
# session of its own, so that it outlives the connection; it ends when nothing that is leased runs any more.
main() {
    trap '' HUP INT
    { echo -900 >"/proc/$$/oom_score_adj"; } 2>/dev/null
    stat_of $$
    write_quick "$lease/guard" "$$ $st_start"
    while :; do
        if lease_in_force; then
            nap 1
        elif end_leased && may_end; then
            return 0
        else
            nap 0.2
        fi
    done
}

# Kill every leased shard here; false while something of one is left, or is just being started.
end_leased() {
    left=0
    for file in "$root"/*/leased; do
        [ -f "$file" ] || continue
        (d=${file%/leased}; end_one) 2>/dev/null
        [ "$?" -ne 1 ] || left=1
    done
    [ "$left" = 0 ]
}

# False if something of the shard may still live. A damaged pid file names nobody: people have to look.
end_one() {
    members
    [ -n "$m_all" ] || return 0
    signal_group KILL
    write_quick "$d/expired" "$p_token $u_up"
    n=0
    while [ "$n" -lt 5 ]; do
        nap 0.1
        members
        [ -n "$m_all" ] || return 0
        signal_group KILL
        n=$((n + 1))
    done
    return 1
}

# Whether no renewal has come meanwhile: whoever renews next finds no guard, and starts one.
may_end() (
    [ -d "$lease" ] || return 0 # somebody took away all that the fleet has here
    d=$lease
    lock
    ! lease_in_force && rm -f "$lease/guard"
)
