# Say the capsule: to a standing shell only, which takes no more than $most bytes. It is $bytes long, where that is known.
main() {
    unlock # what reads this may be slow, and nothing changes any more
    size=${c_size:-$(size_of "$d/capsule.$key")} || fail host 'the capsule is not here'
    [ "${bytes:-$size}" = "$size" ] || fail host 'the capsule here is not the one that was captured'
    [ "$size" -le "$most" ] || return 0
    echo "raw=$size"
    cat "$d/capsule.$key"
}
