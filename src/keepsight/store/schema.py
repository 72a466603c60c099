"""The tables of a project file, and how old files become new ones.

``docs/store.md`` explains them to people who read the file with other tools; keep the two together.
"""

from __future__ import annotations

APPLICATION_ID = 0x4B454550  # "KEEP", in the header of every project file, so that `file` and we know our own
SCHEMA_VERSION = 3

# Masks live in a rowid table: frames arrive in order, so inserts append, and a 1 kB blob in a WITHOUT ROWID table would
# spill to overflow pages. `masks_by_object` covers everything that a timeline or a plot needs, so those never touch a blob.
# `frames` says that a run has been at a frame, which "no mask row" cannot: done-and-absent is an answer.
# `replaced` and `visits` are what undo needs to take a run back: the masks that it wrote over (NULL: there was none) and the
# frames that it was first to do; `expects` is the run whose mask must be there for the two to be exchanged.
# Objects are never deleted, only marked removed: ids are not reused, and undoing a removal must bring the masks back.
TABLES = """
CREATE TABLE videos (
    id          INTEGER PRIMARY KEY,
    name        TEXT    NOT NULL,
    path        TEXT    NOT NULL,
    height      INTEGER NOT NULL CHECK (height > 0),
    width       INTEGER NOT NULL CHECK (width > 0),
    fps         REAL    NOT NULL CHECK (fps > 0),
    frame_count INTEGER,
    fingerprint TEXT    NOT NULL,
    added_at    TEXT    NOT NULL
);
CREATE TABLE objects (
    video_id  INTEGER NOT NULL REFERENCES videos (id) ON DELETE CASCADE,
    object_id INTEGER NOT NULL CHECK (object_id >= 0),
    position  INTEGER NOT NULL,
    label     TEXT,
    colour    TEXT,
    removed   INTEGER NOT NULL DEFAULT 0,
    hidden    INTEGER NOT NULL DEFAULT 0,
    locked    INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (video_id, object_id)
);
CREATE TABLE prompts (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    video_id    INTEGER NOT NULL,
    object_id   INTEGER NOT NULL,
    frame       INTEGER NOT NULL CHECK (frame >= 0),
    points      TEXT    NOT NULL,
    box         TEXT,
    mask_height INTEGER,
    mask_width  INTEGER,
    counts      BLOB,
    label       TEXT,
    FOREIGN KEY (video_id, object_id) REFERENCES objects (video_id, object_id) ON DELETE CASCADE
);
CREATE INDEX prompts_by_frame ON prompts (video_id, frame);
CREATE TABLE runs (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    video_id    INTEGER NOT NULL REFERENCES videos (id) ON DELETE CASCADE,
    settings    TEXT    NOT NULL,
    facts       TEXT    NOT NULL DEFAULT '{}',
    state       TEXT    NOT NULL CHECK (state IN ('running', 'finished', 'cancelled', 'failed')),
    note        TEXT    NOT NULL DEFAULT '',
    owner       TEXT    NOT NULL,
    started_at  TEXT    NOT NULL,
    finished_at TEXT
);
CREATE TABLE frames (
    video_id INTEGER NOT NULL REFERENCES videos (id) ON DELETE CASCADE,
    frame    INTEGER NOT NULL CHECK (frame >= 0),
    run_id   INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    time_s   REAL    NOT NULL,
    PRIMARY KEY (video_id, frame, run_id)
) WITHOUT ROWID;
CREATE TABLE masks (
    video_id  INTEGER NOT NULL,
    frame     INTEGER NOT NULL CHECK (frame >= 0),
    object_id INTEGER NOT NULL,
    counts    BLOB    NOT NULL,
    area      INTEGER NOT NULL,
    x1 REAL, y1 REAL, x2 REAL, y2 REAL,
    score     REAL    NOT NULL,
    presence  REAL    NOT NULL,
    source    TEXT    NOT NULL,
    run_id    INTEGER REFERENCES runs (id) ON DELETE SET NULL,
    PRIMARY KEY (video_id, frame, object_id),
    FOREIGN KEY (video_id, object_id) REFERENCES objects (video_id, object_id) ON DELETE CASCADE
);
CREATE INDEX masks_by_object ON masks (video_id, object_id, frame, score, presence, area, x1, y1, x2, y2, source);
CREATE TABLE accepted (
    video_id  INTEGER NOT NULL,
    frame     INTEGER NOT NULL CHECK (frame >= 0),
    object_id INTEGER NOT NULL,
    PRIMARY KEY (video_id, frame, object_id),
    FOREIGN KEY (video_id, object_id) REFERENCES objects (video_id, object_id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE TABLE preferences (
    video_id INTEGER NOT NULL REFERENCES videos (id) ON DELETE CASCADE,
    name     TEXT    NOT NULL,
    value    TEXT    NOT NULL,
    PRIMARY KEY (video_id, name)
) WITHOUT ROWID;
CREATE TABLE checkpoints (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    frame  INTEGER NOT NULL,
    state  BLOB    NOT NULL
);
CREATE INDEX checkpoints_by_run ON checkpoints (run_id, id);
CREATE TABLE operations (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    name   TEXT    NOT NULL,
    undone INTEGER NOT NULL DEFAULT 0,
    run_id INTEGER,
    run_row TEXT,
    bytes  INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE changes (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    operation_id INTEGER NOT NULL REFERENCES operations (id) ON DELETE CASCADE,
    table_name   TEXT    NOT NULL,
    before       TEXT,
    after        TEXT
);
CREATE INDEX changes_by_operation ON changes (operation_id, id);
CREATE TABLE replaced (
    id           INTEGER PRIMARY KEY,
    operation_id INTEGER NOT NULL REFERENCES operations (id) ON DELETE CASCADE,
    expects      INTEGER NOT NULL,
    video_id     INTEGER NOT NULL,
    frame        INTEGER NOT NULL,
    object_id    INTEGER NOT NULL,
    counts BLOB, area INTEGER, x1 REAL, y1 REAL, x2 REAL, y2 REAL,
    score REAL, presence REAL, source TEXT, run_id INTEGER,
    UNIQUE (operation_id, video_id, frame, object_id)
);
CREATE TABLE visits (
    operation_id INTEGER NOT NULL REFERENCES operations (id) ON DELETE CASCADE,
    video_id     INTEGER NOT NULL,
    frame        INTEGER NOT NULL,
    time_s       REAL    NOT NULL,
    PRIMARY KEY (operation_id, video_id, frame)
) WITHOUT ROWID;
"""

