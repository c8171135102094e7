#!/bin/sh
# The kernel's compiler, with a cache. ccache goes by the dependencies that the compiler reports
# and does not look at what the preprocessor makes of a source. So it does not know of a file that
# is included by .incbin, and would return an object with what that file once was.
for source; do :; done # the last argument
case $source in
*.[cS]) if grep -qs '\.incbin' "$source"; then exec gcc "$@"; fi ;;
esac
exec ccache gcc "$@"
