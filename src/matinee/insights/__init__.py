"""What a service can say of itself, read from its log, registry and jobs as plain data.

Pages show it, the command line prints it, and the API gives it as JSON. It changes nothing.
"""
