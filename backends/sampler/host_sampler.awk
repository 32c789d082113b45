# The sampler for hosts without python3: writes a record for every line "n" it reads.
# Given: clk page tree kernel pid, and SIDESTEP_ROOT in the environment. Protocol 1.

function words(path, into,    line) {
    line = ""
    getline line < path
    close(path)
    return split(line, into, " ")
}

function there(path,    line, got) {
    got = (getline line < path)
    close(path)
    return got >= 0
}

# Every process: parent, state, start, processor time, resident bytes.
function look(    cmd, line, f, p) {
    split("", kids); split("", state); split("", born); split("", own); split("", ended); split("", resident)
    cmd = "cat /proc/[0-9]*/stat 2>/dev/null"
    while ((cmd | getline line) > 0) {
        p = line + 0
        sub(/^.*\) /, "", line)
        if (split(line, f, " ") < 22) continue
        kids[f[2]] = kids[f[2]] " " p
        state[p] = f[1]; born[p] = f[20]
        own[p] = (f[12] + f[13]) * 1e9 / clk
        ended[p] = (f[14] + f[15]) * 1e9 / clk
        resident[p] = f[22] * page
    }
    close(cmd)
}

function dead(p) { return !(p in state) || state[p] == "Z" || state[p] == "X" }

function exact(p,    path, line, f, got) {
    if (resident[p] <= 0 || resident[p] >= 536870912) return resident[p]
    got = resident[p]
    path = "/proc/" p "/smaps_rollup"
    while ((getline line < path) > 0)
        if (line ~ /^Pss:/) { split(line, f, " "); got = f[2] * 1024; break }
    close(path)
    return got
}

function add(p,    f, precise) {
    if (dead(p)) { sum_cpu += own[p] + ended[p]; return }
    precise = words("/proc/" p "/schedstat", f) ? f[1] + 0 : 0
    sum_cpu += (precise > own[p] ? precise : own[p]) + ended[p]
    sum_memory += exact(p)
}

function add_below(p,    all, n, i) {
    n = split(kids[p], all, " ")
    for (i = 1; i <= n; i++) { add(all[i]); add_below(all[i]) }
}

function number(x) { return sprintf("%.0f", x) }

function machine(    f, out, line, path, total, free) {
    out = words("/proc/stat", f) >= 8 ? number((f[2] + f[3] + f[4] + f[7] + f[8]) * 1e9 / clk) : "-"
    path = "/proc/meminfo"; total = free = -1
    while ((getline line < path) > 0) {
        split(line, f, " ")
        if (f[1] == "MemTotal:") total = f[2]
        else if (f[1] == "MemAvailable:" || (f[1] == "MemFree:" && free < 0)) free = f[2]
    }
    close(path)
    out = out " " (total < 0 || free < 0 ? "-" : number((total - free) * 1024))
    return out " " disks() " " cards() " " pressure("cpu") " " pressure("memory") " " pressure("io")
}

function disks(    path, line, f, reads, writes, seen, name) {
    path = "/proc/diskstats"
    while ((getline line < path) > 0) {
        seen = 1
        if (split(line, f, " ") < 14 || f[3] ~ /^(loop|ram|zram|dm-|md|sr|fd)/) continue
        if (!(f[3] in whole)) {
            name = f[3]; gsub(/\//, "!", name)
            whole[f[3]] = there("/sys/block/" name "/stat")
        }
        if (whole[f[3]]) { reads += f[4]; writes += f[8] }
    }
    close(path)
    return seen ? number(reads) " " number(writes) : "- -"
}

function cards(    path, line, f, name, at, seen, real, rx, tx, other_rx, other_tx) {
    path = "/proc/net/dev"
    while ((getline line < path) > 0) {
        at = index(line, ":")
        if (!at) continue
        name = substr(line, 1, at - 1); gsub(/ /, "", name)
        if (split(substr(line, at + 1), f, " ") < 9) continue
        seen = 1
        if (name == "lo") continue
        if (there("/sys/class/net/" name "/device/uevent")) { real = 1; rx += f[1]; tx += f[9] }
        else { other_rx += f[1]; other_tx += f[9] }
    }
    close(path)
    if (!seen) return "- -"
    return real ? number(rx) " " number(tx) : number(other_rx) " " number(other_tx)
}

function pressure(kind,    f) {
    if (words("/proc/pressure/" kind, f) < 2 || f[1] != "some") return "-"
    sub(/^avg10=/, "", f[2])
    return f[2]
}

function subtree() {
    if (!(tree in state)) return "- - - - - - - - -"
    sum_cpu = ended[tree]; sum_memory = 0
    add_below(tree)
    return number(sum_cpu) " " number(sum_memory) " - - - - - - -"
}

# Names with a pid file, and the words of those files.
function find_shards(    cmd, name, f, n) {
    n = 0; split("", recorded)
    cmd = "LC_ALL=C ls -1 \"$SIDESTEP_ROOT\" 2>/dev/null"
    while ((cmd | getline name) > 0) {
        if (name !~ /^[A-Za-z0-9._-]+$/ || length(name) > 100 || n >= 4096) continue
        if (!there(ENVIRON["SIDESTEP_ROOT"] "/" name "/pid")) continue
        shards[++n] = name
    }
    close(cmd)
    return n
}

function shard_tokens(name,    f, n) {
    n = words(ENVIRON["SIDESTEP_ROOT"] "/" name "/pid", f)
    if (n < 3 || f[1] f[2] f[3] !~ /^[0-9]+$/) return " 0 0 - - 0"
    if (dead(f[1]) || born[f[1]] != f[2]) return " 0 " f[3] " - - 0"
    sum_cpu = sum_memory = 0
    add(f[1]); add_below(f[1])
    return " " f[1] " " f[3] " " number(sum_cpu) " " number(sum_memory) " " (state[f[1]] ~ /^[Tt]$/ ? 0 : 1)
}

function sample(    f, n, i, names, out, now) {
    n = find_shards()
    if (n || tree) look()
    names = ""
    for (i = 1; i <= n; i++) names = names (i > 1 ? "," : "") shards[i]
    if (!seq || names != known) print "K 9 " (names == "" ? "-" : names)
    known = names
    words("/proc/uptime", f)
    now = f[1] * 1000
    out = tree ? subtree() : machine()
    for (i = 1; i <= n; i++) out = out shard_tokens(shards[i])
    print "V " (++seq) " " number(now) " " out
    fflush()
}

BEGIN { tree = tree + 0; print "H1 " pid " " kernel " " clk " awk"; fflush() }
/^n/ { sample() }
/^q/ { exit }