# MIGRATIONS[n] is the SQL that turns a file of version n into version n + 1; it runs in one transaction on opening.
# Each stands by itself, though tables above say the same: what it made must not change when those do.
MIGRATIONS: dict[int, str] = {
    1: """
ALTER TABLE objects ADD COLUMN hidden INTEGER NOT NULL DEFAULT 0;
ALTER TABLE objects ADD COLUMN locked INTEGER NOT NULL DEFAULT 0;
CREATE TABLE accepted (
    video_id  INTEGER NOT NULL,
    frame     INTEGER NOT NULL CHECK (frame >= 0),
    object_id INTEGER NOT NULL,
    PRIMARY KEY (video_id, frame, object_id),
    FOREIGN KEY (video_id, object_id) REFERENCES objects (video_id, object_id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE TABLE preferences (
    video_id INTEGER NOT NULL REFERENCES videos (id) ON DELETE CASCADE,
    name     TEXT    NOT NULL,
    value    TEXT    NOT NULL,
    PRIMARY KEY (video_id, name)
) WITHOUT ROWID
""",
    2: """
ALTER TABLE operations ADD COLUMN run_id INTEGER;
ALTER TABLE operations ADD COLUMN run_row TEXT;
ALTER TABLE operations ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
CREATE TABLE replaced (
    id           INTEGER PRIMARY KEY,
    operation_id INTEGER NOT NULL REFERENCES operations (id) ON DELETE CASCADE,
    expects      INTEGER NOT NULL,
    video_id     INTEGER NOT NULL,
    frame        INTEGER NOT NULL,
    object_id    INTEGER NOT NULL,
    counts BLOB, area INTEGER, x1 REAL, y1 REAL, x2 REAL, y2 REAL,
    score REAL, presence REAL, source TEXT, run_id INTEGER,
    UNIQUE (operation_id, video_id, frame, object_id)
);
CREATE TABLE visits (
    operation_id INTEGER NOT NULL REFERENCES operations (id) ON DELETE CASCADE,
    video_id     INTEGER NOT NULL,
    frame        INTEGER NOT NULL,
    time_s       REAL    NOT NULL,
    PRIMARY KEY (operation_id, video_id, frame)
) WITHOUT ROWID
""",
}
