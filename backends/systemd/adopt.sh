# Take over a unit that runs, without restarting it: it is the shard's from now on, and does not start by itself any more.
# Given besides: unit. Says what the fleet file needs to know of it.
main() {
    lock
    choose_survey
    look_at
    if in_unit && alive; then
        load_unit
        [ "$u_name" = "$unit" ] || fail host "shard $shard is $u_name here already"
        [ "$p_token" = "$token" ] || fail host "shard $shard runs here with token $p_token"
    else
        ! alive || fail host "shard $shard runs here already (pid $p_pid)"
        fenced
        [ "$f_at" -eq 0 ] || fail host "shard $shard was here before (token $f_at): choose another name"
        take
    fi
    printf '%s\n' "$x_about" | while IFS='=' read -r key value; do say "$key" "$value"; done
    say line "$(base64 <"/proc/$x_pid/cmdline" | tr -d '\n')"
    tell
}

choose_survey() {
    u_manager=system
    [ "$(id -u)" -eq 0 ] || choose_manager
}

look_at() {
    x_about=$(ctl show -p ActiveState -p MainPID -p Type -p User -p Group -p WorkingDirectory -p StateDirectory \
        -p ControlGroup -p Environment -p EnvironmentFiles -p DynamicUser -p RootDirectory -p PrivateTmp "$unit" 2>/dev/null) ||
        fail host "there is no unit $unit"
    x_pid=$(ctl show -p MainPID --value "$unit") x_group=$(ctl show -p ControlGroup --value "$unit")
    [ "$(ctl show -p ActiveState --value "$unit")" = active ] && [ "${x_pid:-0}" -gt 1 ] && [ -n "$x_group" ] ||
        fail host "$unit does not run here, or has no main process"
    for other in "$root"/*/unit "${root%/*}"/*/*/unit; do
        [ -f "$other" ] && [ "${other%/unit}" != "$d" ] && read -r o_name _ <"$other" || continue
        [ "$o_name" != "$unit" ] || fail host "$unit is a shard already: $other"
    done
}

# First it is kept from starting by itself, then it is written down: what is half done is done again.
take() {
    case $u_manager in
        system) x_drop=/etc/systemd/system/$unit.d ;;
        *) x_drop=${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user/$unit.d ;;
    esac
    mkdir -p "$x_drop" || fail host "cannot make $x_drop"
    (umask 022 && printf '%s\n' "# sidestep starts it, as shard $shard of fleet $fleet. To give it back: remove this file, and daemon-reload." \
        '[Unit]' 'ConditionPathExists=/nonexistent/adopted-by-sidestep' '[Service]' 'Restart=no' \
        >"$x_drop/50-sidestep.conf") || fail host "cannot write $x_drop/50-sidestep.conf"
    chmod 755 "$x_drop"
    ctl daemon-reload || fail host "systemctl daemon-reload ended with status $?"
    stat_of "$x_pid" || fail host "$unit has just ended"
    x_start=$st_start
    if [ -n "$state_path" ] && [ ! -e "$d/state" ]; then
        [ -d "$state_path" ] || fail host "$state_path is no folder here"
        ln -s "$state_path" "$d/state" || fail host "cannot make $d/state"
    fi
    raise_fence "$token"
    write_file "$d/pid" "$x_pid $x_start $token $port $address"
    write_file "$d/unit" "$unit $u_manager $x_group adopted"
    load_pid
}
