-- A shop with a few orders, and the role that makes backups.
CREATE ROLE backup LOGIN CREATEDB PASSWORD 'rosebud';
GRANT pg_read_all_data TO backup;
CREATE DATABASE shop;
\connect shop
CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE orders (id int PRIMARY KEY, customer int NOT NULL REFERENCES customers, placed timestamptz NOT NULL, cents int NOT NULL);
INSERT INTO customers SELECT n, 'customer ' || n FROM generate_series(1, 100) n;
INSERT INTO orders SELECT n, 1 + n % 100, now() - n * interval '1 minute', n FROM generate_series(1, 1000) n;
