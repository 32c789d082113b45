# Driver criu: processes move with their memory. Sent only for shards of that driver, with the operations that need it.
# Given besides, at a destination: wanted, what the shard needs there (criu_wants).

# cannot CODE TEXT: why the host cannot do it, by the name that docs/reasons.md has.
cannot() { fail criu "$1: $2"; }

# The first complaint in a log, without the limit that criu always tries to raise.
complaint() {
    c_line=$(grep Error "$1" 2>/dev/null | grep -v RLIMIT_NOFILE | head -n 1)
    printf '%s\n' "${c_line#*"): "}"
}

# 4.2.1 is 4002, and 6.18.44-amd64 is 6018.
number_of() {
    n_minor=${1#*.}
    n_minor=${n_minor%%[!0-9]*}
    case ${1%%.*} in '' | *[!0-9]*) echo 0 ;; *) echo $((${1%%.*} * 1000 + ${n_minor:-0})) ;; esac
}

# c_tool: the program, also where the login's PATH leaves administrators' folders out.
find_criu() {
    for c_tool in "$(command -v criu 2>/dev/null)" /usr/local/sbin/criu /usr/sbin/criu; do
        [ ! -x "$c_tool" ] || return 0
    done
    return 1
}

# Whether images can be made and brought back here; else a_code and a_text say why not. c_sockets: also of processes with
# network sockets.
criu_able() {
    a_code='' c_name='' c_kernel=$(uname -r) c_sockets=yes
    find_criu || { a_code=CRIU_MISSING a_text='there is no criu here'; return 1; }
    c_name=$("$c_tool" --version 2>/dev/null </dev/null | sed -n 's/^Version: *//p' | head -n 1)
    [ "$(id -u)" -eq 0 ] || { a_code=CRIU_PRIVILEGE a_text="$(id -un) is not root"; return 1; }
    command -v unshare >/dev/null 2>&1 && command -v setsid >/dev/null 2>&1 ||
        { a_code=CRIU_TOOLS a_text='no unshare or no setsid here'; return 1; }
    try_criu || return 1
    [ "$(number_of "$c_kernel")" -lt 6016 ] || [ "$(number_of "$c_name")" -ge 4002 ] || c_sockets=no
}

