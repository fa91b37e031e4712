#!/bin/sh
# Makes one cluster of the nodes that have started, once. A cluster that has been initialized is success: a repeated run,
# a restored volume and an upgrade all end here.
set -eu

until answer=$(/cockroach/cockroach init 2>&1); do
  case $answer in
    *"already been initialized"*) break ;;
  esac
  echo "waiting for $COCKROACH_HOST: $answer"
  sleep 2
done
echo "$answer"
