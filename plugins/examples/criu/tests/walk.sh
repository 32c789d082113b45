# Two hosts that share nothing but a folder: process trees of their own, $1 in the first and $2 in the second.
# Given: START QUIESCE RESUME as sidestep would send them, and the folder STATE that a move would carry.
on_a_host() { unshare --pid --fork --mount-proc /bin/sh -c "$1"; }
first='
echo 5000 >/proc/sys/kernel/ns_last_pid
cd "$STATE" && export TOKEN=7 PORT=0 ADDRESS=-
setsid /bin/sh -c "$START" & leader=$!
until [ "$(wc -l <beats)" -ge 5 ]; do sleep 0.1; done 2>/dev/null
/bin/sh -c "$RESUME" && /bin/sh -c "$QUIESCE" || exit 9
kill -s STOP -- "-$leader"
cat .criu/how
'
second='
cd "$STATE" && export TOKEN PORT=0 ADDRESS=-
had=$(cat beats 2>/dev/null | wc -l)
setsid /bin/sh -c "$START" & leader=$!
n=0
until [ "$(wc -l <beats)" -ge $((had + 5)) ] || [ "$n" -ge 100 ]; do sleep 0.1; n=$((n + 1)); done
/bin/sh -c "$RESUME" || exit 9
group=$(cut -d " " -f 5 "/proc/$(cat .criu/app)/stat")
[ "$group" = "$leader" ] && echo "in the group of its leader" || echo "left the group: $group, not $leader"
cat .criu/how
kill -s KILL -- "-$leader"
'
case $1 in
    first) on_a_host "$first" ;;
    second) TOKEN=$2 on_a_host "$second" ;;
esac
