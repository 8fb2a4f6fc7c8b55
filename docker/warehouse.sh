#!/bin/bash
# Run once by the warehouse's image: a table, and a login for the proxy that can only read it.
set -euo pipefail
psql -v ON_ERROR_STOP=1 -v password="$SERVICE_PASSWORD" -U postgres -d shop <<'SQL'
CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, email text, city text NOT NULL);
INSERT INTO customers VALUES
    (1, 'Ada', 'ada@example.org', 'Bonn'), (2, 'Bea', 'bea@example.org', 'Bonn'), (3, 'Cai', NULL, 'Rome');
CREATE ROLE sqlveil_service LOGIN PASSWORD :'password';
GRANT SELECT ON customers TO sqlveil_service;
SQL
