"""The Docker backend: dnsmasq, nginx, curl and a tcpdump sidecar in containers."""
