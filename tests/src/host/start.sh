# Run by `unshare` in fresh namespaces: makes the overlay this machine's root and stays as its first process.
# Arguments: the tree, a folder to mount on, the host's name, the size of its disk.
set -eu
tree=$1 base=$2 name=$3 size=$4

# A tmpfs that only this namespace sees: when its last process is gone, so is everything.
mount -t tmpfs -o "mode=755,size=$size" signet-host "$base"
mkdir "$base/upper" "$base/work" "$base/root"
mount -t overlay -o "lowerdir=$tree,upperdir=$base/upper,workdir=$base/work" signet-host "$base/root"
cd "$base/root"

mount -t proc proc proc
mount -t tmpfs -o mode=755,size=1m dev dev
for device in null zero full random urandom tty; do
  : > "dev/$device"
  mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=755,size=16m run run
mkdir run/sshd run/lock
hostname "$name"

# This process's number as the tests see it: the old /proc is still there.
read -r process _ < /proc/self/stat
mkdir .old
pivot_root . .old
umount -l .old
rmdir .old

# bash reaps what its dead leave behind, as a first process must. The tests hold the other end of its standard input:
# when they end, however they end, it ends, and with it every process in here.
exec chroot . /bin/bash -c "trap : CHLD; echo $process; read -r _"
