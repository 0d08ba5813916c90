#!/bin/sh
# musl.sh OUT_DIR: the C library musl in place of glibc: OUT_DIR/bin/eml-musl-cc, a compiler for it, and OUT_DIR/lib and include with the four
# libraries that the enclave links, from Debian's sources. Nothing is done when OUT_DIR holds them.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
exec 9>"$out/lock"
flock 9 # who comes second finds it done
"$here/../setup-debian.sh" musl-tools linux-libc-dev gperf perl autoconf automake libtool
stamp="$(dpkg-query -W -f='${Version} ' musl-tools gcc) $(sha256sum <"$here/musl.sh" | cut -c1-64)"
if [ "$(cat "$out/stamp" 2>/dev/null)" = "$stamp" ]; then
    exit 0
fi
echo "musl: building OpenSSL, libsodium, jansson and libseccomp in $out (some minutes; kept for later)" >&2
(cd "$out" && rm -rf src bin lib include stamp)
mkdir -p "$out/src" "$out/bin" "$out/include"

# Debian's musl-gcc cannot link a static program at a random address; this can. The kernel's headers are libc's neighbours. (OpenSSL
# keeps the name and the flags of its compiler, so that the folder stands in neither.)
musl=/usr/lib/x86_64-linux-musl
sed -e "s|^%{!shared: $musl/Scrt1.o}|%{static-pie:$musl/rcrt1.o;!shared:$musl/Scrt1.o}|" \
    -e 's|^-dynamic-linker /lib/ld-musl-x86_64.so.1|%{static-pie:-static -pie --no-dynamic-linker -z text;:&}|' \
    "$musl/musl-gcc.specs" >"$out/bin/specs"
[ "$(grep -c -e rcrt1 -e no-dynamic-linker "$out/bin/specs")" = 2 ] || { echo 'musl: unknown specs' >&2; exit 1; }
printf '#!/bin/sh\nexec gcc "$@" -idirafter "%s/include" -specs "%s/bin/specs" -ffile-prefix-map="%s=."\n' "$out" "$out" "$out" \
    >"$out/bin/eml-musl-cc"
chmod +x "$out/bin/eml-musl-cc"
ln -s /usr/include/linux /usr/include/asm-generic "$out/include/"
ln -s /usr/include/x86_64-linux-gnu/asm "$out/include/asm"

for package in openssl libsodium jansson libseccomp; do
    "$here/../debian-source.sh" $package "$out/src"
    sed -n 's/^Version: //p' "$out/src/fetched/$package"_*.dsc >"$out/$package.version"
done
export CC=eml-musl-cc CFLAGS="-O2 -fPIC -fstack-protector-strong -fcf-protection=full" LC_ALL=C TZ=UTC SOURCE_DATE_EPOCH=0
export PATH="$out/bin:$PATH"
run() { # COMMAND...: its output only if it fails
    "$@" >"$out/build.log" 2>&1 || {
        tail -30 "$out/build.log" >&2
        exit 1
    }
}
cd "$out/src/openssl"
run ./Configure linux-x86_64 --prefix=/usr --openssldir=/nonexistent --libdir=lib no-shared no-tests no-apps no-module no-dso no-engine \
    no-legacy no-afalgeng no-docs
run nice -n 10 make -j"$(nproc)" build_libs
run make install_dev DESTDIR="$out/openssl"
cd "$out/src/libsodium"
run autoreconf -fi
run ./configure --prefix=/usr --host=x86_64-linux-musl --disable-shared --enable-static
run make -C src -j"$(nproc)"
run make -C src install DESTDIR="$out/libsodium"
cd "$out/src/jansson"
run cmake -G Ninja -B build -DCMAKE_C_COMPILER="$CC" -DCMAKE_C_COMPILER_LAUNCHER= -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=/usr \
    -DCMAKE_INSTALL_LIBDIR=lib -DJANSSON_BUILD_DOCS=OFF -DJANSSON_WITHOUT_TESTS=ON -DJANSSON_EXAMPLES=OFF
run env DESTDIR="$out/jansson" cmake --build build --target install
cd "$out/src/libseccomp"
run ./configure --prefix=/usr --host=x86_64-linux-musl --disable-shared --enable-static
run make -C src -j"$(nproc)"
run make -C src install DESTDIR="$out/libseccomp"
mkdir "$out/lib"
cp "$out"/openssl/usr/lib/*.a "$out"/libsodium/usr/lib/*.a "$out"/jansson/usr/lib/*.a "$out"/libseccomp/usr/lib/*.a "$out/lib/"
cp -R "$out/openssl/usr/include/openssl" "$out"/jansson/usr/include/*.h "$out/include/"
cp -R "$out"/libsodium/usr/include/sodium* "$out/include/"
cp "$out"/src/libseccomp/include/seccomp*.h "$out/include/"
rm -rf "$out/src" "$out/openssl" "$out/libsodium" "$out/jansson" "$out/libseccomp"
(
    cd "$out"
    for package in openssl libsodium jansson libseccomp; do
        printf '{"name": "%s", "version": "%s"}\n' $package "$(cat $package.version)"
        rm $package.version
    done
) >"$out/packages.json"
echo "$stamp" >"$out/stamp"
