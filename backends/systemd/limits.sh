# What the shard's unit may use: said, and with set=1 changed first, without restarting anything.
# Given besides: set, limit_cpu and limit_memory (0 is no limit), io_read and io_write (bytes a second at the disk of the
# shard's folder; 0 is no limit, "" leaves it as it is). Says cpu (thousandths of a core) and memory (bytes), "" without
# a limit, and read and write, - where there is nothing to limit them with.
main() {
    lock
    need_owner "$token"
    in_unit || fail host 'the shard runs in no unit here'
    load_unit
    [ "$set" != 1 ] || change
    read_limits
    say cpu "${r_cpu#-}"
    say memory "${r_memory#-}"
    say read "$r_read"
    say write "$r_write"
}

change() {
    read_limits
    case ${io_read:-0},${io_write:-0} in 0,0) ;; *) [ "$r_read" != - ] || lacking_io ;; esac # before anything is changed
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
    # systemd finds the disk of a folder; a limit of 0 goes by leaving all of that kind away
    case ${io_read-} in '') ;; 0) set -- "$@" IOReadBandwidthMax= ;; *) set -- "$@" "IOReadBandwidthMax=$d $io_read" ;; esac
    case ${io_write-} in '') ;; 0) set -- "$@" IOWriteBandwidthMax= ;; *) set -- "$@" "IOWriteBandwidthMax=$d $io_write" ;; esac
    ctl set-property --runtime "$u_name" "$@" >&2 || fail host "systemctl set-property ended with status $?"
    tries=0
    until
        read_limits
        { cpu_as_wanted && memory_as_wanted && io_as_wanted; } || [ "$r_cpu$r_memory" != "${r_cpu#-}${r_memory#-}" ] || [ "$tries" -ge 30 ]
    do
        nap 0.1 # systemd tells the kernel after it has answered
        tries=$((tries + 1))
    done
    cpu_as_wanted || lacking cpu "$r_cpu" "$limit_cpu"
    memory_as_wanted || lacking memory "$r_memory" "$limit_memory"
    io_as_wanted || [ -n "$r_io" ] || lacking io - 0
    io_as_wanted ||
        fail host "systemd took the new limits, but at disk $r_disk the kernel has reads ${r_read:-without limit} and writes ${r_write:-without limit} instead of ${io_read:-as before} and ${io_write:-as before}"
}

cpu_as_wanted() { [ "${r_cpu#-}" = "${limit_cpu#0}" ]; }

memory_as_wanted() { [ "${r_memory#-}" = "${limit_memory#0}" ] || about_as_much; }

io_as_wanted() {
    { [ -z "${io_read-}" ] || [ "${r_read#-}" = "${io_read#0}" ]; } &&
        { [ -z "${io_write-}" ] || [ "${r_write#-}" = "${io_write#0}" ]; }
}

lacking_io() {
    if [ -n "$r_able" ]; then
        kind=$(stat -f -c %T "$d/." 2>/dev/null) || kind=unknown
        fail host "reads and writes cannot be limited: $d is on no disk that the kernel could limit them at, but on a file system of type $kind, as in a container"
    fi
    lacking io - 0
}

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
    r_cpu=- r_memory=- r_read=- r_write=- r_held=0 r_io='' r_able='' c_memory='' c_last=${u_group##*/}
    while IFS=: read -r _ c_names c_path; do
        case ,$c_names, in *,blkio,*) [ ! -d "$u_base/$c_names" ] || r_able=blkio ;; esac
        [ "${c_path##*/}" = "$c_last" ] || continue
        case ,$c_names, in
            *,cpu,*)
                read_quota "$u_base/$c_names$c_path/cpu.cfs_quota_us" "$u_base/$c_names$c_path/cpu.cfs_period_us" ;;
            *,memory,*) c_memory=$u_base/$c_names$c_path ;;
            *,blkio,*) [ ! -f "$u_base/$c_names$c_path/blkio.throttle.read_bps_device" ] || r_io=$u_base/$c_names$c_path ;;
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
    [ ! -f "$u_dir/io.max" ] || r_io=$u_dir
    read -r c_all <"$u_tree/cgroup.controllers" || c_all=''
    case " $c_all " in *' io '*) r_able=io ;; esac
    find_disk
    # a unit is in a group of that controller only once it has such a limit
    [ -z "$r_able" ] || [ -z "$r_disk" ] || { r_read='' r_write=''; }
    [ -z "$r_io" ] || [ -z "$r_disk" ] || read_io
}

# r_disk: the disk under the shard's folder, as systemd would choose it: the whole of it, also for a partition, and
# what a mapped one lies on if that is a single other. None for folders that are in memory, on the network, or laid
# over others.
find_disk() {
    r_disk=''
    d_number=$(stat -c %d "$d/." 2>/dev/null) || return 0
    d_major=$(((d_number >> 8) & 4095)) d_minor=$(((d_number & 255) | ((d_number >> 12) & 1048320)))
    d_at=/sys/dev/block/$d_major:$d_minor
    [ "$d_major" -ne 0 ] && [ -e "$d_at" ] || return 0
    while :; do
        set -- "$d_at"/slaves/*
        [ $# -eq 1 ] && [ -e "$1/dev" ] || break
        d_at=$1
    done
    [ ! -f "$d_at/partition" ] || d_at=$d_at/..
    read -r r_disk <"$d_at/dev" || r_disk=''
}

read_io() {
    if [ -f "$r_io/io.max" ]; then
        while read -r d_disk d_limits; do
            [ "$d_disk" = "$r_disk" ] || continue
            for d_limit in $d_limits; do
                case $d_limit in
                    *=max) ;;
                    rbps=*) r_read=${d_limit#*=} ;;
                    wbps=*) r_write=${d_limit#*=} ;;
                esac
            done
        done <"$r_io/io.max"
    else
        while read -r d_disk d_limit; do [ "$d_disk" != "$r_disk" ] || r_read=$d_limit; done <"$r_io/blkio.throttle.read_bps_device"
        while read -r d_disk d_limit; do [ "$d_disk" != "$r_disk" ] || r_write=$d_limit; done <"$r_io/blkio.throttle.write_bps_device"
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