# Make an image of a process that sleeps, and bring it back: what criu check says is neither enough nor needed.
try_criu() {
    y_box=$(mktemp -d) || fail host 'cannot make a folder for temporary files'
    # shellcheck disable=SC2016 # expanded by the new shell
    setsid unshare --pid /bin/sh -c 'setsid sleep 60 & echo "$!" >"$0/pid"; wait "$!"' "$y_box" </dev/null >/dev/null 2>&1 &
    y_outside=$! n=0 y_pid=0
    until { read -r y_pid <"$y_box/pid" && grep -qx sleep "/proc/$y_pid/comm"; } 2>/dev/null || [ "$n" -ge 200 ]; do
        stat_of "$y_outside" && [ "$st_state" != Z ] || break
        n=$((n + 1))
        nap 0.01
    done
    a_code=''
    if [ ! -s "$y_box/pid" ]; then
        a_code=CRIU_PRIVILEGE a_text='root may make no process namespace here'
    elif ! for_trial dump --tree "$y_pid" || ! for_trial restore --restore-detached --pidfile "$y_box/back"; then
        a_text=$(cat "$y_box"/*.log 2>/dev/null | complaint /dev/stdin)
        case $a_text in
            *' not permitted'*) a_code=CRIU_PRIVILEGE a_text="criu may not do its work here: $a_text" ;;
            *) a_code=CRIU_KERNEL a_text="criu $c_name does not work with kernel $c_kernel: $a_text" ;;
        esac
    fi
    y_back=$(cat "$y_box/back" 2>/dev/null)
    for y_end in "$y_pid" "$y_back"; do
        [ "${y_end:-0}" -le 1 ] || ! grep -qx sleep "/proc/$y_end/comm" 2>/dev/null || kill -s KILL "$y_end" 2>/dev/null
    done
    rm -rf "$y_box"
    [ -z "$a_code" ]
}

for_trial() {
    "$c_tool" "$@" --images-dir "$y_box" --work-dir "$y_box" --log-file "$1.log" --manage-cgroups=ignore </dev/null >"$y_box/said.log" 2>&1
}

need_criu() { criu_able || cannot "$a_code" "$a_text"; }

no_sockets() {
    cannot CRIU_SOCKETS "criu $c_name cannot handle network sockets on kernel $c_kernel, and the shard has some"
}

# Its numbers are its own, so that they are free everywhere, and nothing else is.
need_namespaces() {
    grep -qE '^NSpid:([[:space:]]+[0-9]+)+[[:space:]]+1$' "/proc/$p_pid/status" ||
        cannot CRIU_NAMESPACE 'it was not started with driver criu, and so has process numbers that may be taken elsewhere'
    for kind in mnt net ipc uts user; do
        [ "$(readlink "/proc/$p_pid/ns/$kind")" = "$(readlink "/proc/self/ns/$kind")" ] ||
            cannot CRIU_NAMESPACE "it is in a $kind namespace of its own"
    done
}

# At the source, while it serves: what another host has to have so that the process can go on there, one line each.
criu_wants() {
    need_criu
    need_namespaces
    members
    list_sockets
    [ -z "$k_any" ] || [ "$c_sockets" = yes ] || no_sockets
    [ -z "$k_any" ] || say want "sockets yes"
    for address in $k_addresses; do say want "address $address"; done
    say want "folder $d"
    say want "criu $(number_of "$c_name") $c_name"
    say want "kernel $(number_of "$c_kernel") $c_kernel"
    say want "cpu $(uname -m) $(features)"
    list_files | while IFS= read -r file; do say want "file $(file_digest "$file") $file"; done
}

features() { sed -n 's/^\(flags\|Features\)[[:space:]]*: *//p' /proc/cpuinfo | head -n 1; }

# What its processes have mapped or opened that does not go along: programs, libraries, files elsewhere.
list_files() {
    for m in $m_all; do
        sed -n 's/^[^/]* \//\//p' "/proc/$m/maps"
        for file in /proc/"$m"/fd/*; do readlink "$file" || :; done
    done 2>/dev/null | LC_ALL=C sort -u | while IFS= read -r file; do
        case $file in "$d"/* | /dev/* | /memfd:*) ;; /*) [ ! -f "$file" ] || printf '%s\n' "$file" ;; esac
    done
}

# k_any: whether it has network sockets; k_addresses: what these are bound to that only this host may have.
list_sockets() {
    k_inodes=' '
    for m in $m_all; do
        for file in /proc/"$m"/fd/*; do
            file=$(readlink "$file" 2>/dev/null) || continue
            case $file in 'socket:['*) file=${file#socket:\[} && k_inodes="$k_inodes${file%\]} " ;; esac
        done
    done
    k_any='' k_addresses=''
    for table in tcp tcp6 udp udp6; do
        while read -r _ local remote state _ _ _ _ _ inode _; do
            case $k_inodes in *" $inode "*) ;; *) continue ;; esac
            k_any=yes
            # connections are closed by the move, and have their own ends
            [ "$state" = 0A ] || [ "${remote##*:}" = 0000 ] || continue
            case ${local%:*} in
                ????????) address=$(dotted "${local%:*}") ;;
                00000000000000000000000000000000 | 00000000000000000000000001000000) continue ;;
                0000000000000000FFFF0000*) address=${local%:*} && address=$(dotted "${address#????????????????????????}") ;;
                *) address=of-IPv6 ;;
            esac
            case $address in 0.0.0.0 | 127.*) ;; *) k_addresses="$k_addresses $address" ;; esac
        done <"/proc/$p_pid/net/$table"
    done 2>/dev/null
    return 0
}

# An address as this machine's own tables write it: in the order of its bytes in memory.
dotted() {
    o_rest=$1 o_all=''
    while [ -n "$o_rest" ]; do
        o_next=${o_rest#??}
        o_all="$o_all $((0x${o_rest%"$o_next"}))"
        o_rest=$o_next
    done
    # shellcheck disable=SC2086 # four numbers
    set -- $o_all
    printf '%s.%s.%s.%s\n' "$4" "$3" "$2" "$1"
}

# At the destination: whether all of that is so here.
criu_fits() {
    need_criu
    printf '%s\n' "$wanted" | while IFS= read -r want; do
        what=${want%% *} value=${want#* }
        case $what in
            folder) [ "$value" = "$d" ] || cannot CRIU_PATH "its folder is $d here, and $value there" ;;
            sockets) [ "$c_sockets" = yes ] || no_sockets ;;
            address) is_local "$value" || cannot CRIU_ADDRESS "it listens at address $value, which is not here" ;;
            criu)
                [ "$(number_of "$c_name")" -ge "${value%% *}" ] ||
                    cannot CRIU_VERSION "criu is $c_name here, and ${value#* } there" ;;
            kernel)
                [ "$(number_of "$c_kernel")" -ge "${value%% *}" ] ||
                    cannot CRIU_VERSION "the kernel is $c_kernel here, and ${value#* } there" ;;
            cpu) same_processor ;;
            file)
                file=${value#* }
                [ -f "$file" ] || cannot CRIU_FILES "$file is not here"
                [ "$(file_digest "$file")" = "${value%% *}" ] || cannot CRIU_FILES "$file is another one here" ;;
        esac
    done || exit 9
}

is_local() { grep -A 1 -F -- "|-- $1" /proc/net/fib_trie 2>/dev/null | grep -q 'host LOCAL'; }

same_processor() {
    [ "${value%% *}" = "$(uname -m)" ] || cannot CRIU_CPU "processors are $(uname -m) here, and ${value%% *} there"
    here=" $(features) " lacks=''
    for feature in ${value#* }; do
        case $here in *" $feature "*) ;; *) lacks="$lacks $feature" ;; esac
    done
    [ -z "$lacks" ] || cannot CRIU_CPU "processors here lack$lacks"
}

# Bytes that an image takes: what no file has.
memory_of() {
    v_all=0
    for m in $m_all; do
        while read -r key value _; do
            case $key in RssAnon: | RssShmem:) v_all=$((v_all + value)) ;; esac
        done <"/proc/$m/status"
    done 2>/dev/null
    echo $((v_all * 1024))
}

# Write the memory of the shard to $d/memory; it is stopped then. Signals to stop that are still on their way would keep
# criu from its work: it stops every process itself, before it looks at any.
criu_dump() {
    find_criu || cannot CRIU_MISSING 'there is no criu here'
    need_namespaces
    rm -rf "$d/memory"
    mkdir "$d/memory" || fail host "cannot make $d/memory"
    signal_group CONT
    "$c_tool" dump --tree "$p_pid" --images-dir "$d/memory" --work-dir "$d/memory" --log-file dump.log \
        --leave-stopped --tcp-close --file-locks --manage-cgroups=ignore </dev/null >/dev/null 2>&1 || {
        signal_group STOP
        cannot CRIU_REFUSED "no image can be made: $(complaint "$d/memory/dump.log")"
    }
    halt_group
    rm -f "$d/memory"/*.log "$d/memory"/stats-*
}

# revive TOKEN PORT ADDRESS: bring the process back from $d/memory; it is stopped then.
# As at a start nothing runs unrecorded, or once the lease has run out: criu asks the script before it lets anything go.
revive() {
    find_criu || cannot CRIU_MISSING 'there is no criu here'
    rm -f "$d/memory/done"
    define_record
    # shellcheck disable=SC2016 # expanded by criu's shell
    printf '%s\n' '#!/bin/sh
case $CRTOOLS_SCRIPT_ACTION in
    post-resume) : >"$IMAGES/done"; exit ;;
    post-restore) ;;
    *) exit 0 ;;
esac
me=$CRTOOLS_INIT_PID
read -r line <"/proc/$me/stat" || exit 9
set -f; set -- ${line##*") "}; set +f
shift 19'"$record" >"$d/memory/record" && chmod 700 "$d/memory/record" || fail host "cannot write $d/memory/record"
    printf '%s\n' "$c_tool" >"$d/memory/tool"
    reviving=yes tries_to_start=1200 begins=$d/memory
    launch "$@"
    reviving='' begins=''
    n=0
    until [ -f "$d/memory/done" ]; do
        alive || not_revived
        [ "$n" -lt 1200 ] || cannot CRIU_REFUSED 'was not brought back within 60 s'
        n=$((n + 1))
        if [ "$n" -lt 50 ]; then nap 0.01; else nap 0.05; fi
    done
    halt_group
}

not_revived() { cannot CRIU_REFUSED "it cannot be brought back: $(complaint "$d/memory/restore.log")"; }

# What criu is run by: it stays, and ends with what it has brought back.
define_reviver() {
    # shellcheck disable=SC2016 # expanded by the new shell
    leader='
start=$1 file=$2 until=$3 by=$4 unit=${5:-} log=${2%/pid}/log
export IMAGES="$start" file until by unit
read -r tool <"$start/tool" || exit 9
exec "$tool" restore --images-dir "$start" --work-dir "$start" --log-file restore.log --leave-stopped --tcp-close \
    --file-locks --manage-cgroups=ignore --inherit-fd "fd[1]:${log#/}" --action-script "$start/record"'
}

# $d/memory and $d/state from the capsule; with "memory" only that.
unpack_memory() {
    rm -rf "$d/unpack.$key" "$d/memory"
    mkdir "$d/unpack.$key" || fail host "cannot make $d/unpack.$key"
    tar -C "$d/unpack.$key" -xf "$d/capsule.$key" || fail host 'tar cannot unpack the capsule'
    for c_part in memory state; do
        [ -d "$d/unpack.$key/$c_part" ] && [ ! -L "$d/unpack.$key/$c_part" ] || fail host "the capsule holds no $c_part folder"
    done
    mv "$d/unpack.$key/memory" "$d/memory" || fail host 'cannot put the memory in place'
    if [ "${1:-}" != memory ]; then
        rm -rf "$d/state"
        mv "$d/unpack.$key/state" "$d/state" || fail host 'cannot put the state in place'
    fi
    rm -rf "$d/unpack.$key"
}
