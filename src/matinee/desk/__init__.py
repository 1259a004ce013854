"""The desk: the pages that people look at, rendered on the server."""
