CREATE TABLE replies (
    id INTEGER PRIMARY KEY,
    ticket INTEGER NOT NULL REFERENCES tickets (id),
    author INTEGER NOT NULL REFERENCES users (id),
    text TEXT NOT NULL
);

CREATE INDEX replies_of_ticket ON replies (ticket);

ALTER TABLE tickets ADD COLUMN is_closed INTEGER NOT NULL DEFAULT 0;
