# Starts the sampler in awk. Given: program, and what is in common.sh
main() {
    command -v awk >/dev/null 2>&1 || exit 97
    SIDESTEP_ROOT=$root
    export SIDESTEP_ROOT
    case $(awk -W version 2>&1 </dev/null) in
        mawk*) set -- -W interactive ;;
        *) set -- ;;
    esac
    # A job in the background has no input but what it is given.
    exec 3<&0
    awk "$@" -v clk="$clk" -v page="$page" -v tree="$tree" -v greeting="$(greet awk)" -v facts="$(describe)" -v booted="$(booted)" \
        "$program" <&3 &
    sampler=$!
    watch "$sampler" >/dev/null 2>&1 </dev/null 3<&- &
    watcher=$!
    exec 3<&-
    wait "$sampler"
    status=$?
    kill "$watcher" 2>/dev/null
    exit "$status"
}

main
