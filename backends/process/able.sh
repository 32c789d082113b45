# Whether this host can move processes with their memory, and what it does that with.
main() {
    if criu_able; then say sockets "$c_sockets"; else say code "$a_code" && say text "$a_text"; fi
    say criu "$c_name"
    say kernel "$c_kernel"
}
