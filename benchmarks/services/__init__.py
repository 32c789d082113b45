"""What becomes of every request while services are changed on real systemd hosts behind real HAProxy."""
