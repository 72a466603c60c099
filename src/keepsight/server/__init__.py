"""The HTTP server: the page, the JSON API, and the API that the X-AnyLabeling desktop client speaks."""
