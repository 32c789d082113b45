# What is started in place of the app, in its state folder: the app as a child of this shell, brought back with its
# memory where an image of it has just arrived, and else started from its files. Given: app (its command).
mkdir -p .criu || exit 9

# An image counts once, for the owner that comes after the one it was taken of, and only while nothing has changed since.
usable() {
    reason='no image of its memory came'
    [ -f .criu/whole ] || return 1
    read -r i_token i_port i_address <.criu/whole
    mv .criu/whole .criu/used && sync .criu || return 1
    reason='its image is of this owner, or of a later one'
    [ "$TOKEN" -gt "$i_token" ] || return 1
    reason='its files have changed since its image was taken'
    [ -z "$(find . -path ./.criu -prune -o -type f -newer .criu/used -print | head -n 1)" ] || return 1
    reason="it listened at $i_address:$i_port, and is to listen at $ADDRESS:$PORT"
    [ "$PORT" = 0 ] || { [ "$i_port" = "$PORT" ] && { [ "$i_address" = any ] || [ "$i_address" = "$ADDRESS" ]; }; } || return 1
    reason='there is no criu here'
    command -v criu >/dev/null
}

if usable; then
    rm -f .criu/pid
    criu restore --images-dir .criu/images --work-dir .criu --log-file restore.log --shell-job --tcp-close --file-locks \
        --pidfile "$PWD/.criu/pid" </dev/null >/dev/null 2>&1
    code=$?
    # it has run, and ended
    [ ! -s .criu/pid ] || [ -f .criu/frozen ] || exit "$code"
    reason="criu: $(grep Error .criu/restore.log 2>/dev/null | tail -n 1)"
    [ ! -s .criu/pid ] || reason='it died while it stood still'
fi
while :; do
    printf 'started from its files: %s\n' "$reason" >.criu/how
    rm -rf .criu/images
    /bin/sh -c "$app" </dev/null >>.criu/log 2>&1 &
    echo "$!" >.criu/app
    wait "$!"
    code=$?
    # What dies while a move has stopped it has changed nothing since: taken back, the shard begins from its files.
    [ -f .criu/frozen ] && [ "$code" -gt 128 ] || exit "$code"
    reason='it died while it stood still'
done
