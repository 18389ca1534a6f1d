#!/bin/sh
# patch-loader.sh ROOT: gives an agent root what it needs to run its programs inside the application's mount namespace:
#   /usr/lib/podferry/loader      a copy of the dynamic loader that finds nothing in the application's root
#   /usr/lib/podferry/lib         the agent's libraries, the same path on every architecture
#   /usr/lib/podferry/no-plugins  an empty folder for `criu --libdir`
# A stock loader reads /etc/ld.so.preload and /etc/ld.so.cache and falls back to the system's library folders. In the application's root
# these are the application's to write, and would be executed with the agent's power. The copy names paths of the same length
# below /proc and /sys instead, where nothing can be created.
set -eu
ROOT=$1
cd "$ROOT"
loader=$(ls usr/lib64/ld-linux-x86-64.so.2 usr/lib/ld-linux-aarch64.so.1 2>/dev/null | head -n 1)
libc=$(ls usr/lib/*/libc.so.6 2>/dev/null | head -n 1)
[ -n "$loader" ] && [ -n "$libc" ] || { echo "patch-loader: no C library in $ROOT" >&2; exit 1; }
mkdir -p usr/lib/podferry/no-plugins
libraries=${libc%/*}
ln -sfn "../${libraries##*/}" usr/lib/podferry/lib
perl -0777 -e '
    use strict;
    open(my $in, "<:raw", $ARGV[0]) or die "cannot read $ARGV[0]: $!\n";
    my $image = <$in>;
    my $size = length $image;
    my $harmless = sub {
        my ($path) = @_;
        return "/sys/" if $path eq "/lib/";
        return "/proc/no/" if $path eq "/usr/lib/";
        return "/proc/none/" . ("x" x (length($path) - 12)) . "/" if $path =~ m{/$};
        return "/proc/none/" . ("x" x (length($path) - 11));
    };
    $image =~ s{/etc/ld\.so\.preload\0}{$harmless->("/etc/ld.so.preload") . "\0"}ge or die "no preload path in the loader\n";
    $image =~ s{/etc/ld\.so\.cache\0}{$harmless->("/etc/ld.so.cache") . "\0"}ge or die "no cache path in the loader\n";
    $image =~ s{(/lib/[a-z0-9_]+-linux-gnu/)\0(/usr/lib/[a-z0-9_]+-linux-gnu/)\0(/lib/)\0(/usr/lib/)\0}{join("", map { $harmless->($_) . "\0" } $1, $2, $3, $4)}ge
        or die "no library folders in the loader\n";
    my $left = join(" ", $image =~ m{\0((?:/usr)?/lib/[^\0]*|/etc/ld\.so\.[^\0]*)\0}g);
    die "the loader still names $left\n" if $left;
    die "the loader changed its length\n" if length($image) != $size;
    open(my $out, ">:raw", $ARGV[1]) or die "cannot write $ARGV[1]: $!\n";
    print $out $image or die "cannot write $ARGV[1]: $!\n";
    close($out) or die "cannot write $ARGV[1]: $!\n";
' "$loader" usr/lib/podferry/loader
chmod 0755 usr/lib/podferry/loader
