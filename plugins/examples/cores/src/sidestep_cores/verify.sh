test -s mine && test "$PID" != 0 || exit 1
for p in $PIDS; do test "$(allowed "$p" | first 4096)" = "$(cat mine)" || ! test -d "/proc/$p" || exit 1; done
