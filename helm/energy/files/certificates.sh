#!/bin/sh
# Signs certificates for CockroachDB's nodes and for its three clients, into /signed (memory). The authority's key is taken
# from /authority when an earlier run has made it. What becomes of the files is kube.py's business.
#   certificates.sh DAYS AUTHORITY_DAYS HOST...
set -eu
days=$1 authority_days=$2
shift 2

cert() { /cockroach/cockroach cert "$@"; }

mkdir -p /signed/ca
if [ -s /authority/ca.key ]; then
  cp /authority/ca.crt /authority/ca.key /signed/ca/
  chmod 0600 /signed/ca/ca.key
else
  cert create-ca --certs-dir=/signed/ca --ca-key=/signed/ca/ca.key --lifetime="$((authority_days * 24))h"
fi

sign() { # sign PARTY FILE COMMAND ARGUMENTS...: leaves ca.crt, tls.crt and tls.key in /signed/PARTY
  party=$1 file=$2
  shift 2
  mkdir -p "/signed/$party"
  cp /signed/ca/ca.crt "/signed/$party/"
  cert "$@" --certs-dir="/signed/$party" --ca-key=/signed/ca/ca.key --lifetime="$((days * 24))h"
  mv "/signed/$party/$file.crt" "/signed/$party/tls.crt"
  mv "/signed/$party/$file.key" "/signed/$party/tls.key"
}

sign node node create-node "$@"
sign root client.root create-client root
sign owner client.energy_owner create-client energy_owner
sign app client.energy create-client energy
