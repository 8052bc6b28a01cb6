#!/bin/bash
# Prints the capture while it grows. Each line of standard input goes out on the client's link, as one datagram: a
# sentinel, which the reader then finds in the capture.
tail -c +1 -f /capture/capture.pcap &
while read -r sentinel; do
  printf %s "$sentinel" >/dev/udp/233.252.0.1/9
done
kill $!
