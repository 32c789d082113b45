command -v taskset >/dev/null || { echo 'no taskset here: install util-linux' >&2; exit 3; }
test "$(allowed "$PID" | first 4096)" != "$(allowed "$PID" | first "$cores")" || { echo "it has no more than $cores cores" >&2; exit 3; }
