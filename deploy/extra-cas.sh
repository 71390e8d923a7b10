#!/bin/bash
# Prints the certificates that this machine's administrator added to Debian's (PEM); nothing where there are none.
#
#   export CA_CERTIFICATES="$(deploy/extra-cas.sh)"
#   docker build --build-arg CA_CERTIFICATES -f containers/sklearn/Dockerfile -t xebec/sklearn .
#
# For image builds behind a proxy that inspects TLS: pip, inside, has to trust the proxy's authority as this machine
# does. The certificates are used by a build's first stages and are not in the image.
set -euo pipefail
shopt -s nullglob

files=(/usr/local/share/ca-certificates/*.crt)
((${#files[@]} == 0)) || sed -n '/BEGIN CERTIFICATE/,/END CERTIFICATE/p' "${files[@]}" | tr -d '\r'
