# Begin with nothing at the destination: what an earlier life of the shard left there is no state of today.
main() {
    lock
    not_taken_back
    check_fence "$token"
    [ -f "$d/move.$key" ] || fail host 'the destination was not prepared for this move'
    ! alive || fail host "the shard already runs here with token $p_token (pid $p_pid)"
    write_file "$d/restored.$key" "$token"
    raise_fence "$token"
    rm -rf "$d/state"
}
