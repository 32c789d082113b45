# The source can give the shard away: it has it, runs it, and has the tools.
main() {
    need_tools
    need_owner "$token"
    say port "$p_port"
    [ "$driver" != criu ] || criu_wants
}
