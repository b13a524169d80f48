-- A till with a thousand orders, a few of them broken, and an empty warehouse.
CREATE ROLE etl LOGIN PASSWORD 'rosebud';
CREATE DATABASE till OWNER etl;
CREATE DATABASE warehouse OWNER etl;

\connect till
SET ROLE etl;
CREATE TABLE orders (id int PRIMARY KEY, customer text, country text, cents text, updated_at timestamptz NOT NULL);
CREATE INDEX ON orders (updated_at);
INSERT INTO orders
  SELECT n, ' customer  ' || n % 100, (ARRAY['de', 'FR', 'it'])[1 + n % 3], n::text, timestamptz '2026-08-31T06:00:00Z' + n * interval '1 minute'
  FROM generate_series(1, 1000) n;
UPDATE orders SET cents = 'free' WHERE id = 100;
UPDATE orders SET customer = NULL WHERE id = 200;
UPDATE orders SET country = 'Germany', customer = E'O''Hara, "Bob"\n\\.' WHERE id = 300;

\connect warehouse
SET ROLE etl;
CREATE TABLE orders (id int PRIMARY KEY, customer text NOT NULL, country char(2) NOT NULL, cents bigint NOT NULL, updated_at timestamptz NOT NULL, load uuid NOT NULL);
CREATE TABLE quarantine (id int PRIMARY KEY, reason text NOT NULL, source jsonb NOT NULL, load uuid NOT NULL);
CREATE TABLE loads (load uuid PRIMARY KEY, watermark timestamptz NOT NULL, orders int NOT NULL, cents bigint NOT NULL, checksum bigint NOT NULL, quarantined int NOT NULL);
