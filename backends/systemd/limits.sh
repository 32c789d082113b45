# What the shard's unit may use: said, and with set=1 changed first, without restarting anything.
# Given besides: set, limit_cpu and limit_memory (0 is no limit). Says cpu (thousandths of a core) and memory (bytes).
main() {
    lock
    need_owner "$token"
    in_unit || fail host 'the shard runs in no unit here'
    load_unit
    [ "$set" != 1 ] || change
    read_limits
    say cpu "${r_cpu#-}"
    say memory "${r_memory#-}"
}

change() {
    read_limits
    # A limit below what cannot be reclaimed is no limit, but the end of the shard.
    [ "$limit_memory" -eq 0 ] || [ "$((limit_memory / 20 * 19))" -ge "$r_held" ] ||
        fail host "the shard holds $r_held bytes of memory now, which cannot be limited to $limit_memory"
    set --
    if [ "$limit_cpu" -eq 0 ]; then set -- CPUQuota=; else set -- "CPUQuota=$(quota)"; fi
    if [ "$limit_memory" -eq 0 ]; then
        set -- "$@" MemoryMax=infinity MemoryHigh=infinity
    else
        set -- "$@" "MemoryMax=$limit_memory" "MemoryHigh=$((limit_memory / 16 * 15))"
    fi
    ctl set-property --runtime "$u_name" "$@" >&2 || fail host "systemctl set-property ended with status $?"
    tries=0
    until
        read_limits
        { cpu_as_wanted && memory_as_wanted; } || [ "$r_cpu$r_memory" != "${r_cpu#-}${r_memory#-}" ] || [ "$tries" -ge 30 ]
    do
        nap 0.1 # systemd tells the kernel after it has answered
        tries=$((tries + 1))
    done
    cpu_as_wanted || lacking cpu "$r_cpu" "$limit_cpu"
    memory_as_wanted || lacking memory "$r_memory" "$limit_memory"
}

cpu_as_wanted() { [ "${r_cpu#-}" = "${limit_cpu#0}" ]; }

memory_as_wanted() { [ "${r_memory#-}" = "${limit_memory#0}" ] || about_as_much; }

# Memory is limited in whole pages.
about_as_much() {
    [ -n "${r_memory#-}" ] && [ "$r_memory" -le "$limit_memory" ] && [ "$r_memory" -gt "$((limit_memory - 65536))" ]
}

lacking() {
    if [ "$2" != - ]; then fail host "systemd took the new limits, but the kernel has $1 $2 instead of $3"; fi
    [ "$u_manager" = system ] ||
        fail host "$1 cannot be limited: the $1 controller is not delegated to users' own managers here; connect as root"
    read -r there <"$u_tree/cgroup.controllers" || :
    fail host "$1 cannot be limited: this host's cgroup2 has no $1 controller (it has: ${there:-none})"
}

# r_cpu and r_memory: what the kernel has; "" is no limit, - that there is nothing to limit it with. r_held: bytes that
# could not be reclaimed. Controllers are v1 beside a cgroup2 (hybrid) or in the cgroup2 itself.
read_limits() {
    r_cpu=- r_memory=- r_held=0 c_memory='' c_last=${u_group##*/}
    while IFS=: read -r _ c_names c_path; do
        [ "${c_path##*/}" = "$c_last" ] || continue
        case ,$c_names, in
            *,cpu,*)
                read_quota "$u_base/$c_names$c_path/cpu.cfs_quota_us" "$u_base/$c_names$c_path/cpu.cfs_period_us" ;;
            *,memory,*) c_memory=$u_base/$c_names$c_path ;;
        esac
    done <"/proc/$p_pid/cgroup"
    if [ -f "$u_dir/cpu.max" ]; then
        read -r r_quota r_period <"$u_dir/cpu.max"
        as_cores
    fi
    if [ -n "$c_memory" ]; then
        read -r r_memory <"$c_memory/memory.limit_in_bytes"
        [ "$r_memory" -lt 4611686018427387904 ] || r_memory=''
        held "$c_memory/memory.stat" total_rss total_shmem
    elif [ -f "$u_dir/memory.max" ]; then
        read -r r_memory <"$u_dir/memory.max"
        r_memory=${r_memory#max}
        held "$u_dir/memory.stat" anon shmem
    fi
}

read_quota() {
    read -r r_quota <"$1" && read -r r_period <"$2" || return 0
    as_cores
}

as_cores() {
    case $r_quota in max | -*) r_cpu='' ;; *) r_cpu=$((r_quota * 1000 / r_period)) ;; esac
}

held() {
    while read -r h_name h_bytes; do
        case $h_name in "$2" | "$3") r_held=$((r_held + h_bytes)) ;; esac
    done <"$1"
}
