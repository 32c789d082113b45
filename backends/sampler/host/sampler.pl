# The sampler for hosts with perl and no python3: protocol 2, no module but Time::HiRes, and that only if it is there.
# Ends with standard input, with its parent, when its lease runs out (alarm), or when nobody reads. Writes no file.
use strict;
no warnings;

my ($fleet, $interval) = @ARGV;
my $root = ($ENV{XDG_STATE_HOME} || "$ENV{HOME}/.local/state") . "/sidestep/$fleet";
my $tree = ($ENV{SIDESTEP_HOST_TREE} || 0) + 0;
my ($clk, $page) = (100, 4096);
{
    # What the kernel told this process when it started: AT_CLKTCK is 17, AT_PAGESZ is 6.
    my @words = unpack(length(pack('L!', 0)) == 8 ? 'Q*' : 'L*', slurp('/proc/self/auxv'));
    for (my $i = 0; $i + 1 < @words; $i += 2) {
        $clk  = $words[$i + 1] if $words[$i] == 17;
        $page = $words[$i + 1] if $words[$i] == 6;
    }
}
my $tick = int(1e6 / $clk);
my ($patience, $rarely) = ($tree ? 0 : 2, 10);
my $fine = eval { require Time::HiRes; Time::HiRes::clock_gettime(1) > 0 };
my $uptime = keep('/proc/uptime');

sub keep { my $f; return sysopen($f, $_[0], 0) ? $f : undef }

sub slurp {
    my ($d, $f) = ('');
    sysopen($f, $_[0], 0) or return '';
    sysread($f, $d, $_[1] || 65536);
    return $d;
}

sub again {
    my ($f, $n, $d) = (@_, '');
    return '' if !$f;
    sysseek($f, 0, 0);
    return defined sysread($f, $d, $n) ? $d : '';
}

# A kept file of many records: the kernel gives a page of them at a time.
sub records {
    my ($f, $d, $got) = ($_[0], '');
    return '' if !$f;
    sysseek($f, 0, 0);
    1 while ($got = sysread($f, $d, 65536, length $d)) > 2048;
    return $d;
}

sub now { return $fine ? Time::HiRes::clock_gettime(1) : (split / /, again($uptime, 64))[0] }

sub say_all {
    my $d = $_[0];
    while (length $d) {
        my $n = syswrite(STDOUT, $d);
        exit 1 if !defined $n;
        substr($d, 0, $n) = '';
    }
}

sub number { return defined $_[0] && $_[0] >= 0 ? sprintf('%.0f', $_[0]) : '-' }

# -- the machine

my %file = map { $_ => keep("/proc/$_") }
    qw(stat meminfo loadavg diskstats net/dev pressure/cpu pressure/memory pressure/io pressure/irq);
my ($forks, $disk_lines, $card_lines, @disks, @majors, @cards) = (-1, -1, -1);

