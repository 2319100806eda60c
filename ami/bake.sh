#!/bin/sh
# Makes this machine trust the authority: puts `signet` and its systemd units in place and runs `signet host bake`, which
# proves what it did and puts everything back on any doubt. Packer, cloud-init and the Ansible role all come here.
#
#   bake.sh [-image] FOLDER [FLAGS OF `signet host bake`, such as -address=https://ca.example.com:8200 -tags=web]
#
# FOLDER holds what you trust, brought over a way that you trust:
#   signet             the client for hosts, linked statically (cargo xtask host-binary)
#   trust-bundle       GET /v1/MOUNT/trust-bundle
#   bundle_keys.pub    GET /v1/MOUNT/trust-bundle/public_key, compared with the operator's copy
#   breakglass         the break-glass document (signet breakglass new)
#   ca_cert.pem        the roots to believe for the authority's TLS, where the system's own do not do
#
# With -image this machine is about to become an image: host keys, every authorized_keys, histories, cloud-init's state and
# FOLDER are removed. The bill of trust is left at /usr/local/share/signet/bill-of-trust.json.
set -eu
umask 022

usage() {
  echo "usage: bake.sh [-image] FOLDER [FLAGS]" >&2
  exit 2
}

image=
if [ "${1-}" = -image ]; then
  image=-image
  shift
fi
[ $# -ge 1 ] || usage
folder=$1
shift
[ "$(id -u)" = 0 ] || {
  echo "bake.sh: this needs root; type: sudo $0 $image $folder" >&2
  exit 1
}
for file in signet trust-bundle bundle_keys.pub breakglass; do
  [ -s "$folder/$file" ] || {
    echo "bake.sh: $folder/$file is missing or empty" >&2
    exit 1
  }
done

# Whatever runs the old binary keeps it until it ends.
install -o root -g root -m 0755 "$folder/signet" /usr/local/bin/signet.new
mv -f /usr/local/bin/signet.new /usr/local/bin/signet

share=/usr/local/share/signet
install -d -o root -g root -m 0755 $share
if [ -s "$folder/ca_cert.pem" ]; then
  install -o root -g root -m 0644 "$folder/ca_cert.pem" $share/ca_cert.pem
  set -- -ca-cert=$share/ca_cert.pem "$@"
fi

/usr/local/bin/signet host bake $image -proof \
  -bundle="$folder/trust-bundle" \
  -bundle-key="$folder/bundle_keys.pub" \
  -breakglass="$folder/breakglass" \
  -bill=$share/bill-of-trust.json \
  "$@"

if [ -n "$image" ]; then
  rm -rf -- "$folder"
fi
