"""The whole scenario pack at once: played, shown, and told as a lesson."""
