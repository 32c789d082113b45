# Carrying the files of a shard before it stands still: the seed is packed while it serves, and what has changed since
# is packed afterwards. Needs GNU find and tar on both hosts; without, all is packed while it stands still.

can_seed() {
    [ "$driver" = restart ] && tar --version 2>/dev/null | grep -q GNU &&
        [ "$(find "$d" -maxdepth 0 -printf x 2>/dev/null)" = x ] && command -v sha256sum >/dev/null 2>&1 &&
        echo x | xargs -d '\n' true 2>/dev/null && command -v awk >/dev/null 2>&1
}

# One line for everything below state: change time, size, inode, kind, path. Ends with a line "!" for names that no line
# can hold, or that read or sha256sum would not give back as they are.
list_state() {
    find "$d/state/." -mindepth 1 \( -name '*
*' -o -name '[[:blank:]]*' -o -name '*[[:blank:]]' -o -name '*\\*' \) -printf '!\n' -quit -o -printf '%C@ %s %i %y %P\n'
}

# Files that a process of the shard writes through memory need not change their times.
mapped() {
    members
    home=$(cd "$d/state/." && pwd -P)
    set --
    for m in $m_all; do set -- "$@" "/proc/$m/maps"; done
    [ $# -gt 0 ] || return 0
    # only these: read takes its time, and a process may have many
    grep -hs '^[^ ]* .w.s .*/' "$@" | while read -r _ how _ _ _ path; do
        case $path in
            "$home"/*) printf '%s\n' "${path#"$home/"}" ;;
            "${state_path:-/nowhere}"/*) printf '%s\n' "${path#"$state_path/"}" ;;
        esac
    done
    return 0
}

# Digests of the files that standard input names, a line each: digest, two blanks, path.
digests_of() { (cd "$d/$1" && xargs -d '\n' -r sha256sum --) || fail host "cannot digest $d/$1"; }

# At the source, while it serves: $d/seed.$key has the list, the digests and the tar.
seed() {
    box=$d/seed.$key
    rm -rf "$box"
    size=$(cd "$d/state/." && du -sk . | cut -f 1) && free_at "$d" || return 1
    [ "$free" -gt "$((size * 3072))" ] || return 1
    mkdir "$box" "$box/names" || fail host "cannot make $box"
    find "$d/state/." -type f -exec sync {} + 2>/dev/null || : # what is written through memory shows from here on
    edge=$(($(date +%s) - 1))
    list_state >"$box/all" || return 1
    ! tail -n 1 "$box/all" | grep -qxF '!' || return 1
    mapped >"$box/mapped"
    # changed as it was read, or gone: then it is packed again
    tar -C "$d" -cf "$box/tar" state/. 2>/dev/null || [ "$?" -eq 1 ] || return 1
    (cd "$d/state/." && while read -r _ _ _ kind path; do
        [ "$kind" != f ] || printf '%s\0' "$path"
    done <"$box/all" | xargs -0 -r sha256sum -- 2>/dev/null) >"$box/sums" || :
    printf '%s\n' "$edge" >"$box/edge"
}

# At the source, once it stands still, in as few processes as there can be: users wait. $box/changed are files to be
# packed again; names/delta.kinds says what there is to be, names/delta.changed what of it comes anew; $box/pack is all
# that is packed: whatever is no file, and files that have changed; $box/sums.now are the digests of what has not: a
# digest of before counts for a file that is still there and not among the changed.
changed_since_seed() {
    box=$d/seed.$key
    read -r edge <"$box/edge" || return 1
    mapped >>"$box/mapped"
    for list in names/delta.kinds names/delta.changed pack sums.now; do : >"$box/$list" || return 1; done
    list_state | awk -v edge="$edge" -v box="$box" '
        BEGIN { kinds = box "/names/delta.kinds"; changed = box "/names/delta.changed"; pack = box "/pack"
                sums = box "/sums.now" }
        FILENAME == box "/all" { seen[$0] = 1; next }
        FILENAME == box "/mapped" { mapped[$0] = 1; next }
        FILENAME == box "/sums" { sum[substr($0, 67)] = $0; next }
        $0 == "!" { bad = 1; exit }
        {
            path = $0
            for (field = 0; field < 4; field++) path = substr(path, index(path, " ") + 1)
            print $4 " " path >kinds
            if ($4 != "f") print "state/" path >pack
            else if (!($0 in seen) || int($1) >= edge || path in mapped) {
                print path >changed
                print "state/" path >pack
            }
            else if (path in sum) print sum[path] >sums
            else { bad = 1; exit }
        }
        END { exit bad }' "$box/all" "$box/mapped" "$box/sums" -
}

# The capsule at $1, and beside the packing the digest of everything in $d/dry.$key.
pack_changes() {
    (
        digests_of state/. <"$box/names/delta.changed" >>"$box/sums.now"
        LC_ALL=C sort "$box/names/delta.kinds" "$box/sums.now" | sha >"$d/dry.$key"
    ) &
    digesting=$!
    packed=0
    tar --verbatim-files-from -cf "$1" -C "$box/names" delta.kinds delta.changed \
        -C "$d" --no-recursion -T "$box/pack" || packed=1
    wait "$digesting" || exit 9
    [ "$packed" = 0 ]
}

# At the destination: the seed becomes $d/unpack.$key/state, with the digests of what is there.
plant() {
    rm -rf "$d/unpack.$key" "$d/planted.$key"
    mkdir "$d/unpack.$key" || fail host "cannot make $d/unpack.$key"
    tar -C "$d/unpack.$key" -xf "$d/capsule.$key.seed" || fail host 'tar cannot unpack the seed'
    rm -f "$d/capsule.$key.seed"
    [ -d "$d/unpack.$key/state" ] && [ ! -L "$d/unpack.$key/state" ] || fail host 'the seed holds no state folder'
    (cd "$d/unpack.$key/state" && find . -type f -printf '%P\0' | xargs -0 -r sha256sum --) >"$d/planted.$key" ||
        fail host 'cannot digest the seed'
    make_durable "$d/unpack.$key/state"
}

# The captured changes over it: what has changed goes first, so that links and kinds can change, too.
grow() {
    home=$d/unpack.$key
    [ -f "$d/planted.$key" ] && [ -d "$home/state" ] || fail host 'the seed is not here any more'
    tar -C "$home" -xf "$d/capsule.$key" delta.kinds delta.changed || fail host 'the capsule here is no change of a seed'
    (cd "$home/state" && find . -mindepth 1 -printf '%y %P\n') | awk -v home="$home" '
        FILENAME == home "/delta.kinds" { kind[substr($0, 3)] = $1; next }
        FILENAME == home "/delta.changed" { changed[$0] = 1; next }
        { path = substr($0, 3) }
        !(path in kind) || kind[path] != $1 || ($1 != "d" && ($1 != "f" || path in changed)) { print path }
        ' "$home/delta.kinds" "$home/delta.changed" - >"$home/leaving" || fail host 'cannot compare with the seed'
    [ ! -s "$home/leaving" ] || (cd "$home/state" && xargs -d '\n' rm -rf -- <"$home/leaving") ||
        fail host 'cannot remove what has changed'
    tar -C "$home" --exclude=delta.kinds --exclude=delta.changed -xf "$d/capsule.$key" ||
        fail host 'tar cannot unpack the capsule'
}

# What was planted is on the disk already.
make_grown_durable() {
    if (cd "$d/state" && { find . -type d && cat "$d/unpack.$key/delta.changed"; } | xargs -d '\n' sync --) 2>/dev/null &&
        sync "$d" "$d/unpack.$key" 2>/dev/null; then return 0; fi
    make_durable "$d/state"
}

# At the destination: digests of what came with the seed count for files that the capsule did not bring.
grown_digest() {
    home=$d/unpack.$key
    (digests_of state <"$home/delta.changed" >"$d/now.$key") &
    digesting=$!
    (cd "$d/state" && find . -mindepth 1 -printf '%y %P\n') | awk -v changed="$home/delta.changed" '
        FILENAME == changed { new[$0] = 1; next }
        FILENAME != "" && FILENAME != "-" { sum[substr($0, 67)] = $0; next }
        { print; path = substr($0, 3); if ($1 == "f" && !(path in new) && (path in sum)) print sum[path] }
        ' "$home/delta.changed" "$d/planted.$key" - >"$home/kept" || fail host "cannot look at $d/state"
    wait "$digesting" || exit 9
    LC_ALL=C sort "$home/kept" "$d/now.$key" | sha
}
