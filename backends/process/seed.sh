# Pack the files of a shard that serves, to be carried before it stands still. Says nothing where that cannot be done.
main() {
    lock
    need_owner "$token"
    can_seed || return 0
    seed || { rm -rf "$d/seed.$key"; return 0; }
    say capsule "$d/seed.$key/tar"
    say bytes "$(size_of "$d/seed.$key/tar")"
    say digest "$(file_digest "$d/seed.$key/tar")"
}
