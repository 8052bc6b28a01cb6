"""The netns backend: a namespace a host, a TAP each, and a user-space wire between them."""
