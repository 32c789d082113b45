# Starts the awk sampler on hosts without python3. Given: fleet lease program
# It ends with standard input; and when nothing was asked of it for $lease seconds, its watcher ends it.
watch() {
    trap 'kill "$sleeping" 2>/dev/null; exit 0' TERM
    last=
    while :; do
        sleep "$lease" &
        sleeping=$!
        wait "$sleeping"
        switches=$(grep ctxt "/proc/$sampler/status") || exit 0
        if [ "$switches" = "$last" ]; then
            kill "$sampler"
            exit 0
        fi
        last=$switches
    done
}

main() {
    command -v awk >/dev/null 2>&1 || {
        echo 'E tools neither python3 nor awk on this host'
        exit 96
    }
    SIDESTEP_ROOT=${XDG_STATE_HOME:-$HOME/.local/state}/sidestep/$fleet
    export SIDESTEP_ROOT
    case $(awk -W version 2>&1 </dev/null) in
        mawk*) set -- -W interactive ;;
        *) set -- ;;
    esac
    exec 3<&0
    awk "$@" -v clk="$(getconf CLK_TCK 2>/dev/null || echo 100)" \
        -v page="$(getconf PAGESIZE 2>/dev/null || echo 4096)" \
        -v tree="${SIDESTEP_HOST_TREE:-0}" -v kernel="$(uname -r)" -v pid=$$ "$program" - <&3 &
    sampler=$!
    watch >/dev/null 2>&1 </dev/null 3<&- &
    watcher=$!
    wait "$sampler"
    status=$?
    kill "$watcher" 2>/dev/null
    exit "$status"
}

main
