#!/bin/sh
# start.sh ROLE PROGRAM [ARGUMENT ...]: brings the link of a host into the state that a capture needs, says what it
# found, and becomes PROGRAM: as nobody, without the privileges that this took.
set -eu
role=$1
shift

# A veth leaves checksums to hardware that isn't there, and sends frames larger than the MTU.
ethtool -K eth0 tx off sg off tso off gso off gro off >/dev/null
if ethtool -k eth0 | grep -E '^(tx-checksumming|(tcp|generic)-segmentation-offload|generic-receive-offload): on'; then
  echo 'lab: these offloads of eth0 stay on: the capture would not be what a wire shows' >&2
  exit 1
fi

for address in ${LAB_MORE_ADDRESSES:-}; do
  ip address add "$address/32" dev eth0
done
if [ "${LAB_QUICKACK:-}" = 1 ]; then
  # shellcheck disable=SC2046 # a route's words
  ip route change $(ip route show dev eth0 scope link) dev eth0 quickack 1
fi

settings='tcp_congestion_control tcp_no_metrics_save tcp_syn_linear_timeouts
  tcp_syn_retries tcp_ecn tcp_early_retrans tcp_backlog_ack_defer tcp_pingpong_thresh tcp_moderate_rcvbuf tcp_rmem
  tcp_wmem tcp_timestamps tcp_sack'
# shellcheck disable=SC2086 # a list of names
(cd /proc/sys/net/ipv4 && grep -s '' $settings | sed 's/^/lab: sysctl net.ipv4./') >&2
sed 's/^/lab: version /' /etc/handshake-lab-versions >&2
chmod a+w /dev/stdout /dev/stderr # pipes of root's, which nginx opens anew

keep=
if [ "$role" = sidecar ]; then
  ip route add 233.252.0.0/24 dev eth0 # where sentinels go: MCAST-TEST-NET, RFC 5771 section 9.2
  keep=,+net_raw
fi
exec setpriv --reuid=nobody --regid=nogroup --clear-groups --inh-caps="-all$keep" ${keep:+--ambient-caps="-all$keep"} \
  --bounding-set="-all$keep" "$@"
