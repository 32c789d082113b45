# The cores of a list such as 0-2,8 from standard input, at most $1 of them, with commas between.
first() {
    awk -F, -v most="$1" '{
        for (i = 1; i <= NF; i++) { m = split($i, e, "-"); for (c = e[1] + 0; c <= e[m] + 0 && n < most; c++) out = out (n++ ? "," : "") c }
    } END { print out }'
}
allowed() { sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' "/proc/$1/status" 2>/dev/null; }
