# Sent before the samplers in awk and sh. Given: fleet lease
# They end with standard input; and when nothing was asked of them for $lease seconds, their watcher ends them.
root=${XDG_STATE_HOME:-$HOME/.local/state}/sidestep/$fleet
tree=${SIDESTEP_HOST_TREE:-0}
clk=$(getconf CLK_TCK 2>/dev/null || echo 100)
page=$(getconf PAGESIZE 2>/dev/null || echo 4096)

# greet KIND: the greeting, as cheap as it can be had
greet() {
    read -r boot </proc/sys/kernel/random/boot_id || boot=-
    read -r kernel </proc/sys/kernel/osrelease || kernel=$(uname -r)
    echo "H2 $$ $kernel $clk $1 ${boot%%-*}"
}

# booted: unix milliseconds at which the uptime was 0, to half a second. /proc/stat's btime is the machine's,
# and in a container the uptime is not.
booted() {
    seconds=$(date +%s 2>/dev/null)
    read -r up _ </proc/uptime
    case $seconds in
        '' | *[!0-9]*) echo 0 ;;
        *) echo "$((seconds * 1000 + 500 - ${up%.*}000))" ;;
    esac
}

describe() {
    cores=$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo -)
    memory=- layout=none container=none psi=no os=
    while read -r name size _; do
        case $name in MemTotal:) memory=$((size * 1024)); break ;; esac
    done </proc/meminfo
    while read -r _ path type options _; do
        case $type:$path in
            cgroup2:*) case $layout in v1) layout=hybrid ;; none) layout=v2 ;; esac
                [ ! -e "$path/cgroup.type" ] || container=bare ;;
            cgroup:*) case ,$options, in *,memory,* | *,cpu,*)
                case $layout in v2) layout=hybrid ;; none) layout=v1 ;; esac ;; esac ;;
            fuse.lxcfs:/proc/stat) lxcfs=yes ;;
        esac
    done </proc/self/mounts
    [ -z "${lxcfs:-}" ] || container=lxcfs
    [ ! -e /proc/pressure/cpu ] || psi=yes
    while IFS='=' read -r name value; do
        case $name in ID) value=${value#\"}; os=${value%\"} ;; esac
    done 2>/dev/null </etc/os-release
    case $os in '' | *[!A-Za-z0-9._-]*) os=- ;; esac
    facts="F cpus=$cores memory=$memory cgroup=$layout container=$container psi=$psi os=$os"
    [ "$tree" = 0 ] || facts="$facts tree=$tree"
    echo "$facts"
}

# watch PID: end it when it was asked for nothing since the last look
watch() {
    trap 'kill "$sleeping" 2>/dev/null; exit 0' TERM
    last=
    while :; do
        sleep "$lease" &
        sleeping=$!
        wait "$sleeping"
        switches=$(grep ctxt "/proc/$1/status") || exit 0
        if [ "$switches" = "$last" ]; then
            kill "$1"
            exit 0
        fi
        last=$switches
    done
}
