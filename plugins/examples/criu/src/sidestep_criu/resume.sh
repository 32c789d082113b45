# The shard goes on: as soon as its process is there, whatever was kept for a move is of no use, and must not be taken for
# the newest that there is.
read -r pid <.criu/app && grep -q '^State:[[:space:]]*[^ZX]' "/proc/$pid/status" 2>/dev/null || exit 1
rm -f .criu/whole .criu/frozen
