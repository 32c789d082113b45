# Sent in front of every operation; nothing is left on the host but the shard's folder and its container.
# Given: podman (its words, for this shell), fleet shard token key port address words image state_path cpu memory
#        cmd_quiesce cmd_ready patience seconds digest
umask 077
say() { printf '%s=%s\n' "$1" "$2"; }
fail() { printf 'sidestep:%s\n' "$1" >&2; exit 9; }

root=${XDG_STATE_HOME:-${HOME:?}/.local/state}/sidestep-podman/$fleet
d=$root/$shard
box=sidestep.$fleet.$shard
facts='{{.Id}} {{.State.Status}} {{.State.Pid}} {{.State.Checkpointed}} {{range $k, $v := .Config.Labels}}{{if eq $k "sidestep.is"}}{{$v}}{{end}}{{end}}'

# What it starts in the background must not keep the lock (9).
pod() { eval "$podman \"\$@\"" 9>&-; }

need_podman() {
    eval "command -v ${podman%% *}" >/dev/null || fail 'no podman here: install podman'
    command -v flock >/dev/null || fail 'no flock here: install util-linux'
    pod image exists "$image" || fail "the image $image is not here: podman pull $image"
}

# One operation on a shard at a time; the kernel lets go when its holder ends, however that was.
lock() {
    mkdir -p "$d/state" || fail "cannot make $d"
    exec 9>"$d/lock" || fail "cannot open $d/lock"
    flock -w 20 9 || fail 'busy: somebody else has worked on this shard for 20 s'
}

write() { printf '%s\n' "$2" >"$1.new" && sync "$1.new" && mv -f "$1.new" "$1" || fail "cannot write $1"; }

# -- the fence: the highest token that was ever seen here, and the moves that were taken back

fenced() {
    f_at=0
    [ ! -f "$d/fence" ] || read -r f_at <"$d/fence" || :
    case ${f_at:-x} in *[!0-9]*) fail "$d/fence is damaged: it must hold one number" ;; esac
}
raise_fence() { fenced; [ "$1" -le "$f_at" ] || write "$d/fence" "$1"; }
check_fence() { fenced; [ "$1" -ge "$f_at" ] || fail "fenced: token $1 is older than $f_at, which this host has seen"; }
undone() { [ -f "$d/undone" ] && grep -qxF "$key" "$d/undone"; }
take_back() { undone || write "$d/undone" "$({ tail -n 15 "$d/undone" 2>/dev/null; printf %s "$key"; })"; }
not_taken_back() { ! undone || fail 'this move was taken back here already'; }

# -- the container: podman has it by its name, so that there is one at most

# The facts of one line; c_state is empty if there is no container, and dead if it does not run. One that was brought back
# with its memory has the labels of the owner before: then the file says whose it is. One whose memory was just taken
# for a move stands still, as if it were paused.
take() {
    # shellcheck disable=SC2086 # words without blanks
    set -f; set -- $1; set +f
    c_id=${1:-} c_state=${2:-} c_pid=${3:-0} c_shard=${5:-} c_token=${6:-0} c_port=${7:-0} c_address=${8:--} c_start=0
    if [ -n "$c_shard" ] && read -r o_token o_port o_address o_id <"$root/$c_shard/owner" && [ "$o_id" = "$c_id" ]; then
        c_token=$o_token c_port=$o_port c_address=$o_address
    fi 2>/dev/null
    case $c_token$c_port in *[!0-9]*) fail "the container $box has labels that are not ours" ;; esac
    [ -n "$c_state" ] || return 0
    if [ "$c_state ${4:-}" = 'exited true' ] && [ -f "$root/$c_shard/memory" ]; then c_state=paused c_pid=0; return 0; fi
    case $c_state in running | paused) ;; *) c_state=dead; return 0 ;; esac
    # podman may not have noticed its end
    if ! grep -q "$c_id" "/proc/$c_pid/cgroup" 2>/dev/null || ! read -r line <"/proc/$c_pid/stat"; then c_state=dead; return 0; fi
    line=${line##*") "}
    case $line in Z* | X*) c_state=dead ;; esac
    c_start=$(printf '%s\n' "$line" | cut -d ' ' -f 20)
}

look() {
    if line=$(pod container inspect --format "$facts" "$box" 2>"$d/said"); then take "$line"; return 0; fi
    pod container exists "$box" 2>>"$d/said"
    [ "$?" -eq 1 ] || fail "podman: $(tail -n 2 "$d/said")"
    take ''
}
alive() { look; case $c_state in running | paused) ;; *) return 1 ;; esac; }

# A file of the container's cgroup: $1 and $2 are its controller and name in version 1, $3 its name in version 2.
cgroup_file() {
    while IFS=: read -r _ kinds path; do
        case ",$kinds," in
            *",$1,"*) file=/sys/fs/cgroup/$1$path/$2 ;;
            ",,") file=/sys/fs/cgroup$path/$3 ;;
            *) continue ;;
        esac
        # crun puts the processes one below
        for file in "$file" "${file%/*/*}/${file##*/}"; do [ ! -f "$file" ] || { cat "$file"; return 0; }; done
    done <"/proc/$c_pid/cgroup"
    return 1
}

