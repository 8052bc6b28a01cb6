#!/bin/bash
# Each line of standard input goes out on the client's link, as one datagram: a sentinel, which the reader then finds in
# the capture. From the first one on, this prints the capture: from its beginning, and while it grows.
follower=
while read -r sentinel; do
  printf %s "$sentinel" >/dev/udp/233.252.0.1/9
  if [ -z "$follower" ]; then
    tail -c +1 -f /capture/capture.pcap &
    follower=$!
  fi
done
[ -z "$follower" ] || kill "$follower"