sub processors {
    my $d = again($file{stat}, 262144);
    my @w = split ' ', substr($d, 0, index($d, "\n"));
    my @out = map { defined $w[$_] ? $w[$_] * $tick : '-' } 1 .. 8;
    my ($load) = split / /, again($file{loadavg}, 128);
    $forks = $d =~ /^processes (\d+)/m ? $1 : -1;
    my ($running, $blocked) = $d =~ /^procs_running (\d+)\nprocs_blocked (\d+)/m;
    return (@out, length $load ? $load : '-', $running // '-', $blocked // '-');
}

sub stalls {
    my $d = $_[0];
    my ($some) = $d =~ /^some .*total=(\d+)/m;
    my ($full) = $d =~ /^full .*total=(\d+)/m;
    return ($some // '-', $full // '-');
}

sub sizes {
    my %m;
    my $d = again($file{meminfo}, 8192);
    for (qw(MemTotal MemFree MemAvailable Buffers Cached SwapTotal SwapFree Dirty Writeback Shmem SReclaimable)) {
        my $at = index($d, "$_:");
        # "Cached:" is the end of "SwapCached:", too, but that comes later.
        $m{$_} = (substr($d, $at + 1 + length, 24) + 0) * 1024 if $at >= 0;
    }
    return ('-') x 6 if !$m{MemTotal};
    my $free = $m{MemAvailable} // $m{MemFree} + $m{Buffers} + $m{Cached};
    my $cache = $m{Cached} + $m{Buffers} + $m{SReclaimable} - $m{Shmem};
    return map { number($_) } $m{MemTotal}, $m{MemTotal} - $free, $cache < 0 ? 0 : $cache, $m{Dirty} + $m{Writeback},
        $m{SwapTotal} // -1, defined $m{SwapFree} ? $m{SwapTotal} - $m{SwapFree} : -1;
}

sub io {
    my $d = records($file{diskstats});
    return ('-') x 5 if !length $d;
    if (($d =~ tr/\n//) != $disk_lines) {
        $disk_lines = $d =~ tr/\n//;
        @disks = @majors = ();
        for (split /\n/, $d) {
            my ($major, $minor, $name) = split ' ';
            next if $name =~ /^(loop|ram|zram|dm-|md|sr|fd|nbd)/;
            (my $folder = $name) =~ tr#/#!#;
            next if !-e "/sys/block/$folder";
            push @disks, " $name ";
            push @majors, "$major:$minor";
        }
    }
    my @sum = (0) x 5;
    for (@disks) {
        my $at = index($d, $_);
        $disk_lines = -1, next if $at < 0;
        my @w = split ' ', substr($d, $at + length, 200);
        $sum[0] += $w[0]; $sum[1] += $w[2] * 512; $sum[2] += $w[4]; $sum[3] += $w[6] * 512; $sum[4] += $w[9] * 1000;
    }
    return map { number($_) } @sum;
}

sub traffic {
    my $d = records($file{'net/dev'});
    return ('-') x 6 if !length $d;
    if (($d =~ tr/\n//) != $card_lines) {
        $card_lines = $d =~ tr/\n//;
        my (@real, @other);
        while ($d =~ /^( *(\S+?):)/mg) {
            push @{ -e "/sys/class/net/$2/device" ? \@real : \@other }, "\n$1" if $2 ne 'lo';
        }
        @cards = @real ? @real : @other;
    }
    my @sum = (0) x 6;
    for (@cards) {
        my $at = index($d, $_);
        $card_lines = -1, next if $at < 0;
        my @w = split ' ', substr($d, $at + length, 300);
        my $i = 0;
        $sum[$i++] += $w[$_] for 0, 1, 3, 8, 9, 11;
    }
    return map { number($_) } @sum;
}

sub machine {
    my @out = processors();
    my @psi = map { stalls(again($file{"pressure/$_"}, 512)) } qw(cpu memory io irq);
    return (@out, @psi[0 .. 5, 7], sizes(), io(), traffic());
}

# -- processes: files kept open, and nothing read twice of what did not run

my $precise = slurp('/proc/self/schedstat', 40) =~ /^[1-9]/;
my $knows_children = -e "/proc/$$/task/$$/children";

sub process {
    my $p = $_[0];
    return { pid => $p, cpu => 0, ended => 0, threads => 1, measured => -1e9, base => 0, exact => 0,
        stat => keep("/proc/$p/stat"), sched => $precise ? keep("/proc/$p/schedstat") : undef };
}

# 1 it ran, 0 it did not, -1 it is gone
sub look {
    my $p = $_[0];
    my $ran = again($p->{sched}, 100);
    return 0 if length $ran && $p->{threads} == 1 && $ran eq $p->{ran};
    my $d = again($p->{stat}, 1024);
    my @w = split / /, substr($d, rindex($d, ')') + 2, 600), 23;
    return -1 if @w < 22;
    ($p->{ran}, $p->{state}, $p->{threads}, $p->{start}) = ($ran, @w[0, 17, 19]);
    my $own = ($w[11] + $w[12]) * $tick;
    my $exact = int($ran / 1000);
    for ($own, $exact) { $p->{cpu} = $_ if $_ > $p->{cpu} }
    ($p->{ended}, $p->{resident}) = (($w[13] + $w[14]) * $tick, $w[21] * $page);
    return 1;
}

sub memory {
    my ($p, $now) = @_;
    my $size = $p->{resident};
    return $size if $size <= 0 || $size >= 536870912;
    my ($moved, $slack) = (abs($size - $p->{base}), $p->{base} / 8);
    if ($moved > ($slack > 4194304 ? $slack : 4194304) || $now - $p->{measured} > 60) {
        $p->{exact} = slurp("/proc/$p->{pid}/smaps_rollup") =~ /^Pss: +(\d+)/m ? $1 * 1024 : $size;
        ($p->{base}, $p->{measured}) = ($size, $now - $p->{pid} % 16);
    }
    my $share = $p->{exact} + $size - $p->{base};
    return $share > 0 ? $share : 0;
}

sub children {
    my ($p, $parents) = @_;
    return @{ $parents->{ $p->{pid} } || [] } if $parents;
    my @tasks = $p->{threads} > 1 ? map { m{(\d+)$} } glob("/proc/$p->{pid}/task/*") : $p->{pid};
    return map { split ' ', slurp("/proc/$p->{pid}/task/$_/children") } @tasks;
}

sub walk {
    my $t = $_[0];
    my ($old, %found, $parents) = ($t->{all}, $t->{root} => $t->{all}{ $t->{root} });
    if (!$knows_children) {
        slurp($_) =~ /^(\d+) .*\) \S (\d+)/s && push @{ $parents->{$2} }, $1 for glob('/proc/[0-9]*/stat');
    }
    my @new = $t->{root};
    while (@new && keys %found < 20000) {
        my @below;
        for my $pid (@new) {
            for my $child (children($found{$pid}, $parents)) {
                next if $found{$child};
                look($found{$child} = process($child)) if !($found{$child} = $old->{$child});
                push @below, $child;
            }
        }
        @new = @below;
    }
    $t->{all} = \%found;
}

sub plant { my ($pid, $count) = @_; return { root => $pid, count => $count, all => { $pid => process($pid) },
    lost => 0, last => 0, walked => -1e9, forks => -2, stale => 1 } }

sub look_all {
    my ($t, $now) = @_;
    my $ran = 0;
    for my $pid (keys %{ $t->{all} }) {
        my $got = look($t->{all}{$pid});
        return -1 if $got < 0 && $pid == $t->{root};
        delete $t->{all}{$pid} if $got < 0;
        $ran = 1 if $got;
    }
    $t->{stale} ||= $ran;
    if ($t->{stale} && ($forks != $t->{forks} || $forks < 0) && $now - $t->{walked} >= $patience) {
        walk($t);
        ($t->{walked}, $t->{forks}, $t->{stale}, $ran) = ($now, $forks, 0, 1);
    }
    return $ran;
}

sub total {
    my ($t, $now) = @_;
    my ($cpu, $memory) = ($t->{lost}, 0);
    while (my ($pid, $p) = each %{ $t->{all} }) {
        $cpu += $p->{ended};
        if ($p->{state} =~ /[ZX]/) { $cpu += $p->{cpu} }
        elsif ($pid != $t->{root} || $t->{count}) { $cpu += $p->{cpu}; $memory += memory($p, $now) }
    }
    $t->{lost} += $t->{last} - $cpu if $cpu < $t->{last} - 50000;
    $t->{last} = $cpu if $cpu > $t->{last};
    return ($t->{last}, $memory);
}

my $whole = $tree ? plant($tree, 0) : undef;

sub subtree {
    my $now = now();
    return ('-') x 35 if look_all($whole, $now) < 0;
    my ($cpu, $memory) = total($whole, $now);
    return (number($cpu), 0, 0, '-', '-', 0, 0, 0, ('-') x 11, number($memory), ('-') x 15);
}

# -- control groups

my (%roots, $v1);
for (split /\n/, slurp('/proc/self/mounts', 1 << 20)) {
    my (undef, $path, $type, $options) = split / /;
    if ($type eq 'cgroup2') { $roots{''} ||= $path }
    elsif ($type eq 'cgroup') { $roots{$_} ||= $path for split /,/, $options }
}
$v1 = grep { $roots{$_} } qw(memory cpuacct cpu);

sub slice {
    (my $escaped = $fleet) =~ s/-/\\x2d/g;
    my $user = "/user.slice/user-$<.slice/user\@$<.service";
    for my $base ('', $user) {
        for my $chain ("/sidestep.slice/sidestep-$escaped.slice", "/sidestep-$escaped.slice") {
            for ('', 'name=systemd', 'cpuacct', 'memory') {
                return ("$base$chain", $roots{$_}) if defined $roots{$_} && -d "$roots{$_}$base$chain";
            }
        }
    }
    return;
}

sub group {
    my $path = $_[0];
    my %g = (path => $path);
    my $unified = defined $roots{''} ? "$roots{''}$path" : '/nowhere';
    my $used = slurp("$unified/cgroup.events") =~ /^populated 1/m;
    if ($used || !$v1) {
        @g{qw(cpu psi)} = (keep("$unified/cpu.stat"), keep("$unified/cpu.pressure"));
        $g{events} = "$unified/cgroup.events";
    }
    $g{usage} = keep("$roots{cpuacct}$path/cpuacct.usage") if !$g{cpu};
    $g{held} = keep("$roots{cpu}$path/cpu.stat") if $v1;
    ($g{memory}, $g{cache}) = (keep("$unified/memory.current"), "$unified/memory.stat");
    ($g{memory}, $g{cache}) = (keep("$roots{memory}$path/memory.usage_in_bytes"), "$roots{memory}$path/memory.stat")
        if !$g{memory};
    $g{io} = keep("$unified/io.stat") || keep("$roots{blkio}$path/blkio.throttle.io_service_bytes");
    $g{members} = [map { defined $roots{$_} ? "$roots{$_}$path/cgroup.procs" : () } '', 'name=systemd', 'cpuacct', 'memory'];
    return \%g;
}

sub group_words {
    my ($g, $s) = @_;
    my $d = again($g->{cpu} || $g->{usage}, 1024);
    return if !length $d;
    return $g->{words} if $d eq $g->{before} && $g->{idle}++ % 10;
    $g->{idle} = 0 if $d ne $g->{before};
    $g->{before} = $d;
    if ($g->{count}-- <= 0 || $g->{idle}) {
        $g->{count} = 10;
        ($g->{pid}) = map { slurp($_) =~ /^(\d+)/ ? $1 : () } @{ $g->{members} };
        $g->{frozen} = $g->{events} && slurp($g->{events}) =~ /^frozen 1/m;
        my $key = $v1 ? 'total_inactive_file' : 'inactive_file';
        $g->{inactive} = slurp($g->{cache}) =~ /^$key (\d+)/m ? $1 : 0;
    }
    my $cpu = $g->{cpu} ? ($d =~ /^usage_usec (\d+)/m)[0] : int($d / 1000);
    my $held = $g->{held} ? again($g->{held}, 512) : $d;
    my $throttled = $held =~ /^throttled_usec (\d+)/m ? $1 : $held =~ /^throttled_time (\d+)/m ? int($1 / 1000) : -1;
    my $throttles = $held =~ /^nr_throttled (\d+)/m ? $1 : -1;
    my $memory = again($g->{memory}, 40);
    my @moved = $g->{io} ? (0, 0) : (-1, -1);
    for (split /\n/, again($g->{io}, 8192)) {
        my ($device) = split / /;
        next if @majors && !grep { $_ eq $device } @majors;
        $moved[0] += $1 if /rbytes=(\d+)/ || / Read (\d+)/;
        $moved[1] += $1 if /wbytes=(\d+)/ || / Write (\d+)/;
    }
    my ($psi) = stalls(again($g->{psi}, 256));
    my $pid = $s->{pid} && $g->{pid} ? $s->{pid} : $g->{pid} + 0;
    return $g->{words} = join ' ', $pid, $s->{token} + 0, $g->{pid} && !$g->{frozen} ? 1 : 0, number($cpu),
        length $memory ? number($memory > $g->{inactive} ? $memory - $g->{inactive} : 0) : '-',
        map({ number($_) } $throttled, $throttles, @moved), $psi;
}

# -- shards

my (%shards, @names, $listed_at, $root_changed, $slice_path, $slice_folder, $links, $seen_forks);
($listed_at, $seen_forks) = (-1e9, -2);

sub is_name { return $_[0] =~ /^[A-Za-z0-9._-]{1,100}$/ && $_[0] !~ /^\.\.?$/ }

sub find {
    my ($now, $due) = @_;
    my %found;
    if (opendir(my $d, $root)) { $found{$_} = 1 for grep { is_name($_) } readdir $d }
    if ($due) {
        $listed_at = $now;
        ($slice_path, my $mount) = $tree ? () : slice();
        $slice_folder = defined $slice_path ? "$mount$slice_path" : undef;
    }
    if (defined $slice_folder && opendir(my $d, $slice_folder)) {
        $links = (stat $slice_folder)[3];
        for my $leaf (readdir $d) {
            next if $leaf !~ /^(.+)\.(service|scope)$/;
            (my $name = $1) =~ s/\\x([0-9a-f]{2})/chr hex $1/ge;
            next if !is_name($name);
            $found{$name} = 1;
            my $s = $shards{$name} ||= { name => $name };
            my $path = "$slice_path/$leaf";
            $s->{group} = group($path) if !$s->{group} || $s->{group}{path} ne $path;
        }
    }
    $shards{$_} ||= { name => $_ } for keys %found;
    delete $shards{$_} for grep { !$found{$_} } keys %shards;
}

sub read_pid {
    my $s = $_[0];
    my $path = "$root/$s->{name}/pid";
    my @facts = stat $path;
    if (!@facts) { delete @$s{qw(changed tree words pid)}; return }
    my $d = slurp($path, 500);
    # Times are whole seconds here: what the file says tells it from the one before.
    my $changed = "$facts[1] $facts[9] $d";
    return if $changed eq $s->{changed};
    delete @$s{qw(tree words pid token)};
    $s->{changed} = $changed;
    my ($pid, $start, $token) = $d =~ /^(\d{1,18}) (\d{1,18}) (\d{1,18})/ or return;
    ($s->{pid}, $s->{token}) = ($pid, $token);
    my $t = plant($pid, 1);
    my $p = $t->{all}{$pid};
    $s->{tree} = $t if look($p) > 0 && $p->{start} == $start && $p->{state} !~ /[ZX]/;
}

sub refresh {
    my $now = $_[0];
    my $quiet = $forks == $seen_forks && $forks >= 0;
    $seen_forks = $forks;
    my $due = $now - $listed_at >= $rarely;
    my @folder = stat $root;
    # Folders made within the same second have the same time.
    my $changed = @folder ? (time() - $folder[9] < 2 ? "$folder[9] $now" : "$folder[9] $folder[3]") : '';
    my $fresh = $due || $changed ne $root_changed || defined $slice_folder && (stat $slice_folder)[3] != $links;
    if ($fresh) { find($now, $due); $root_changed = $changed }
    if ($fresh || !$quiet) {
        for (values %shards) { read_pid($_) if $due || !$_->{tree} && !$_->{group} }
        my @here = sort grep { length $shards{$_}{changed} || $shards{$_}{group} } keys %shards;
        @names = @here > 4096 ? @here[0 .. 4095] : @here;
    }
}

sub shard_words {
    my ($s, $now) = @_;
    if ($s->{group}) {
        my $words = group_words($s->{group}, $s);
        return $words if defined $words;
        delete $s->{group};
    }
    if (my $t = $s->{tree}) {
        my $ran = look_all($t, $now);
        return $s->{words} if $ran == 0 && $s->{words};
        my $p = $t->{all}{ $t->{root} };
        if ($ran >= 0 && $p->{state} !~ /[ZX]/) {
            my ($cpu, $memory) = total($t, $now);
            return $s->{words} = join ' ', $t->{root}, $s->{token}, $p->{state} =~ /[Tt]/ ? 0 : 1, number($cpu),
                number($memory), '- - - - -';
        }
        delete @$s{qw(tree words)};
    }
    return '0 ' . ($s->{token} + 0) . ' 0 - - - - - - -';
}

# -- facts

sub facts {
    my $cores = ($_ = slurp('/proc/self/status')) =~ /^Cpus_allowed_list:\s*(\S+)/m ? 0 : 1;
    for (split /,/, $1) { my ($a, $b) = split /-/; $cores += defined $b ? $b - $a + 1 : 1 }
    my ($memory) = slurp('/proc/meminfo') =~ /^MemTotal: +(\d+)/;
    $memory *= 1024;
    for (split /\n/, slurp('/proc/self/cgroup')) {
        my (undef, $controllers, $path) = split /:/, $_, 3;
        for my $controller (length $controllers ? split(/,/, $controllers) : '') {
            next if !defined $roots{$controller} || !-d "$roots{$controller}$path";
            for (my $p = $path; ; $p =~ s#/[^/]*$##) {
                my $folder = "$roots{$controller}$p";
                my ($quota, $period) = split ' ', slurp("$folder/cpu.max");
                if ($controller eq 'cpu') { ($quota, $period) = map { slurp("$folder/cpu.cfs_${_}_us") + 0 } qw(quota period) }
                $cores = $quota / $period if $quota > 0 && $period > 0 && $quota / $period < $cores;
                my $limit = slurp("$folder/memory.max") . ($controller eq 'memory' ? slurp("$folder/memory.limit_in_bytes") : '');
                $memory = $limit + 0 if $limit =~ /^\d+/ && $limit > 0 && $limit < $memory;
                last if $p !~ m#/.#;
            }
        }
    }
    my $layout = defined $roots{''} ? ($v1 ? 'hybrid' : 'v2') : $v1 ? 'v1' : 'none';
    my $bare = defined $roots{''} && -e "$roots{''}/cgroup.type"
        || defined $roots{memory} && !-e "$roots{memory}/release_agent";
    my $container = slurp('/proc/self/mounts', 1 << 20) =~ m#^\S+ /proc/(stat|meminfo) fuse\.lxcfs #m ? 'lxcfs' : $bare ? 'bare' : 'none';
    my $os = slurp('/etc/os-release') =~ /^ID="?([\w.-]{1,40})/m ? " os=$1" : '';
    ($cores = sprintf '%.3f', $cores) =~ s/\.?0+$//;
    return "cpus=$cores memory=$memory cgroup=$layout container=$container psi=" . ($file{'pressure/cpu'} ? 'yes' : 'no')
        . $os . ($tree ? " tree=$tree" : '');
}

# -- what the other end says, and the whole

my ($lease, $pending, $due, $parent, $seq, $known, $told, $told_at) = (60, '', now(), getppid(), 0, undef, '', -1e9);

sub renew { alarm($lease < 1 ? 1 : int($lease + 0.999)) }

sub hear {
    my $got = sysread(STDIN, my $d, 4096);
    exit 0 if !$got;
    my @lines = split /\n/, $pending . $d, -1;
    $pending = pop @lines;
    for (@lines) {
        exit 0 if /^q/;
        if (/^i(\d+)/) { $interval = $1 < 50 ? 0.05 : $1 / 1e3; my $n = now() + $interval; $due = $n if $n < $due }
        elsif (/^l([\d.]+)/) { $lease = $1 }
        elsif (/^n/) { $due = now() }
    }
    renew();
}

sub pause {
    while (1) {
        my $now = now();
        if ($now >= $due) {
            $due = $now - $due < $interval ? $due + $interval : $now + $interval;
            exit 0 if getppid() != $parent;
            return $now;
        }
        my $in = '';
        vec($in, 0, 1) = 1;
        my $left = $due - $now;
        if (select($in, undef, undef, $left > 5 ? 5 : $left) > 0) { hear() }
        elsif (getppid() != $parent) { exit 0 }
    }
}

$SIG{PIPE} = sub { exit 1 };
renew();
my $boot = slurp('/proc/sys/kernel/random/boot_id', 8);
chomp(my $kernel = slurp('/proc/sys/kernel/osrelease'));
say_all("H2 $$ $kernel $clk perl " . ($boot =~ /^[0-9a-f]{8}$/ ? $boot : '-') . "\n");
my $main = sub {
    while (1) {
        my $now = pause();
        if ($now - $told_at >= 60) {
            $told_at = $now;
            my $facts = facts();
            say_all("F $facts\n") if $facts ne $told;
            $told = $facts;
        }
        my @out = $tree ? subtree() : machine();
        $forks = -1 if $tree;
        push @out, sprintf '%.0f', ($fine ? Time::HiRes::time() : time()) * 1e3;
        refresh($now);
        my $names = join(',', @names);
        say_all('K 36 10 ' . (length $names ? $names : '-') . "\n") if !defined $known || $known ne $names;
        $known = $names;
        push @out, shard_words($shards{$_}, $now) for @names;
        say_all(sprintf("V %d %.0f ", ++$seq, now() * 1e3) . join(' ', @out) . "\n");
    }
};
eval { $main->(); 1 } or do {
    (my $why = $@) =~ s/[^ -~]+/ /g;
    say_all('E failed ' . substr($why, 0, 400) . "\n");
    exit 1;
};
