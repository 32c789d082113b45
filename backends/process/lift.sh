# Say the capsule, of $bytes bytes: to a standing shell only.
main() {
    [ "$(size_of "$d/capsule.$key")" = "$bytes" ] || fail host 'the capsule here is not the one that was captured'
    echo raw=
    cat "$d/capsule.$key"
}
