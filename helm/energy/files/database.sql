-- The schema belongs to energy_owner (migrations); the service, as energy, may only read and write rows. Neither has a
-- password: both log in with client certificates.
CREATE DATABASE IF NOT EXISTS energy;
CREATE USER IF NOT EXISTS energy_owner;
CREATE USER IF NOT EXISTS energy;
ALTER DATABASE energy OWNER TO energy_owner;
GRANT CONNECT ON DATABASE energy TO energy;
USE energy;
-- In CockroachDB everybody may create tables in `public` until it is taken from them.
GRANT CREATE, USAGE ON SCHEMA public TO energy_owner;
GRANT USAGE ON SCHEMA public TO energy;
REVOKE CREATE ON SCHEMA public FROM public;
ALTER DEFAULT PRIVILEGES FOR ROLE energy_owner GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO energy;
