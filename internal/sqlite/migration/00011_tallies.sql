-- +goose Up

-- What transactions counted, until it is added to the rollups (rollups.go). Summed rows hold what many transactions counted.
CREATE TABLE tallies (
    id     INTEGER PRIMARY KEY,
    minute INTEGER NOT NULL,
    summed INTEGER NOT NULL,
    counts BLOB NOT NULL
);
