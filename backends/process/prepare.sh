# Make room at the destination: folders, and a port that stays reserved for this move.
main() {
    lock
    not_taken_back
    need_tools
    check_fence "$token"
    if alive && [ "$p_token" != "$token" ]; then
        fail host "the shard already runs here with token $p_token (pid $p_pid)"
    fi
    [ "$driver" != criu ] || criu_fits
    end_warm
    clear_stale
    rm -rf "$d"/before.*
    if [ ! -f "$d/move.$key" ]; then
        had=$port
        pick_port
        [ "$driver" != criu ] || [ "$had" = "$port" ] || cannot CRIU_PORT "port $had is taken here, and its process keeps its port"
        write_file "$d/move.$key" "$port $address"
    fi
    read -r port _ <"$d/move.$key"
    say port "$port"
    say capsule "$d/capsule.$key"
}

# Keep the port if it is free here, or take the first free one from 20000 on.
pick_port() {
    [ "$port" -ne 0 ] || return 0
    collect_taken
    n=0
    until is_free "$port"; do
        [ "$n" -lt 2000 ] || fail host 'no free port between 20000 and 21999'
        port=$((20000 + n))
        n=$((n + 1))
    done
}

is_free() { case $taken in *" $1 "*) return 1 ;; esac; }

# Ports that something listens on at our address, or that another shard here was promised.
collect_taken() {
    taken=' '
    little='' big=''
    case $address in
        *[!0-9.]* | '' | *.*.*.*.*) ;;
        *.*.*.*)
            # shellcheck disable=SC2046 # four numbers
            set -- $(IFS=.; set -f; printf '%s ' $address)
            big=$(printf '%02X%02X%02X%02X' "$1" "$2" "$3" "$4")
            little=$(printf '%02X%02X%02X%02X' "$4" "$3" "$2" "$1")
            ;;
    esac
    for table in /proc/net/tcp /proc/net/tcp6; do
        [ -r "$table" ] || continue
        while read -r _ local _ state _; do
            [ "$state" = 0A ] || continue
            case ${local%:*} in
                "$little" | "$big" | 00000000 | 00000000000000000000000000000000) ;;
                *) [ -z "$little" ] || continue ;;
            esac
            taken="$taken$((0x${local##*:})) "
        done <"$table"
    done
    for file in "$root"/*/pid "$root"/*/move.*; do
        [ -f "$file" ] && [ "${file%/*}" != "$d" ] || continue
        case $file in
            */pid) read -r _ _ _ theirs at <"$file" || : ;;
            *) read -r theirs at <"$file" || : ;;
        esac
        [ "$at" != "$address" ] || taken="$taken$theirs "
    done
}
