"""The HTTP server: decide, events, health and metrics; it mounts the desk."""
