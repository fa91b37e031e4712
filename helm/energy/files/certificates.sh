#!/bin/sh
# Signs certificates for CockroachDB's nodes and for its three clients, into /signed (memory). The authority's key is taken
# from /authority when an earlier run has made it. What becomes of the files is kube.py's business.
#   certificates.sh DAYS AUTHORITY_DAYS STEP HOST...
# STEP replaces the authority while everybody goes on trusting everybody, one step per rollout of the nodes:
#   ""      sign with the authority that is there
#   trust   make the next one; sign with the old, trust both
#   switch  sign with the next one, trust both
#   finish  the next one is the authority, and the only one that is trusted
set -eu
days=$1 authority_days=$2 step=$3
shift 3

cert() { /cockroach/cockroach cert "$@"; }
authority=/signed/ca

mkdir -p "$authority"
if [ -s /authority/ca.key ]; then
  for file in ca.crt ca.key next.crt next.key; do
    # Not cp: it would keep the Secret's read-only mode, and what is copied on from here is written to.
    if [ -s "/authority/$file" ]; then cat "/authority/$file" > "$authority/$file"; fi
  done
  chmod 0600 "$authority"/*.key
else
  cert create-ca --certs-dir="$authority" --ca-key="$authority/ca.key" --lifetime="$((authority_days * 24))h"
fi

signer=ca
case $step in
  trust)
    if [ ! -s "$authority/next.key" ]; then
      mkdir /tmp/next
      cert create-ca --certs-dir=/tmp/next --ca-key="$authority/next.key" --lifetime="$((authority_days * 24))h"
      mv /tmp/next/ca.crt "$authority/next.crt"
    fi
    ;;
  switch)
    if [ ! -s "$authority/next.key" ]; then
      echo "certificates.sh: there is no next authority to switch to: step \`trust\` first" >&2
      exit 1
    fi
    signer=next
    ;;
  finish)
    if [ -s "$authority/next.key" ]; then
      mv "$authority/next.crt" "$authority/ca.crt"
      mv "$authority/next.key" "$authority/ca.key"
    fi
    ;;
esac

sign() { # sign PARTY FILE COMMAND ARGUMENTS...: leaves ca.crt, tls.crt and tls.key in /signed/PARTY
  party=$1 file=$2
  shift 2
  mkdir -p "/signed/$party"
  cp "$authority/$signer.crt" "/signed/$party/ca.crt"
  cert "$@" --certs-dir="/signed/$party" --ca-key="$authority/$signer.key" --lifetime="$((days * 24))h"
  cat "$authority"/*.crt > "/signed/$party/ca.crt"
  mv "/signed/$party/$file.crt" "/signed/$party/tls.crt"
  mv "/signed/$party/$file.key" "/signed/$party/tls.key"
}

sign node node create-node "$@"
sign root client.root create-client root
sign owner client.energy_owner create-client energy_owner
sign app client.energy create-client energy
