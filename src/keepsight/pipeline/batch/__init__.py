"""A folder of long videos: cut into clips, followed, cut out; every step a unit in a manifest that survives any kill."""
