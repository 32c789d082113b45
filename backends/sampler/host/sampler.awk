# The sampler for hosts without python3 and perl: a record for every line "n" that it reads. Protocol 2.
# Given: clk page tree greeting facts, and SIDESTEP_ROOT in the environment. Files are opened anew each time.

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

# Every process: parent, state, start, processor time in us, resident bytes.
function look(    cmd, line, f, p) {
    split("", kids); split("", state); split("", born); split("", own); split("", ended); split("", resident)
    cmd = "cat /proc/[0-9]*/stat 2>/dev/null"
    while ((cmd | getline line) > 0) {
        p = line + 0
        sub(/^.*\) /, "", line)
        if (split(line, f, " ") < 22) continue
        kids[f[2]] = kids[f[2]] " " p
        state[p] = f[1]; born[p] = f[20]
        own[p] = (f[12] + f[13]) * 1e6 / clk
        ended[p] = (f[14] + f[15]) * 1e6 / clk
        resident[p] = f[22] * page
    }
    close(cmd)
}

function dead(p) { return !(p in state) || state[p] == "Z" || state[p] == "X" }

# Its share of the memory: taken exactly when its size has changed much, or for long.
function exact(p,    path, line, f, moved) {
    if (resident[p] <= 0 || resident[p] >= 536870912) return resident[p]
    moved = resident[p] - base[p]
    if (moved < 0) moved = -moved
    if (born_then[p] != born[p] || moved > 4194304 || seq - measured[p] > 60) {
        share[p] = resident[p]; base[p] = resident[p]; measured[p] = seq; born_then[p] = born[p]
        path = "/proc/" p "/smaps_rollup"
        while ((getline line < path) > 0)
            if (line ~ /^Pss:/) { split(line, f, " "); share[p] = f[2] * 1024; break }
        close(path)
    }
    return share[p] + resident[p] - base[p]
}

function add(p,    f, precise) {
    if (dead(p)) { sum_cpu += own[p] + ended[p]; return }
    precise = words("/proc/" p "/schedstat", f) ? f[1] / 1000 : 0
    sum_cpu += (precise > own[p] ? precise : own[p]) + ended[p]
    sum_memory += exact(p)
}

function add_below(p,    all, n, i) {
    n = split(kids[p], all, " ")
    for (i = 1; i <= n; i++) { add(all[i]); add_below(all[i]) }
}

# What ended and was waited for by nobody must not make a total fall.
function rising(key, value) {
    value += lost[key]
    if (value < last[key] - 50000) { lost[key] += last[key] - value; value = last[key] }
    if (value > last[key]) last[key] = value
    return last[key]
}

function number(x) { return x < 0 ? "-" : sprintf("%.0f", x) }

function processors(    path, line, f, n, i, out, running, blocked) {
    path = "/proc/stat"; out = ""; running = blocked = "-"
    while ((getline line < path) > 0) {
        if (out == "") {
            n = split(line, f, " ")
            for (i = 2; i <= 9; i++) out = out (i > n ? "-" : number(f[i] * 1e6 / clk)) " "
        } else if (substr(line, 1, 6) == "procs_") {
            split(line, f, " ")
            if (f[1] == "procs_running") running = f[2]
            else if (f[1] == "procs_blocked") { blocked = f[2]; break }
        }
    }
    close(path)
    return (out == "" ? "- - - - - - - - " : out) (words("/proc/loadavg", f) ? f[1] : "-") " " running " " blocked
}

function stalls(kind,    path, line, some, full) {
    path = "/proc/pressure/" kind; some = full = "-"
    while ((getline line < path) > 0) {
        if (line ~ /^some/) { sub(/^.*total=/, "", line); some = line }
        else if (line ~ /^full/) { sub(/^.*total=/, "", line); full = line }
    }
    close(path)
    return kind == "irq" ? full : some " " full
}

function sizes(    path, line, f, m, free, cache) {
    path = "/proc/meminfo"
    while ((getline line < path) > 0) { split(line, f, " "); m[f[1]] = f[2] * 1024 }
    close(path)
    if (!("MemTotal:" in m)) return "- - - - - -"
    free = ("MemAvailable:" in m) ? m["MemAvailable:"] : m["MemFree:"] + m["Buffers:"] + m["Cached:"]
    cache = m["Cached:"] + m["Buffers:"] + m["SReclaimable:"] - m["Shmem:"]
    return number(m["MemTotal:"]) " " number(m["MemTotal:"] - free) " " number(cache < 0 ? 0 : cache) " " \
        number(m["Dirty:"] + m["Writeback:"]) " " number(m["SwapTotal:"]) " " number(m["SwapTotal:"] - m["SwapFree:"])
}

