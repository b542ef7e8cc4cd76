CREATE TABLE users (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    is_agent INTEGER NOT NULL,
    -- The SHA-256 of the token: a stolen database does not contain tokens.
    token_hash BLOB NOT NULL UNIQUE
);

CREATE TABLE tickets (
    id INTEGER PRIMARY KEY,
    author INTEGER NOT NULL REFERENCES users (id),
    title TEXT NOT NULL
);
