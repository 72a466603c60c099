"""The HTTP API that the X-AnyLabeling desktop client expects of its "Remote-Server", on top of desks."""
