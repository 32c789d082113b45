# Before the shard is stopped for a move: write an image of its memory beside its files, and leave it stopped. Where that
# cannot be done it goes on, is stopped as any shard, and starts from its files; .criu/how says why.
give_up() { printf 'no image of its memory: %s\n' "$1" >.criu/how; rm -rf .criu/images .criu/whole; exit 0; }

: >.criu/frozen
read -r pid <.criu/app 2>/dev/null || give_up 'its process is not known'
if [ -f .criu/whole ] && grep -q '^State:[[:space:]]*T' "/proc/$pid/status" 2>/dev/null; then exit 0; fi
rm -rf .criu/images .criu/whole .criu/used
command -v criu >/dev/null || give_up 'there is no criu here'
mkdir -p .criu/images
criu dump --tree "$pid" --images-dir .criu/images --work-dir .criu --log-file dump.log --shell-job --leave-stopped \
    --tcp-close --file-locks </dev/null >/dev/null 2>&1 || give_up "criu: $(grep Error .criu/dump.log | tail -n 1)"
# whoever listens on every address can do so on any host
any=$(awk -v port="$(printf ':%04X' "$PORT")" '$4 == "0A" && $2 ~ "^0+" port "$" { print "any"; exit }' \
    /proc/net/tcp /proc/net/tcp6 2>/dev/null)
printf 'its memory goes along\n' >.criu/how
sync
printf '%s %s %s\n' "$TOKEN" "$PORT" "${any:-$ADDRESS}" >.criu/whole && sync .criu/whole