function disks(    path, line, f, sum, seen, name) {
    path = "/proc/diskstats"
    while ((getline line < path) > 0) {
        seen = 1
        if (split(line, f, " ") < 14 || f[3] ~ /^(loop|ram|zram|dm-|md|sr|fd|nbd)/) continue
        if (!(f[3] in whole)) {
            name = f[3]; gsub(/\//, "!", name)
            whole[f[3]] = there("/sys/block/" name "/stat")
        }
        if (!whole[f[3]]) continue
        sum[1] += f[4]; sum[2] += f[6] * 512; sum[3] += f[8]; sum[4] += f[10] * 512; sum[5] += f[13] * 1000
    }
    close(path)
    if (!seen) return "- - - - -"
    return number(sum[1]) " " number(sum[2]) " " number(sum[3]) " " number(sum[4]) " " number(sum[5])
}

function cards(    path, line, f, name, at, seen, any, sum, other) {
    path = "/proc/net/dev"; any = 0
    while ((getline line < path) > 0) {
        at = index(line, ":")
        if (!at) continue
        name = substr(line, 1, at - 1); gsub(/ /, "", name)
        if (split(substr(line, at + 1), f, " ") < 12) continue
        seen = 1
        if (name == "lo") continue
        if (!(name in real)) real[name] = there("/sys/class/net/" name "/device/uevent")
        at = real[name] ? "r" : "o"
        if (real[name]) any = 1
        sum[at 1] += f[1]; sum[at 2] += f[2]; sum[at 3] += f[4]
        sum[at 4] += f[9]; sum[at 5] += f[10]; sum[at 6] += f[12]
    }
    close(path)
    if (!seen) return "- - - - - -"
    at = any ? "r" : "o"
    return number(sum[at 1]) " " number(sum[at 2]) " " number(sum[at 3]) " " number(sum[at 4]) " " \
        number(sum[at 5]) " " number(sum[at 6])
}

function machine() {
    return processors() " " stalls("cpu") " " stalls("memory") " " stalls("io") " " stalls("irq") " " sizes() " " \
        disks() " " cards()
}

function subtree(    out) {
    if (!(tree in state)) return "- - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - -"
    sum_cpu = ended[tree]; sum_memory = 0
    add_below(tree)
    return number(rising("", sum_cpu)) " 0 0 - - 0 0 0 - - - - - - - - - - - " number(sum_memory) \
        " - - - - - - - - - - - - - - -"
}

# Names with a pid file, and the words of those files.
function find_shards(    cmd, name, n) {
    n = 0
    cmd = "LC_ALL=C ls -1 \"$SIDESTEP_ROOT\" 2>/dev/null"
    while ((cmd | getline name) > 0) {
        if (name !~ /^[A-Za-z0-9._-]+$/ || length(name) > 100 || n >= 4096) continue
        if (!there(ENVIRON["SIDESTEP_ROOT"] "/" name "/pid")) continue
        shards[++n] = name
    }
    close(cmd)
    return n
}

function shard_words(name,    f, n) {
    n = words(ENVIRON["SIDESTEP_ROOT"] "/" name "/pid", f)
    if (n < 3 || f[1] f[2] f[3] !~ /^[0-9]+$/) return " 0 0 0 - - - - - - -"
    if (dead(f[1]) || born[f[1]] != f[2]) return " 0 " f[3] " 0 - - - - - - -"
    sum_cpu = sum_memory = 0
    add(f[1]); add_below(f[1])
    return " " f[1] " " f[3] " " (state[f[1]] ~ /^[Tt]$/ ? 0 : 1) " " \
        number(rising(name " " f[1] " " f[2], sum_cpu)) " " number(sum_memory) " - - - - -"
}

# Not every awk can tell the time: seconds since boot, and when that was.
function clocks(    f) {
    words("/proc/uptime", f)
    now = f[1] * 1000
}

function sample(    n, i, names, out) {
    n = find_shards()
    if (n || tree) look()
    names = ""
    for (i = 1; i <= n; i++) names = names (i > 1 ? "," : "") shards[i]
    if (!seq || names != known) print "K 36 10 " (names == "" ? "-" : names)
    known = names
    clocks()
    out = (tree ? subtree() : machine()) " " (booted > 0 ? number(booted + now) : "-")
    for (i = 1; i <= n; i++) out = out shard_words(shards[i])
    print "V " (++seq) " " number(now) " " out
    fflush()
}

BEGIN { tree = tree + 0; print greeting; print facts; fflush() }
/^n/ { sample() }
/^q/ { exit }
