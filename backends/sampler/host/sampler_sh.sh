# The sampler for hosts with nothing but a POSIX shell: a record for every line "n" that it reads. Protocol 2.
# Only builtins, so that a sample starts no process. Given: what is in common.sh
# Unknown here: what a shell must read every byte of several files for (interrupts' pressure, stacked disks' parts).
us=$((1000000 / clk))
seq=0 known=/ disks='' cards='' boot_time=

# The whole disks, and the cards: looked for once.
survey() {
    for folder in /sys/block/*; do
        case ${folder##*/} in
            loop* | ram* | zram* | dm-* | md* | sr* | fd* | nbd* | '*') ;;
            *) disks="$disks $folder/stat" ;;
        esac
    done
    others=
    for folder in /sys/class/net/*; do
        case ${folder##*/} in lo | '*') continue ;; esac
        if [ -e "$folder/device" ]; then cards="$cards ${folder##*/}"; else others="$others ${folder##*/}"; fi
    done
    [ -n "$cards" ] || cards=$others
    boot_time=$(booted)
}

processors() {
    running=- blocked=- load=- p=
    while read -r name a b c d e f g h _; do
        case $name in
            cpu) p="$((a * us)) $((b * us)) $((c * us)) $((d * us)) $((${e:-0} * us)) $((${f:-0} * us))"
                p="$p $((${g:-0} * us)) $((${h:-0} * us))" ;;
            procs_running) running=$a ;;
            procs_blocked) blocked=$a; break ;;
        esac
    done </proc/stat
    read -r load _ </proc/loadavg
    out="${p:-- - - - - - - -} $load $running $blocked"
}

stalls() {
    some=- full=-
    if [ -e "/proc/pressure/$1" ]; then
        while read -r name _ _ _ value; do
            case $name in some) some=${value#total=} ;; full) full=${value#total=} ;; esac
        done <"/proc/pressure/$1"
    fi 2>/dev/null
}

sizes() {
    total=0 available=-1 free=0 buffers=0 cached=0 swap=0 swap_free=0 dirty=0 back=0 shared=0 slab=0
    while read -r name value _; do
        case $name in
            MemTotal:) total=$value ;;
            MemFree:) free=$value ;;
            MemAvailable:) available=$value ;;
            Buffers:) buffers=$value ;;
            Cached:) cached=$value ;;
            SwapTotal:) swap=$value ;;
            SwapFree:) swap_free=$value ;;
            Dirty:) dirty=$value ;;
            Writeback:) back=$value ;;
            Shmem:) shared=$value ;;
            SReclaimable:) slab=$value; break ;;
        esac
    done </proc/meminfo
    [ "$available" -ge 0 ] || available=$((free + buffers + cached))
    cached=$((cached + buffers + slab - shared))
    [ "$cached" -ge 0 ] || cached=0
    out="$out $((total * 1024)) $(((total - available) * 1024)) $((cached * 1024)) $(((dirty + back) * 1024))"
    out="$out $((swap * 1024)) $(((swap - swap_free) * 1024))"
}

io() {
    reads=0 read_sectors=0 writes=0 write_sectors=0 busy=0
    for disk in $disks; do
        { read -r a _ b _ c _ d _ _ e _ <"$disk"; } 2>/dev/null || continue
        reads=$((reads + a)) read_sectors=$((read_sectors + b)) writes=$((writes + c))
        write_sectors=$((write_sectors + d)) busy=$((busy + e))
    done
    out="$out $reads $((read_sectors * 512)) $writes $((write_sectors * 512)) $((busy * 1000))"
}

traffic() {
    s1=0 s2=0 s3=0 s4=0 s5=0 s6=0
    while read -r name a b _ c _ _ _ _ d e _ f _; do
        # Where numbers are wide, the first one follows its name without a space.
        case $name in *:) ;; *:*) continue ;; *) continue ;; esac
        case " $cards " in *" ${name%:} "*) ;; *) continue ;; esac
        s1=$((s1 + a)) s2=$((s2 + b)) s3=$((s3 + c)) s4=$((s4 + d)) s5=$((s5 + e)) s6=$((s6 + f))
    done </proc/net/dev
    out="$out $s1 $s2 $s3 $s4 $s5 $s6"
}

machine() {
    processors
    for kind in cpu memory io; do
        stalls "$kind"
        out="$out $some $full"
    done
    stalls irq
    out="$out $full"
    sizes
    io
    traffic
}

# The facts about process $1; false if there is none.
look() {
    { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
    # shellcheck disable=SC2086 # the fields after the name
    set -- ${line##*") "}
    state=$1
    own=$(((${12} + ${13}) * us)) ended=$(((${14} + ${15}) * us)) start=${20} resident=$((${22} * page))
}

# Adds process $1 and all below it, but only what is below when $2 is not empty.
gather() {
    look "$1" || return 0
    cpu=$((cpu + ended))
    if [ -z "$2" ]; then
        precise=0
        { read -r precise _ <"/proc/$1/schedstat"; } 2>/dev/null
        precise=$((precise / 1000))
        [ "$precise" -ge "$own" ] || precise=$own
        cpu=$((cpu + precise))
        case $state in Z | X) ;; *)
            while read -r name value _; do
                case $name in Pss:) resident=$((value * 1024)); break ;; esac
            done 2>/dev/null <"/proc/$1/smaps_rollup"
            memory=$((memory + resident)) ;;
        esac
    fi 2>/dev/null
    below=
    for task in "/proc/$1/task/"*; do
        { read -r some <"$task/children"; below="$below $some"; } 2>/dev/null
    done
    for child in $below; do gather "$child" ''; done
}

subtree() {
    cpu=0 memory=0
    gather "$tree" only
    out="$cpu 0 0 - - 0 0 0 - - - - - - - - - - - $memory - - - - - - - - - - - - - - -"
}

# One shard, by the words of its pid file.
shard() {
    pid=0 began=0 token=0
    read -r pid began token _ <"$1"
    case ${pid:-x}${began:-x}${token:-x} in *[!0-9]*) pid=0 token=0 ;; esac
    if [ "$pid" -gt 0 ] && look "$pid" && [ "$start" = "$began" ] && [ "$state" != Z ]; then
        runs=1
        case $state in T | t) runs=0 ;; esac
        cpu=0 memory=0
        gather "$pid" ''
        tail="$tail $pid $token $runs $cpu $memory - - - - -"
    else
        tail="$tail 0 $token 0 - - - - - - -"
    fi
}

sample() {
    names='' tail=''
    for file in "$root"/*/pid; do
        [ -f "$file" ] || continue
        name=${file%/pid}
        name=${name##*/}
        case $name in *[!A-Za-z0-9._-]*) continue ;; esac
        names=$names${names:+,}$name
        shard "$file"
    done
    [ "$names" = "$known" ] || echo "K 36 10 ${names:--}"
    known=$names
    read -r now _ </proc/uptime
    hundredths=${now#*.}
    now=${now%.*}$hundredths
    if [ "$tree" != 0 ]; then subtree; else machine; fi
    seq=$((seq + 1))
    wall=-
    [ "$boot_time" = 0 ] || wall=$((boot_time + now * 10))
    echo "V $seq ${now}0 $out $wall$tail"
}

serve() {
    LC_ALL=C
    greet sh
    describe
    survey
    while read -r line; do
        case $line in
            n*) sample ;;
            q*) exit 0 ;;
        esac
    done
}

main() {
    # Its watcher ends this very shell.
    watch $$ >/dev/null 2>&1 </dev/null &
    trap 'kill '$!' 2>/dev/null' EXIT
    trap 'exit 1' PIPE
    serve
    exit 0
}

main