# It ends at once unless it may have $1 seconds. What is paused dies before it is let go, so that it never serves again.
remove() {
    if [ "$c_state" = paused ]; then
        # shellcheck disable=SC2046 # numbers
        kill -s KILL $(cgroup_file freezer cgroup.procs cgroup.procs) 2>/dev/null || :
        pod unpause "$box" >/dev/null 2>&1 || :
    elif [ "${1:-0}" -gt 0 ]; then
        pod stop -t "$1" "$box" >/dev/null 2>&1 || :
    fi
    pod rm -f -t 0 "$box" >/dev/null 2>"$d/said" || fail "podman cannot remove $box: $(tail -n 2 "$d/said")"
    look
    [ -z "$c_state" ] || fail "podman has not removed $box"
}

# Start it with nothing but its files.
launch() {
    look
    [ -z "$c_state" ] || remove
    raise_fence "$1"
    write "$d/owner" "$1 $2 $3"
    # shellcheck disable=SC2086 # limits: none, or words without blanks
    eval "set -- $words"
    look_for_limits
    # shellcheck disable=SC2086
    pod run --detach --name "$box" --network host --restart no --pull never $limits \
        --label "sidestep.fleet=$fleet" --label "sidestep.is=$shard $(cat "$d/owner")" \
        --env "SHARD=$shard" --env "TOKEN=$o_token" --env "PORT=$o_port" --env "ADDRESS=$o_address" \
        --env "STATE=$state_path" --volume "$d/state:$state_path" "$@" >/dev/null 2>"$d/said" ||
        fail "podman cannot start it: $(tail -n 4 "$d/said")"
    alive || { log_tail; fail 'it ended at once'; }
}
look_for_limits() {
    read -r o_token o_port o_address <"$d/owner"
    limits=''
    [ "$cpu" = 0 ] || limits="--cpus $cpu"
    [ "$memory" = 0 ] || limits="$limits --memory $memory"
}

log_tail() { pod logs --tail 8 "$box" >&2 2>&1 || :; }

need_owner() {
    look
    [ -n "$c_state" ] || fail "the shard is not on this host: there is no container $box"
    [ "$c_token" = "$1" ] || fail "the shard here has token $c_token, not $1"
    [ "$c_state" != dead ] || { log_tail; fail 'its container has ended'; }
}

# Let it go on, and wait until it answers.
serve() {
    if [ "$c_state $c_pid" = 'paused 0' ]; then
        # its files are as they were when its memory was taken
        pod container restore "$box" >/dev/null 2>"$d/said" || launch "$c_token" "$c_port" "$c_address"
    elif [ "$c_state" = paused ]; then
        pod unpause "$box" >/dev/null || fail "podman cannot let $box go on"
    fi
    rm -f "$d/memory"
    n=0
    until [ -z "$cmd_ready" ] || pod exec "$box" /bin/sh -c "$cmd_ready" >/dev/null 2>"$d/said"; do
        alive || { log_tail; fail 'it ended before it was ready'; }
        [ "$n" -lt $((patience * 5)) ] || { log_tail; fail "not ready within $patience s: $(tail -n 2 "$d/said")"; }
        n=$((n + 1))
        sleep 0.2
    done
    alive || { log_tail; fail 'it has ended'; }
}
tell() { say pid "$c_pid"; say started "$c_start"; say token "$c_token"; say port "$c_port"; say address "$c_address"; }

# -- its files, as root sees them within a user's containers

within() { if [ "$(id -u)" -eq 0 ]; then "$@"; else pod unshare "$@"; fi; }
# The same files make the same bytes on every host.
pack() {
    set -- state
    [ ! -f "$d/memory" ] || set -- state memory
    within tar --sort=name --format=gnu --numeric-owner -C "$d" -cf - "$@"
}
digest_of() { sum=$(sha256sum) && printf '%s\n' "${sum%% *}"; }
forget() { within rm -rf "$d/state"; rm -rf "$d"/capsule.* "$d"/unpack.* "$d"/move.* "$d"/restored.* "$d/owner" "$d"/memory*; }

# -- memory: never more than a short cut, since the shard can always start from its files

# Why the memory of a container cannot be taken or brought back here; nothing where it can.
unable() {
    [ "$(id -u)" -eq 0 ] || { echo 'only root can do that'; return 0; }
    command -v "${criu%% *}" >/dev/null || { echo 'there is no criu here'; return 0; }
    c_said=$($criu check 2>&1) || printf 'criu check: %s\n' "$(printf '%s\n' "$c_said" | grep Error | head -n 1)"
}

# Whoever listens at one address of this host cannot do so on another one.
elsewhere() {
    [ "$c_port" = 0 ] || [ "$c_address" = "$1" ] || awk -v port="$(printf ':%04X' "$c_port")" '
        $4 == "0A" && $2 ~ "^0+" port "$" { any = 1 } END { exit !any }' /proc/net/tcp /proc/net/tcp6 2>/dev/null
}

# What criu said in the log that podman names, or else what podman said.
why_not() {
    criu_log=$(sed -n 's/.*log file: //p' "$d/said" | tail -n 1 | tr -d '"')
    if [ -f "$criu_log" ]; then grep Error "$criu_log" | cut -d ' ' -f 2- | tr '\n' ' '; else tail -n 1 "$d/said"; fi
}

# Whether something listens there already.
taken() {
    awk -v port="$1" -v address="$2" 'BEGIN {
        split(address, a, "."); want = sprintf("%02X%02X%02X%02X:%04X", a[4], a[3], a[2], a[1], port)
        any = sprintf(":%04X", port); dotted = address ~ /^[0-9.]+$/
    }
    $4 == "0A" && ($2 == want || $2 ~ "^0+" any "$" || (!dotted && $2 ~ any "$")) { found = 1 }
    END { exit !found }' /proc/net/tcp /proc/net/tcp6 2>/dev/null
}
