# The first steps of a host, as PID 1 of its own namespaces: build its view of the world, then become systemd.
# Arguments: folder of the host, image, layout, the host's cgroup2 folder, lxcfs' folder (may be empty),
# boot id, capabilities to drop.
set -eu
HOST=$1 IMAGE=$2 LAYOUT=$3 UNIFIED=$4 LXCFS=$5 BOOT_ID=$6 DROPPED=$7
NEW=$HOST/root
mount --make-rprivate /
mount -t overlay -o "lowerdir=$IMAGE,upperdir=$HOST/upper,workdir=$HOST/work" overlay "$NEW"

mount -t proc -o nosuid,nodev,noexec proc "$NEW/proc"
# Knobs of the kernel are the whole machine's: systemd would raise some, and anybody could press sysrq.
for path in sys sysrq-trigger irq bus; do
    [ -e "$NEW/proc/$path" ] || continue
    mount --bind "$NEW/proc/$path" "$NEW/proc/$path"
    mount -o remount,bind,ro,nosuid,nodev,noexec "$NEW/proc/$path"
done
printf '%s\n' "$BOOT_ID" >"$HOST/boot_id"
mount --bind "$HOST/boot_id" "$NEW/proc/sys/kernel/random/boot_id"
mount -t sysfs -o nosuid,nodev,noexec,ro sysfs "$NEW/sys"
if [ -n "$LXCFS" ]; then
    for file in "$LXCFS"/proc/*; do
        [ -f "$file" ] && [ -e "$NEW/proc/${file##*/}" ] && mount --bind "$file" "$NEW/proc/${file##*/}"
    done
    [ ! -d "$LXCFS/sys/devices/system/cpu" ] || mount --bind "$LXCFS/sys/devices/system/cpu" "$NEW/sys/devices/system/cpu"
fi
for kind in cpu memory io irq; do
    [ -e "$UNIFIED/$kind.pressure" ] && [ -e "$NEW/proc/pressure/$kind" ] &&
        mount --bind "$UNIFIED/$kind.pressure" "$NEW/proc/pressure/$kind"
done

mount -t tmpfs -o mode=755,size=1m tmpfs "$NEW/dev"
mkdir -p "$NEW/dev/pts" "$NEW/dev/shm" "$NEW/dev/mqueue"
while read -r name major minor; do
    mknod -m 666 "$NEW/dev/$name" c "$major" "$minor"
done <<LIST
null 1 3
zero 1 5
full 1 7
random 1 8
urandom 1 9
tty 5 0
LIST
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts "$NEW/dev/pts"
ln -s pts/ptmx "$NEW/dev/ptmx"
ln -s /proc/self/fd "$NEW/dev/fd"
ln -s fd/0 "$NEW/dev/stdin"
ln -s fd/1 "$NEW/dev/stdout"
ln -s fd/2 "$NEW/dev/stderr"
mount -t tmpfs -o mode=1777 tmpfs "$NEW/dev/shm"
: >"$NEW/dev/console"
mount --bind "$HOST/console" "$NEW/dev/console"
mount -t tmpfs -o mode=755 tmpfs "$NEW/run"
mount -t tmpfs -o mode=1777 tmpfs "$NEW/tmp"

set --
if [ "$LAYOUT" = unified ]; then
    mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$NEW/sys/fs/cgroup"
else
    mount -t tmpfs -o mode=755,size=1m tmpfs "$NEW/sys/fs/cgroup"
    for folder in /sys/fs/cgroup/*/; do
        name=$(basename "$folder")
        case $name in
        unified) type=cgroup2 options=nosuid ;;
        systemd) type=cgroup options=none,name=systemd ;;
        *) type=cgroup options=$name ;;
        esac
        mkdir "$NEW/sys/fs/cgroup/$name"
        mount -t "$type" -o "nosuid,nodev,noexec,$options" cgroup "$NEW/sys/fs/cgroup/$name"
    done
    # Newer systemd wants to be asked twice for this layout.
    set -- SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1
fi
hostname "$(cat "$NEW/etc/hostname")"

cd "$NEW"
mkdir -p .machine
pivot_root . .machine
cd /
umount -l /.machine
rmdir /.machine
# Root here is root of the machine, so it must not be able to set the clock, load modules or touch hardware.
exec env -i container=sidestep PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    setpriv --bounding-set="$DROPPED" --inh-caps=-all \
    /sbin/init "$@" --log-level=warning --log-target=console --show-status=no
