# Every running service and slice here, what it uses, and whose it is: one line each, properties as systemd prints them.
main() {
    choose_survey
    cgroup_tree
    ctl list-units --all --plain --no-legend --no-pager --type=service,slice --state=running,active 2>/dev/null |
        while read -r name _; do
            case $name in *.service | *.slice) ;; *) continue ;; esac
            u_group='' u_pid=0 u_file='' u_enabled='' u_about=''
            while IFS='=' read -r key value; do
                case $key in
                    ControlGroup) u_group=$value ;;
                    MainPID) u_pid=$value ;;
                    FragmentPath) u_file=$value ;;
                    UnitFileState) u_enabled=$value ;;
                    Description) u_about=$value ;;
                esac
            done <<END
$(ctl show -p ControlGroup -p MainPID -p FragmentPath -p UnitFileState -p Description "$name" 2>/dev/null)
END
            [ -n "$u_group" ] || continue
            use
            say unit "$name|$u_manager|$u_group|${u_pid:-0}|$x_cpu|$x_memory|${u_enabled:--}|${u_file:--}|$u_about"
        done
}

choose_survey() {
    u_manager=system
    [ "$(id -u)" -eq 0 ] || { choose_manager && return 0; }
    command -v systemctl >/dev/null 2>&1 || fail host 'no systemd here'
}

# x_cpu: microseconds since it began; x_memory: bytes; "-" where the kernel does not count them for it.
use() {
    x_cpu=- x_memory=-
    {
        while read -r key value; do [ "$key" != usage_usec ] || x_cpu=$value; done <"$u_tree$u_group/cpu.stat"
        for file in "$u_base/memory$u_group/memory.usage_in_bytes" "$u_tree$u_group/memory.current"; do
            [ ! -f "$file" ] || read -r x_memory <"$file"
        done
    } 2>/dev/null
    return 0
}
