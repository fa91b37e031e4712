#!/bin/sh
# Signs certificates for CockroachDB's nodes and for its three clients, into /work (memory). The authority's key is taken
# from /authority when an earlier run has made it. What becomes of the files is kube.py's business.
#   certificates.sh DAYS AUTHORITY_DAYS HOST...
set -eu
days=$1 authority_days=$2
shift 2

cert() { /cockroach/cockroach cert "$@"; }

mkdir -p /work/ca
if [ -s /authority/ca.key ]; then
  cp /authority/ca.crt /authority/ca.key /work/ca/
  chmod 0600 /work/ca/ca.key
else
  cert create-ca --certs-dir=/work/ca --ca-key=/work/ca/ca.key --lifetime="$((authority_days * 24))h"
fi

sign() { # sign PARTY FILE COMMAND ARGUMENTS...: leaves ca.crt, tls.crt and tls.key in /work/PARTY
  party=$1 file=$2
  shift 2
  mkdir -p "/work/$party"
  cp /work/ca/ca.crt "/work/$party/"
  cert "$@" --certs-dir="/work/$party" --ca-key=/work/ca/ca.key --lifetime="$((days * 24))h"
  mv "/work/$party/$file.crt" "/work/$party/tls.crt"
  mv "/work/$party/$file.key" "/work/$party/tls.key"
}

sign node node create-node "$@"
sign root client.root create-client root
sign owner client.energy_owner create-client energy_owner
sign app client.energy create-client energy
