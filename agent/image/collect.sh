#!/bin/sh
# collect.sh OUT PROGRAM...: the programs, every library they load, and what node's and OpenSSL's Debian builds open by name, as a root file system.
set -eu
OUT=$1
shift
mkdir -p "$OUT"/usr/bin "$OUT"/usr/sbin "$OUT"/usr/lib "$OUT"/usr/lib64 "$OUT"/etc "$OUT"/proc "$OUT"/sys "$OUT"/dev "$OUT"/run "$OUT"/tmp
chmod 1777 "$OUT"/tmp
for folder in bin sbin lib lib64; do ln -sfn "usr/$folder" "$OUT/$folder"; done

# One place for a file, however it was named: everything of a merged-/usr system is below /usr.
place() {
    case $1 in /lib/* | /lib64/* | /bin/* | /sbin/*) target=$OUT/usr$1 ;; *) target=$OUT$1 ;; esac
    [ -e "$target" ] || { mkdir -p "${target%/*}" && cp -pL "$1" "$target"; }
}

for program in "$@"; do
    path=$(command -v "$program")
    place "$path"
    for library in $(ldd "$path" | awk '/=> \//{print $3} $1 ~ /^\//{print $1}'); do place "$library"; done
    if [ "$program" = node ]; then
        # Debian's node keeps some of its built-in modules as files.
        for module in $(grep -aohE '/usr/share/nodejs/[A-Za-z0-9_./-]+\.js' /lib/*/libnode.so.* "$path" | sort -u); do
            [ ! -e "$module" ] || place "$module"
        done
    fi
done

# Empty since glibc 2.34, but native modules built for older ones name them.
for library in libdl.so.2 libpthread.so.0 librt.so.1; do
    for path in /lib/*-linux-gnu/"$library"; do place "$path"; done
done

place /etc/ssl/openssl.cnf
place /etc/ssl/certs/ca-certificates.crt
mkdir -p "$OUT"/usr/lib/ssl
ln -sfn /etc/ssl/openssl.cnf "$OUT"/usr/lib/ssl/openssl.cnf
ln -sfn /etc/ssl/certs/ca-certificates.crt "$OUT"/usr/lib/ssl/cert.pem
printf 'root:x:0:0::/:/usr/bin/false\nnobody:x:65534:65534::/:/usr/bin/false\n' >"$OUT"/etc/passwd
printf 'root:x:0:\nnogroup:x:65534:\n' >"$OUT"/etc/group
printf 'hosts: files dns\n' >"$OUT"/etc/nsswitch.conf
